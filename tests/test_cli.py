"""The commands about evidence, as a person types them: exit code, stdout, stderr and what is on disk."""

import json
from pathlib import Path
from typing import Any

import pytest

import assay
from evals.doctor import GIB, abilities
from schemas.errors import ExitCode
from schemas.verdict import Outcome
from tests.evals.made_chain import Chain, make_chain

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.chdir(tmp_path)
    return make_chain(tmp_path)


@pytest.mark.parametrize("name", assay.COMMANDS)
def test_every_command_in_the_table_exists_and_says_what_it_does(name, capsys):
    assert assay.run([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: assay {name} ")


@pytest.mark.parametrize("name", assay.GATES)
def test_both_gates_exist(name, capsys):
    assert assay.run(["gate", name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: assay gate {name} ")


@pytest.mark.parametrize("name", assay.INDEXES)
def test_all_commands_of_indexes_exist(name, capsys):
    assert assay.run(["index", name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: assay index {name} ")


# ------------------------------------------------------------------------------------------------------ show and verify


def test_show_prints_the_chain(chain, capsys):
    assert assay.run(["show", str(chain.verdict.folder)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("gate-model  runs/gate-model/made-")
    assert captured.err == ""


def test_show_as_json_is_one_object(chain, capsys):
    assert assay.run(["show", str(chain.verdict.path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "assay/chain/1"


def test_verify_is_0_for_an_unchanged_chain_1_for_a_changed_one_and_2_for_none(chain, capsys, tmp_path):
    assert assay.run(["verify", str(chain.verdict.folder)]) == ExitCode.PASS
    assert "unchanged: 6 stages" in capsys.readouterr().out
    chain.raw.write_bytes(b"")
    assert assay.run(["verify", str(chain.verdict.folder)]) == ExitCode.FAIL
    assert capsys.readouterr().out.splitlines()[0] == "raw.jsonl: changed"
    assert assay.run(["verify", str(tmp_path / "nothing")]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[0] == "error: the manifest cannot be opened"


def test_show_of_a_manifest_that_cannot_be_read_is_2(chain, capsys):
    manifest = chain.verdict.path
    assert assay.run(["show", str(manifest)]) == ExitCode.PASS
    manifest.write_bytes(b'{"schema": "other"}')
    assert assay.run(["show", str(chain.verdict.folder)]) == ExitCode.USAGE
    assert "not a manifest" in capsys.readouterr().err


def test_verify_of_a_changed_manifest_is_1_and_not_2(chain, capsys):
    path = chain.verdict.path
    path.write_bytes(path.read_bytes().replace(b'"made"', b'"maid"'))
    assert assay.run(["verify", str(path)]) == ExitCode.FAIL
    assert "the manifest was changed after it was written" in capsys.readouterr().out


# --------------------------------------------------------------------------------------------------------------- report


def test_report_prints_the_page_whatever_the_verdict(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    chain = make_chain(tmp_path, Outcome.FAIL)
    assert assay.run(["report", str(chain.verdict.folder)]) == ExitCode.PASS
    page = Path(capsys.readouterr().out.strip())
    assert page.name == "report.html"
    assert "<h1>Must not ship</h1>" in page.read_text()
    assert assay.run(["report", str(chain.verdict.folder), "--format", "json"]) == ExitCode.PASS
    assert json.loads(capsys.readouterr().out)["reused"] is True


def test_report_without_a_config_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert assay.run(["report"]) == ExitCode.USAGE
    assert "assay.yaml" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------------- doctor


def test_doctor_asks_nobody_unless_told_to(capsys):
    assert assay.run(["doctor", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["hub"] == {"asked": False}
    assert found["cores"] >= 1
    assert {row["name"] for row in found["abilities"]} >= {"train", "report", "models from a hub"}


def test_doctor_with_network_says_that_a_closed_hub_does_not_answer(capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert assay.run(["doctor", "--network"]) == 0
    assert "no   models from a hub: http://127.0.0.1:9 does not answer" in capsys.readouterr().out


def machine(**changes: Any) -> dict[str, Any]:
    packages: dict[str, dict[str, str | None]] = {
        "core": {"polars": "2"},
        "train": {"torch": "2"},
        "evals": {"scipy": "1"},
        "report": {"altair": "6"},
    }
    found = {
        "cores": 2,
        "memory": {"available_bytes": 16 * GIB},
        "disk": {"free_bytes": 9 * GIB},
        "accelerators": [],
        "packages": packages,
        "base_models": {"small": {"state": "ready"}},
        "hub": {"asked": False},
    }
    return found | changes


@pytest.mark.parametrize(
    ("changes", "name", "possible", "why"),
    [
        ({}, "train", True, "on 2 cores without an accelerator: small models only, minutes for a few hundred rows"),
        ({"accelerators": [{"name": "H1", "memory_bytes": 80 * GIB}]}, "train", True, "on H1 (80 GiB)"),
        (
            {"memory": {"available_bytes": 2 * GIB}},
            "train",
            False,
            "2.0 GiB of memory are free, the bundled model takes up to 6 GiB",
        ),
        ({"memory": {"available_bytes": None}}, "audit and curate", True, "one core is enough"),
        ({"disk": {"free_bytes": GIB}}, "train", False, "1.0 GiB of disk are free, a run takes up to 2 GiB"),
        (
            {"packages": machine()["packages"] | {"train": {"torch": None}}},
            "evals and both gates",
            False,
            "not installed: torch; `pip install 'assay[train]'`",
        ),
        (
            {"base_models": {"small": {"state": "convertible"}}},
            "the bundled base model",
            True,
            "installed; the first `assay train` converts it, in about a minute",
        ),
    ],
)
def test_what_a_machine_allows_follows_from_what_it_has(changes, name, possible, why):
    [ability] = [ability for ability in abilities(machine(**changes)) if ability.name == name]
    assert (ability.possible, ability.why) == (possible, why)
