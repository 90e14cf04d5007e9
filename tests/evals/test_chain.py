import json
import os
import random
from pathlib import Path

import polars as pl
import pytest

from evals.chain import Difference, read_chain, shown, verify_chain
from evals.chain_text import chain_json, chain_text, verification_json, verification_text
from schemas.base import digest
from schemas.errors import ManifestError
from schemas.manifest import MANIFEST_NAME, Manifest, list_files, read_manifest, write_manifest
from schemas.verdict import Outcome
from tests.evals.made_chain import Chain, make_chain


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.chdir(tmp_path)
    return make_chain(Path("project"))


def differences(chain: Chain) -> list[Difference]:
    return verify_chain(read_chain(chain.verdict.folder)).differences


def rewrite(folder: Path, **changes: object) -> None:
    """Change a manifest and give it a valid digest of its own, as somebody who covers his tracks would."""
    manifest = read_manifest(folder)
    write_manifest(folder, Manifest.model_validate(manifest.model_dump() | {"schema": manifest.schema_} | changes))


def test_an_untouched_chain_verifies_from_the_verdict_down_to_the_raw_rows_and_the_base_model(chain):
    verification = verify_chain(read_chain(chain.verdict.path))
    assert verification.differences == []
    assert verification.notes == []
    assert verification.stages == 6
    assert verification.files == len(chain.files()) - 1, "the verdict's own manifest is checked by its own digest"


def test_any_flipped_byte_in_any_file_of_the_chain_is_found_and_the_file_is_named(chain):
    chance = random.Random(20)
    for path in chain.files():
        before = path.read_bytes()
        for _ in range(3):
            position, bit = chance.randrange(len(before)), 1 << chance.randrange(8)
            path.write_bytes(before[:position] + bytes([before[position] ^ bit]) + before[position + 1 :])
            found = differences(chain)
            assert [found[0].path] == [os.path.relpath(path)], f"byte {position} of {path}: {found}"
        path.write_bytes(before)
    assert differences(chain) == []


def test_a_changed_file_is_reported_with_what_was_expected_and_what_was_found(chain):
    chain.raw.write_bytes(b"other rows\n")
    expected = chain.dataset.manifest.inputs[0].sha256
    assert differences(chain) == [
        Difference(
            "project/raw.jsonl",
            "changed",
            f"sha256 {expected}",
            "sha256 126613a6bfc506599b8ddb5c54cc5b0d6c240179f04ad4e9389fa3f4d2f606d6",
        )
    ]


def test_missing_and_added_files_are_named(chain):
    (chain.adapter.folder / "adapter/adapter_config.json").unlink()
    (chain.dataset.folder / "data/extra.parquet").write_bytes(b"")
    assert [(found.path, found.what) for found in differences(chain)] == [
        (os.path.relpath(chain.adapter.folder / "adapter/adapter_config.json"), "missing"),
        (os.path.relpath(chain.dataset.folder / "data/extra.parquet"), "not in the manifest"),
    ]


def test_a_missing_stage_is_named(chain):
    chain.base_model.path.unlink()
    found = differences(chain)
    assert [(difference.path, difference.what) for difference in found] == [
        (os.path.relpath(chain.base_model.path), "the manifest cannot be opened")
    ]


def test_a_file_and_its_manifest_rewritten_together_are_found_by_the_stage_above(chain):
    target = chain.adapter.folder / "adapter/adapter_model.safetensors"
    target.write_bytes(b"evil" * 20)
    files = [
        entry.model_dump() | ({"sha256": digest(b"evil" * 20)} if "model" in entry.path else {})
        for entry in chain.adapter.manifest.files
    ]
    rewrite(chain.adapter.folder, files=files)
    assert [(found.path, found.what) for found in differences(chain)] == [
        (os.path.relpath(chain.adapter.path), "not the adapter that gate-model used"),
        (os.path.relpath(chain.adapter.path), "not the adapter that evals used"),
    ]


def test_a_stage_rebuilt_with_the_same_bytes_is_a_note_and_no_difference(chain):
    provenance = chain.dataset.manifest.provenance.model_dump() | {"seconds": 99.0}
    rewrite(chain.dataset.folder, provenance=provenance)
    verification = verify_chain(read_chain(chain.verdict.folder))
    assert verification.differences == []
    folder = os.path.relpath(chain.dataset.folder)
    assert sorted(verification.notes) == [
        f"{folder}: rebuilt with the same bytes after {stage} used it"
        for stage in ("evals", "gate-data", "gate-model", "train")
    ]


def test_a_fingerprint_that_does_not_follow_from_the_fields_is_found(chain):
    rewrite(chain.verdict.folder, config={"alpha": 0.5})
    [found] = differences(chain)
    assert found.what == "the fingerprint is not that of its own fields"


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        (
            "ledger.json",
            {"rows_in": 10},
            "rows in do not reconcile: the ledger says 10, rows kept + rows dropped are 9",
        ),
        (
            "ledger.json",
            {"by_rule": {"DUP201": 2}},
            "rows dropped do not reconcile: the ledger says 3, the rows dropped by each rule are 2",
        ),
    ],
)
def test_a_ledger_that_does_not_reconcile_is_found_even_when_every_digest_fits(chain, name, change, problem):
    path = chain.dataset.folder / name
    path.write_bytes(json.dumps(json.loads(path.read_bytes()) | change).encode())
    _fit_digests(chain.dataset.folder)
    found = [difference.what for difference in verify_chain(read_chain(chain.dataset.folder)).differences]
    assert found == [problem]


def test_a_split_proof_that_hides_similar_rows_across_splits_is_found_even_when_every_digest_fits(chain):
    path = chain.dataset.folder / "data" / "test.jsonl"
    trained = (chain.dataset.folder / "data" / "train.jsonl").read_text().splitlines()
    path.write_text(f"{trained[0]}\n{path.read_text().splitlines()[1]}\n")
    _fit_digests(chain.dataset.folder)
    found = [difference.what for difference in verify_chain(read_chain(chain.dataset.folder)).differences]
    assert found == ["the split proof claims 0 similar pairs across splits, not 1"]


def test_a_group_that_straddles_splits_is_found_even_when_every_digest_fits(chain):
    for split in ("train", "test"):
        path = chain.dataset.folder / "data" / f"{split}.parquet"
        pl.read_parquet(path).with_columns(group=pl.lit("one thread")).write_parquet(path)
    _fit_digests(chain.dataset.folder)
    found = [difference.what for difference in verify_chain(read_chain(chain.dataset.folder)).differences]
    assert found == ["the split proof claims 0 groups across splits, there are 1"]


def test_a_verdict_nicer_than_its_checks_is_found_even_when_every_digest_fits(chain):
    path = chain.verdict.folder / "verdict.json"
    verdict = json.loads(path.read_bytes())
    verdict["checks"][0]["outcome"] = "fail"
    path.write_bytes(json.dumps(verdict).encode())
    _fit_digests(chain.verdict.folder)
    assert [found.what for found in differences(chain)] == ["the verdict says pass, its checks combine to fail"]


def _fit_digests(folder: Path) -> None:
    rewrite(folder, files=[entry.model_dump() for entry in list_files(folder)])


def test_a_chain_that_runs_in_a_circle_ends(chain):
    own = chain.base_model.folder / MANIFEST_NAME
    ref = {"role": "loop", "path": "manifest.json", "sha256": "0" * 64, "content": "0" * 64}
    rewrite(chain.base_model.folder, inputs=[ref])
    found = [difference.what for difference in verify_chain(read_chain(own)).differences]
    assert found == ["the fingerprint is not that of its own fields", "the chain runs in a circle or is too long"]


def test_a_pipe_in_place_of_a_file_is_named_and_never_read(chain):
    target = chain.base_model.folder / "config.json"
    target.unlink()
    os.mkfifo(target)
    assert [(found.path, found.what) for found in differences(chain)] == [(os.path.relpath(target), "cannot be read")]


def test_a_result_that_cannot_be_opened_is_an_error_and_not_a_difference(chain, tmp_path):
    (tmp_path / "notes.txt").write_text("no manifest")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ManifestError):
            read_chain(path)


def test_paths_are_shown_as_a_person_would_type_them(tmp_path, monkeypatch):
    here = tmp_path / "home" / "me" / "project" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "me"))
    assert shown(Path("runs/made")) == "runs/made"
    assert shown(here.parent / "raw.jsonl") == "../raw.jsonl"
    assert shown(tmp_path / "home" / "me" / ".cache" / "model") == "~/.cache/model"
    assert shown(Path("/etc/raw.jsonl")) == "/etc/raw.jsonl"


def test_text_of_a_verification(chain):
    unchanged = verification_text(verify_chain(read_chain(chain.base_model.folder)))
    assert unchanged.splitlines()[0] == "unchanged: 1 stage, 2 files, 352 bytes re-hashed"
    (chain.base_model.folder / "config.json").write_bytes(b"[]")
    changed = verification_text(verify_chain(read_chain(chain.base_model.folder))).splitlines()
    assert changed == [
        f"{os.path.relpath(chain.base_model.folder)}/config.json: changed",
        "  expected  sha256 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "  found     sha256 4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
        "changed: 1 difference; 1 stage, 2 files, 352 bytes re-hashed",
    ]


def test_json_of_a_verification(chain):
    (chain.base_model.folder / "config.json").write_bytes(b"[]")
    found = json.loads(verification_json(verify_chain(read_chain(chain.base_model.folder))))
    assert found["outcome"] == "changed"
    assert [difference["what"] for difference in found["differences"]] == ["changed"]


def test_the_tree_shows_each_stage_once_with_its_verdict_and_the_raw_file(chain):
    text = chain_text(read_chain(chain.verdict.folder))
    lines = text.splitlines()
    assert lines[0] == f"gate-model  {os.path.relpath(chain.verdict.folder)}"
    assert lines[2].strip("│ ") == "PASS: It may go on."
    assert text.count("content ") == 6
    assert text.count("(as above)") == 6
    assert "source: project/raw.jsonl  sha256" in text


def test_the_tree_says_where_a_stage_is_not_the_one_that_was_used(chain):
    rewrite(chain.data_verdict.folder, counts={"checks": 99})
    lines = chain_text(read_chain(chain.verdict.folder)).splitlines()
    stale = [line.strip("│├└─ ") for line in lines if "(not the one that was used)" in line]
    folder = os.path.relpath(chain.data_verdict.folder)
    assert stale == [
        f"data_verdict: gate-data  {folder}  (not the one that was used)",
        f"data_verdict: gate-data  {folder}  (not the one that was used)  (as above)",
    ]


def test_what_was_imported_or_overridden_is_said_in_the_tree_and_by_verify(tmp_path):
    chain = make_chain(tmp_path, notes=("ungated: trained without a data verdict",))
    root = read_chain(chain.verdict.folder)
    assert "note: ungated: trained without a data verdict" in chain_text(root)
    assert [note.partition(": ")[2] for note in verify_chain(root).notes] == ["ungated: trained without a data verdict"]


def test_names_from_a_manifest_cannot_reach_the_terminal_raw(tmp_path):
    chain = make_chain(tmp_path, notes=("\x1b[2J\x1b[1;1Hverified \u202e",))
    text = chain_text(read_chain(chain.verdict.folder))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\x1b[2J" in text


def test_json_of_a_chain_names_every_node_once(chain):
    found = json.loads(chain_json(read_chain(chain.verdict.folder)))
    stages = [node.get("stage", "file") for node in found["nodes"]]
    assert sorted(stages) == ["base-model", "curate", "evals", "file", "gate-data", "gate-model", "train"]
    assert found["nodes"][0]["outcome"] == Outcome.PASS.value
