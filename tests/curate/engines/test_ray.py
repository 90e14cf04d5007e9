"""An audit on Ray: the same result with any number of workers, and what is said where there is no Ray to run on."""

import importlib.util
import os
import signal
from dataclasses import replace
from importlib.metadata import version

import pytest

import assay
from curate.engines import ray_cluster
from curate.engines.choice import Engine
from curate.engines.ray_audit import _mapped, audit_on_ray
from curate.engines.ray_cluster import _unreachable, connected, versions
from curate.engines.shards import ShardFile
from curate.outputs import render
from curate.request import AuditRequest, run_settings, settings_of
from curate.rules import all_rules
from curate.rules.base import Scope
from schemas.errors import ConfigError, ExitCode, MissingExtra, UserError
from schemas.progress import SILENT
from tests.curate.made_rows import chat, distinct_rows, write_rows

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed (the extra `ray`)")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Data warns of settings of its own
COMPARING = ",".join(rule.code for rule in all_rules() if rule.scope is Scope.ALL)
QUESTION = "Which river flows through the old town of Heidelberg before it joins the Rhine at Mannheim?"


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_the_extra_is_named():
    with pytest.raises(MissingExtra, match="'ray'") as caught, connected(None):
        pass
    assert "assay[ray]" in caught.value.problems[0].help


def test_the_command_refuses_what_this_engine_cannot_do(tmp_path, capsys):
    rows = write_rows(tmp_path / "rows.jsonl", distinct_rows(3))
    assert assay.run(["audit", str(rows), "--engine", "ray", "--format", "json"]) == ExitCode.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert "these rules compare all rows with each other" in said.err
    assert "--ignore CON301,CON302,DUP201," in said.err
    assert "the numbers of the rows are not counted by this engine" in said.err


@pytest.mark.slow
@needs_ray
def test_one_worker_and_two_say_what_the_local_engine_says(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    for n in range(4):
        faults = [chat(QUESTION, "The Neckar."), b"{broken", chat("Write to jo.doe@posteo.de", "Done.")]
        write_rows(folder / f"{n}.jsonl", [*distinct_rows(60, 60 * n), *faults])
    items = write_rows(tmp_path / "items.jsonl", [{"question": QUESTION, "answer": "The Neckar"}])
    ignored = COMPARING.split(",")
    settings = settings_of(AuditRequest([str(folder)], against=[str(items)], ignore=ignored, engine=Engine("ray")))
    whole = run_settings(replace(settings, engine=Engine()))
    assert {finding.code for finding in whole.findings} >= {"LEK401", "PII501", "SCH101"}
    for cpus in (1, 2):
        apart = audit_on_ray(settings, SILENT, cpus)
        for form in ("text", "sarif", "junit"):
            assert render(apart, form, None) == render(whole, form, None)
    (folder / "2.jsonl").unlink()
    apart = audit_on_ray(settings, SILENT, 2)
    assert len(apart.corpus.sources) == 3
    with pytest.raises(ConfigError) as caught:
        apart.raise_failure()
    assert [problem.where for problem in caught.value.problems] == [str(folder / "2.jsonl")]


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:port", "nowhere.invalid:6379"])
def test_a_cluster_that_is_not_there_is_named(address):
    with pytest.raises(UserError, match="cannot be reached") as caught, connected(address):
        pass
    assert caught.value.problems[0].where == f"--address {address}"


def test_what_ray_says_of_versions_is_told_apart():
    said = "Version mismatch: The cluster was started with:\n    Ray: 2.1.0\n    Python: 3.9.1"
    assert "another version" in _unreachable("10.0.0.1:6379", RuntimeError(said)).problems[0].what
    assert "cannot be reached" in _unreachable("10.0.0.1:6379", ConnectionError("no")).problems[0].what
    assert "cannot be started" in _unreachable(None, RuntimeError("no")).problems[0].what


@pytest.mark.slow
@needs_ray
def test_a_task_whose_worker_is_killed_is_run_again(tmp_path):
    killed = tmp_path / "killed"

    def look(item, _):
        if item["number"] == 1 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"number": item["number"]}

    files = [ShardFile(number, tmp_path, "rows") for number in range(4)]
    with connected(None, 2) as held:
        found = [row["number"] for row in _mapped(look, (held(None),), files, SILENT)]
    assert killed.exists()
    assert found == [0, 1, 2, 3]


@pytest.mark.slow
@needs_ray
def test_workers_with_other_code_or_none_are_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as changed:
        changed.setattr(ray_cluster, "versions", lambda: versions() | {"polars": "0.1"})
        with pytest.raises(UserError, match="another version of polars") as caught, connected(None, 1):
            pass
        assert (caught.value.problems[0].found, caught.value.problems[0].expected) == (version("polars"), "0.1")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no assay"), connected(None, 1):
        pass
