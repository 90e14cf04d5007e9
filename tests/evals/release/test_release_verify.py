"""`assay verify` on a release: down to the raw rows, and every claim of its own papers checked again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import assay
from evals.chain import read_chain, verify_chain
from schemas.errors import ExitCode
from tests.evals.release.made_release import resign, rewrite


def differences(folder: Path) -> list[str]:
    return [one.what for one in verify_chain(read_chain(folder)).differences]


def test_an_unchanged_release_walks_down_to_the_raw_rows(made, capsys):
    done = made.release()
    assert assay.run(["verify", str(done.folder)]) == ExitCode.PASS
    assert "unchanged: 7 stages" in capsys.readouterr().out
    walked = {node.path for node in read_chain(done.folder).walk()}
    assert {made.chain.raw, made.chain.base_model.path, made.chain.dataset.path} - walked == set()


@pytest.mark.parametrize("name", ["merged/a.bin", "merged/README.md", "bom.cdx.json", "release.json", "Modelfile"])
def test_every_changed_file_is_named(made, capsys, name):
    done = made.release()
    path = done.folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert assay.run(["verify", str(done.folder)]) == ExitCode.FAIL
    assert f"{name}: changed" in capsys.readouterr().out


def test_changed_raw_rows_are_found_from_the_release(made, capsys):
    done = made.release()
    made.chain.raw.write_bytes(b"")
    assert assay.run(["verify", str(done.folder)]) == ExitCode.FAIL
    assert "raw.jsonl: changed" in capsys.readouterr().out


def set_check(said: dict[str, Any]) -> None:
    said["targets"][1]["equivalence"]["checks"][0]["outcome"] = "fail"


def set_outcome(said: dict[str, Any]) -> None:
    said["targets"][1]["equivalence"]["outcome"] = "fail"


def set_log_p(said: dict[str, Any]) -> None:
    said["targets"][0]["equivalence"] |= {"max_log_p": 0.1, "kl": None, "answer_kl": None}


def set_kl(said: dict[str, Any]) -> None:
    found = said["targets"][0]["equivalence"]
    found["max_log_p"] = 0.1
    found["kl"]["high"] = 0.06


def set_difference(said: dict[str, Any]) -> None:
    said["targets"][0]["equivalence"]["tasks"][0]["difference"]["low"] = -0.03


def set_override(said: dict[str, Any]) -> None:
    said["override"] = "because"


def set_gate(said: dict[str, Any]) -> None:
    said["gate"] = "fail"


def set_subject(said: dict[str, Any]) -> None:
    said["subject"]["base_model"] = "0" * 64


def set_signer(said: dict[str, Any]) -> None:
    said["signed_by"] = "0" * 64


def set_summary(said: dict[str, Any]) -> None:
    said["summary"] = "all is well"


def set_evidence(said: dict[str, Any]) -> None:
    said["evidence"].pop("Modelfile")


FORGED: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (set_check, "the proof of merged says pass, its checks combine to fail"),
    (set_outcome, "it was published although its proofs combine to fail"),
    (set_log_p, "adapter: its log-probabilities are outside the bounds that the config sets"),
    (set_kl, "adapter: its log-probabilities are outside the bounds that the config sets"),
    (set_difference, "adapter: the answers to spam_test are outside the bounds that the config sets"),
    (set_override, "the gate said pass, and the override is 'because'"),
    (set_gate, "the gate said fail, and the override is None"),
    (set_subject, "release.json and the manifest name another base_model"),
    (set_signer, "release.json says that it is signed, and there is no model.sig"),
    (set_summary, "its summary is not what its proofs say"),
    (set_evidence, "release.json does not name Modelfile"),
]


@pytest.mark.parametrize(("change", "found"), FORGED, ids=lambda one: getattr(one, "__name__", ""))
def test_a_forged_claim_does_not_follow_from_the_numbers(made, change, found):
    """Manifest and files agree again; what they say does not."""
    folder = made.release().folder
    rewrite(folder, change)
    assert found in differences(folder)


@pytest.mark.parametrize("name", ["merged/a.bin", "merged/README.md", "equivalence.md"])
def test_a_file_that_was_exchanged_with_its_manifest_is_not_what_release_json_names(made, name):
    folder = made.release().folder
    (folder / name).write_bytes(b"other")
    resign(folder)
    assert differences(folder) == [f"{name} is not the file that release.json names"]


def test_exchanged_weights_do_not_fit_the_bill(made):
    """Even where release.json was changed with them."""
    folder = made.release().folder
    old = json.loads((folder / "release.json").read_bytes())["targets"][1]["files"][0]["sha256"]
    (folder / "merged" / "a.bin").write_bytes(b"other")
    from schemas.base import file_digest

    new = file_digest(folder / "merged" / "a.bin")
    text = (folder / "release.json").read_text().replace(old, new)
    (folder / "release.json").write_text(text)
    resign(folder)
    assert differences(folder) == ["the bill and release.json differ on merged/a.bin"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"schema": "assay/release/1"}', b"\xff"])
def test_a_broken_release_json_is_an_answer(made, content):
    folder = made.release().folder
    (folder / "release.json").write_bytes(content)
    resign(folder)
    (found,) = differences(folder)
    assert found.startswith("release.json is no release: ")


@pytest.mark.parametrize("content", [b"", b"{}", b'{"metadata": {"component": {"components": [{}]}}}'])
def test_a_broken_bill_is_an_answer(made, content):
    folder = made.release().folder
    (folder / "bom.cdx.json").write_bytes(content)
    resign(folder)
    (found,) = differences(folder)
    assert found.startswith("its claims cannot be checked: ")
