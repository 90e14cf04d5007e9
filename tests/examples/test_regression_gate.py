"""The page and the workflow of the regression gate, run on a tiny project as a reader and a runner would run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.evals.made_adapter import TASK
from tests.evals.made_evidence import OFF

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "examples" / "ci" / "regression-gate.yml"
PAGE = ROOT / "docs" / "regression-gate.md"
PLACE = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
CONTEXT = {"github.token": "t0ken", "github.repository": "org/repo", "github.event.number": "7"}
FAKE_GH = '#!/bin/sh\nprintf "%s\\n" "$*" >> "$GH_LOG"\ncase "$*" in *--paginate*) cat "$GH_KNOWN";; esac\n'


def bash(folder: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run as GitHub's runner does, with `assay` of this tree and a `gh` that only notes what it was asked."""
    clean = {name: value for name, value in os.environ.items() if name != "CI"}
    own = {"PATH": os.pathsep.join([str(folder.parent / "bin"), os.environ["PATH"]]), "PYTHONPATH": str(ROOT)}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder, env=clean | own | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A repository with rows, a task and a lenient config over a tiny model; nothing is made yet."""
    folder = tmp_path_factory.mktemp("gate") / "repository"
    folder.mkdir()
    commands = folder.parent / "bin"
    commands.mkdir()
    for name, text in (("assay", f'#!/bin/sh\nexec "{sys.executable}" -m assay "$@"\n'), ("gh", FAKE_GH)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    rows = [
        {"prompt": f"Is the lamp in room {n * 7919 % 1009} of house {n * 31} on?", "completion": ("yes", "no")[n % 2]}
        for n in range(150)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "lamps.yaml").write_text(yaml.safe_dump(TASK | {"task": "lamps"}))
    lenient = {"must": "not_regress", "margin": 0.99}
    config = {
        "name": "lamps",
        "data": {"sources": ["rows.jsonl"]},
        "curate": {"steps": ["schema", "exact-duplicate"], "split": {"threshold": 1.0}},
        "gates": {
            "data": {"min_rows": 5, "min_supervised_tokens": 5},
            "model": {"tasks": {"lamps": lenient}, "overfitting": OFF},
        },
        "evals": {"suites": ["lamps"], "batch_size": 8},
        "train": {"base_model": str(tiny_model_folder), "max_examples": 24, "lora": {"r": 2}},
    }
    (folder / "assay.yaml").write_text(yaml.safe_dump(config))
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    for key, value in (("user.name", "Ada"), ("user.email", "ada@localhost")):
        subprocess.run(["git", "-C", folder, "config", key, value], check=True)
    return folder


@pytest.fixture(scope="module")
def followed(project: Path) -> Path:
    """The project after a reader followed the page."""
    for block in re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        script = re.sub(r"^([^#\n]+?)\s+# exit (\d+)\b.*$", r"{ \1; } && exit 99 || [ $? -eq \2 ]", block, flags=re.M)
        done = bash(project, script)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    config = yaml.safe_load((project / "assay.yaml").read_text())
    config["evals"]["baseline"] = "baseline.lock.json"
    (project / "assay.yaml").write_text(yaml.safe_dump(config))
    return project


def test_the_page_leads_to_a_lock_and_every_format(followed):
    lock = json.loads((followed / "baseline.lock.json").read_bytes())
    assert lock["history"][0]["by"] == "Ada <ada@localhost>"
    assert lock["history"][0]["reason"] == "first model that answers our customers"
    assert ElementTree.parse(followed / "gate.xml").getroot().attrib["tests"] == "6"
    assert (followed / "gate.html").read_text().startswith("<!doctype html>")
    assert json.loads((followed / "gate.sarif").read_bytes())["version"] == "2.1.0"


# ------------------------------------------------------------------------------------------------------ the workflow


def workflow() -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    return loaded


def run_job(folder: Path, **environment: str) -> tuple[dict[str, int], str, str]:
    """Exit code of each step with `run`, installation left out; the log; the job's summary."""
    summary = folder.parent / "summary.md"
    summary.write_text("")
    codes: dict[str, int] = {}
    log = ""
    for step in workflow()["jobs"]["gate"]["steps"]:
        if "run" not in step or step["name"] == "Install":
            continue
        assert "${{" not in step["run"], "values reach the shell as variables only"
        failed = any(codes.values())
        if failed and not step.get("if", "").startswith("always()"):
            continue
        own = {name: PLACE.sub(lambda place: CONTEXT[place[1]], value) for name, value in step.get("env", {}).items()}
        done = bash(folder, step["run"], CI="true", GITHUB_STEP_SUMMARY=str(summary), **own, **environment)
        codes[step["name"]] = done.returncode
        log += done.stdout + done.stderr
    return codes, log, summary.read_text()


def github(folder: Path, known: str) -> dict[str, str]:
    (folder.parent / "known").write_text(known)
    (folder.parent / "gh.log").write_text("")
    return {"GH_LOG": str(folder.parent / "gh.log"), "GH_KNOWN": str(folder.parent / "known")}


def test_the_workflow_asks_for_no_more_than_it_needs():
    spec = workflow()
    assert spec["permissions"] == {"contents": "read", "pull-requests": "write", "security-events": "write"}
    assert list(spec[True]) == ["pull_request"]  # YAML reads `on` as true; never pull_request_target
    assert not [step for step in spec["jobs"]["gate"]["steps"] if "assay bless" in step.get("run", "")]


def test_a_candidate_that_passes_leaves_a_summary_and_one_comment(followed):
    codes, log, summary = run_job(followed, **github(followed, ""))
    assert codes == {"Train and evaluate": 0, "Judge": 0, "Comment": 0}, log
    assert summary.startswith("<!-- assay gate model -->\n# Gate model: pass (non-inferior)\n")
    assert "::notice title=baseline%3Afits::pass: " in log
    asked = (followed.parent / "gh.log").read_text().splitlines()
    assert asked[-1] == "api --silent repos/org/repo/issues/7/comments --field body=@gate.md"


def test_a_stale_lock_stops_the_job_and_replaces_the_comment(followed):
    config = followed / "assay.yaml"
    before = config.read_text()
    config.write_text(before.replace("margin: 0.99", "margin: 0.98"))
    codes, log, summary = run_job(followed, **github(followed, "123\n456\n"))
    config.write_text(before)
    assert codes == {"Train and evaluate": 0, "Judge": 4, "Comment": 0}, log
    assert "# Gate model: stale" in summary
    assert "gates.model.tasks.lamps.margin: locked 0.99, now 0.98" in log
    asked = (followed.parent / "gh.log").read_text().splitlines()
    assert asked[-1] == "api --silent --method PATCH repos/org/repo/issues/comments/123 --field body=@gate.md"


def test_a_broken_lock_is_an_error_and_leaves_no_summary(followed):
    lock = followed / "baseline.lock.json"
    before = lock.read_text()
    lock.write_text(before[:-40])
    (followed / "gate.md").unlink(missing_ok=True)
    codes, log, summary = run_job(followed, **github(followed, ""))
    lock.write_text(before)
    assert codes["Judge"] == 2
    assert "the baseline lock cannot be used" in log
    assert summary == ""
