import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import ManifestError, UserError
from schemas.manifest import (
    MANIFEST_NAME,
    FileEntry,
    InputRef,
    Manifest,
    Provenance,
    file_problems,
    input_file,
    input_stage,
    list_files,
    open_stage,
    read_manifest,
    stage_fingerprint,
    write_manifest,
)

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PATHS = WORDS.filter(lambda text: text and "\0" not in text and not text.startswith("/") and ".." not in text)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
CONFIGS = st.dictionaries(WORDS, VALUES, max_size=4)
PROVENANCE = st.builds(
    Provenance,
    started=WORDS,
    seconds=st.floats(0, 1e6),
    command=st.lists(WORDS, max_size=3).map(tuple),
    python=WORDS,
    packages=st.dictionaries(WORDS, WORDS, max_size=2),
    git=st.none() | st.just({"commit": "abc", "dirty": False}),
    device=WORDS,
    seeds=st.dictionaries(WORDS, st.integers(0, 9), max_size=2),
    notes=st.lists(WORDS, max_size=2).map(tuple),
)
REFS = st.builds(InputRef, role=WORDS, path=PATHS, sha256=HEX, content=st.none() | HEX)
MANIFESTS = st.builds(
    Manifest,
    stage=WORDS,
    name=WORDS,
    fingerprint=HEX,
    code=HEX,
    config=CONFIGS,
    config_given=CONFIGS,
    inputs=st.lists(REFS, max_size=3).map(tuple),
    files=st.lists(st.builds(FileEntry, path=PATHS, bytes=st.integers(0), sha256=HEX), max_size=3).map(tuple),
    counts=st.dictionaries(WORDS, st.integers(), max_size=3),
    provenance=PROVENANCE,
    digest=st.just(""),
)


def made(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "stage": "curate",
        "name": "made",
        "fingerprint": "f" * 64,
        "code": "c" * 64,
        "config": {"alpha": 0.05},
        "config_given": {},
        "inputs": (InputRef(role="source", path="../raw.jsonl", sha256="a" * 64),),
        "files": (),
        "counts": {"rows": 3},
        "provenance": Provenance(
            started="2026-01-01", seconds=1.0, command=("assay",), python="3.11", packages={}, git=None, device="cpu"
        ),
    }
    return Manifest(**(fields | changes))


@given(MANIFESTS)
@settings(max_examples=60)
def test_a_manifest_reads_back_equal_and_writes_the_same_bytes_again(tmp_path_factory, manifest):
    folder = tmp_path_factory.mktemp("stage")
    write_manifest(folder, manifest)
    found = read_manifest(folder)
    assert found.body() == manifest.body()
    assert found.content_digest == manifest.content_digest
    assert found.to_bytes() == (folder / MANIFEST_NAME).read_bytes()


@given(MANIFESTS, st.data())
@settings(max_examples=60)
def test_no_byte_of_a_manifest_can_be_changed_removed_or_added_unseen(tmp_path_factory, manifest, data):
    folder = tmp_path_factory.mktemp("stage")
    write_manifest(folder, manifest)
    before = (folder / MANIFEST_NAME).read_bytes()
    position = data.draw(st.integers(0, len(before) - 1))
    byte = bytes([data.draw(st.integers(0, 255))])
    after = data.draw(
        st.sampled_from(
            [
                before[:position] + byte + before[position + 1 :],
                before[:position] + before[position + 1 :],
                before[:position] + byte + before[position:],
            ]
        )
    )
    (folder / MANIFEST_NAME).write_bytes(after)
    if after == before:
        assert read_manifest(folder).body() == manifest.body()
    else:
        with pytest.raises(ManifestError):
            read_manifest(folder)


def test_content_leaves_out_provenance_and_the_places_of_inputs_and_nothing_else():
    content = made().content_digest
    moved = (InputRef(role="source", path="elsewhere.jsonl", sha256="a" * 64),)
    later = made().provenance.model_copy(update={"started": "2027-01-01"})
    assert made(provenance=later, inputs=moved).content_digest == content
    for change in (
        {"counts": {"rows": 4}},
        {"config": {"alpha": 0.1}},
        {"files": (FileEntry(path="a", bytes=1, sha256="b" * 64),)},
        {"inputs": (InputRef(role="source", path="../raw.jsonl", sha256="b" * 64),)},
        {"code": "d" * 64},
    ):
        assert made(**change).content_digest != content


def test_a_fingerprint_follows_content_and_not_order_or_place_of_inputs():
    first = InputRef(role="a", path="x", sha256="1" * 64)
    second = InputRef(role="b", path="y", sha256="2" * 64, content="3" * 64)
    elsewhere = second.model_copy(update={"path": "z", "sha256": "4" * 64})
    found = stage_fingerprint("train", {"r": 8}, (first, second), "code")
    assert stage_fingerprint("train", {"r": 8}, (elsewhere, first), "code") == found
    assert stage_fingerprint("train", {"r": 16}, (first, second), "code") != found
    assert stage_fingerprint("train", {"r": 8}, (first,), "code") != found
    assert stage_fingerprint("train", {"r": 8}, (first, second), "other code") != found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "the manifest cannot be opened"),
        ("", "the manifest is not JSON"),
        ("[]", "this is not a manifest that this version of assay reads"),
        ('{"schema": "assay/manifest/9"}', "this is not a manifest that this version of assay reads"),
        ('{"schema": "assay/manifest/1", "stage": 5}', "the manifest does not have the right fields"),
        ("\x00", "the manifest is not JSON"),
        ("[" * 20_000, "the manifest is not JSON"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_reason(tmp_path: Path, text, problem):
    path = tmp_path / "given.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert caught.value.problems[0].what == problem
    assert caught.value.problems[0].where == str(path)


def stage_folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_bytes(b"{}\n")
    (tmp_path / "ledger.json").write_bytes(b"{}")
    write_manifest(tmp_path, made(files=list_files(tmp_path)))
    return tmp_path


def test_an_untouched_stage_opens_by_its_folder_and_by_its_manifest(tmp_path):
    folder = stage_folder(tmp_path)
    for path in (folder, folder / MANIFEST_NAME):
        manifest, found = open_stage(path, "curate")
        assert found == folder
        assert [entry.path for entry in manifest.files] == ["data/train.jsonl", "ledger.json"]


def test_a_stage_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="another stage"):
        open_stage(stage_folder(tmp_path), "train")


def test_changed_missing_and_added_files_are_named_all_at_once(tmp_path):
    folder = stage_folder(tmp_path)
    (folder / "data" / "train.jsonl").write_bytes(b"{ }\n")
    (folder / "ledger.json").unlink()
    (folder / "data" / MANIFEST_NAME).write_bytes(b"{}")
    problems = file_problems(read_manifest(folder), folder)
    assert [problem.partition(": ")[0].removeprefix(f"{folder}/") for problem in problems] == [
        "data/train.jsonl",
        "ledger.json",
        "data/manifest.json",
    ]
    with pytest.raises(ManifestError, match="do not match"):
        open_stage(folder)


def test_a_file_called_manifest_json_below_the_stage_folder_is_hashed_like_any_other(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / MANIFEST_NAME).write_bytes(b"{}")
    write_manifest(tmp_path, made(files=list_files(tmp_path)))
    manifest, _ = open_stage(tmp_path)
    assert [entry.path for entry in manifest.files] == ["adapter/manifest.json"]


def test_references_are_relative_and_name_files_by_bytes_and_stages_by_content_too(tmp_path):
    (tmp_path / "a").mkdir()
    folder = stage_folder(tmp_path / "a")
    plain = input_file("source", folder / "ledger.json", tmp_path / "b" / "c")
    assert plain.path == os.path.join("..", "..", "a", "ledger.json")
    assert plain.content is None
    assert plain.identity == plain.sha256
    stage = input_stage("dataset", folder, tmp_path / "b" / "c")
    assert stage.path == os.path.join("..", "..", "a", MANIFEST_NAME)
    assert stage.identity == stage.content == read_manifest(folder).content_digest != stage.sha256


def test_a_written_manifest_is_readable_json_with_its_own_digest(tmp_path):
    write_manifest(tmp_path, made())
    found = json.loads((tmp_path / MANIFEST_NAME).read_text())
    assert found["schema"] == "assay/manifest/1"
    assert len(found["digest"]) == 64


@pytest.mark.parametrize("value", [float("nan"), "\ud800"])
def test_a_manifest_that_holds_what_json_cannot_carry_was_not_written_by_a_stage(tmp_path, value):
    body = made().body() | {"config": {"alpha": value}, "digest": "d" * 64}
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(body), encoding="utf-8")
    with pytest.raises(ManifestError, match="changed after it was written"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/ledger.json", "data/../../x", "a\0b", ""])
def test_a_manifest_names_no_file_outside_its_folder(path):
    with pytest.raises(ValidationError):
        FileEntry(path=path, bytes=1, sha256="a" * 64)


def test_an_input_whose_manifest_is_missing_is_named_as_such(tmp_path):
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(ManifestError, match="cannot be opened"):
            input_stage("dataset", missing, tmp_path / "runs" / "train" / "result")


def test_an_input_with_a_name_that_is_not_utf8_is_refused_and_one_in_any_script_is_not(tmp_path):
    strange = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    strange.write_bytes(b"{}")
    with pytest.raises(UserError, match="not UTF-8"):
        input_file("source", strange, tmp_path)
    accented = tmp_path / "caf\u00e9.jsonl"
    accented.write_bytes(b"{}")
    assert input_file("source", accented, tmp_path).path == "caf\u00e9.jsonl"
