"""The workflow of the periodic retraining, run on a tiny project as a runner would run it."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.evals.made_adapter import TASK
from tests.evals.made_evidence import OFF

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "examples" / "ci" / "retrain.yml"
PLACE = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
FAKE_GH = """#!/bin/sh
printf "%s\\n" "$*" >> "$GH_LOG"
case "$*" in
  "pr list"*) cat "$GH_NUMBER";;
  "pr create"*) echo 12 > "$GH_NUMBER";;
  *--paginate*) cat "$GH_KNOWN";;
esac
"""
LAMPS = "lamp room house switch wire bulb cable shade stand light glass dim bright fuse socket plug ceiling".split()
SHIPS = "anchor sail harbour deck mast keel tide captain cabin rope compass wave gull port lantern chart".split()


def rows(count: int, seed: int, words: list[str] = LAMPS) -> list[dict[str, str]]:
    """Questions of distinct random words."""
    rng = random.Random(seed)
    return [
        {"prompt": f"Is it so: {' '.join(rng.choices(words, k=14))}?", "completion": rng.choice(("yes", "no"))}
        for _ in range(count)
    ]


def lines(made: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in made)


@pytest.fixture
def repository(tmp_path: Path, tiny_model_folder: Path) -> Path:
    """A repository with rows, a task and a lenient config over a tiny model, and a place to push to."""
    folder, commands = tmp_path / "repository", tmp_path / "bin"
    (folder / "data").mkdir(parents=True)
    commands.mkdir()
    for name, text in (("assay", f'#!/bin/sh\nexec "{sys.executable}" -m assay "$@"\n'), ("gh", FAKE_GH)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    (folder / "data" / "first.jsonl").write_text(lines(rows(400, 1)))
    (folder / "collect_rows").write_text('#!/bin/sh\ncp ../delivery.jsonl "$1"\n')
    (folder / "collect_rows").chmod(0o755)
    (folder / ".gitignore").write_text("runs/\n")
    (folder / "lamps.yaml").write_text(yaml.safe_dump(TASK | {"task": "lamps"}))
    bounds = {"classifier": 0.7, "new_topic": 0.2, "topics": 0.6, "length": 0.6, "labels": 0.6, "vocabulary": 0.3}
    config = {
        "name": "lamps",
        "data": {"sources": ["data"]},
        "drift": {"bounds": bounds | {"new_labels": 0.2}},
        "gates": {
            "data": {"min_rows": 5, "min_supervised_tokens": 5},
            "model": {"tasks": {"lamps": {"must": "not_regress", "margin": 0.99}}, "overfitting": OFF},
        },
        "evals": {"suites": ["lamps"], "batch_size": 8},
        "train": {"base_model": str(tiny_model_folder), "max_examples": 24, "lora": {"r": 2}},
    }
    (folder / "assay.yaml").write_text(yaml.safe_dump(config))
    git = ["git", "-C", str(folder), "-c", "user.name=Ada", "-c", "user.email=ada@localhost"]
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "origin"], check=True)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    subprocess.run([*git, "remote", "add", "origin", str(tmp_path / "origin")], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "first"], check=True)
    return folder


def workflow() -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    return loaded


def is_run(condition: str, outputs: dict[str, str], *, failed: bool) -> bool:
    """What GitHub makes of the conditions that the workflow uses."""
    if not condition:
        return not failed
    always, _, rest = condition.rpartition("always() && ") if "always()" in condition else ("", "", condition)
    found = re.fullmatch(r"steps\.drift\.outputs\.code == '(\d)'", rest)
    assert found, condition
    return ("always()" in condition or not failed) and outputs.get("code") == found[1] and not always


def run_job(
    folder: Path, delivery: list[dict[str, str]], number: str = "", known: str = ""
) -> tuple[dict[str, int], str]:
    """Exit code of each step with `run`, installation left out, and the log."""
    place = folder.parent
    (place / "delivery.jsonl").write_text(lines(delivery))
    named = {"GH_LOG": "gh.log", "GH_NUMBER": "number", "GH_KNOWN": "known", "GITHUB_STEP_SUMMARY": "summary.md"}
    paths = {variable: str(place / name) for variable, name in named.items()} | {"GITHUB_OUTPUT": str(place / "output")}
    for variable, text in {"GH_LOG": "", "GH_NUMBER": number, "GH_KNOWN": known, "GITHUB_OUTPUT": ""}.items():
        Path(paths[variable]).write_text(text)
    job = workflow()["jobs"]["retrain"]
    codes: dict[str, int] = {}
    log = ""
    for step in job["steps"]:
        if "run" not in step or step["name"] == "Install":
            continue
        assert "${{" not in step["run"], "values reach the shell as variables only"
        outputs = dict(line.split("=", 1) for line in Path(paths["GITHUB_OUTPUT"]).read_text().splitlines())
        if not is_run(step.get("if", ""), outputs, failed=any(codes.values())):
            continue
        context = {"github.token": "t0ken", "github.repository": "org/repo"}
        context |= {f"steps.drift.outputs.{name}": value for name, value in outputs.items()}
        own = {name: PLACE.sub(lambda at: context[at[1]], value) for name, value in step.get("env", {}).items()}  # noqa: B023
        environment = os.environ | {"PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=folder,
            env=environment | paths | {"CI": "true", "NEW": job["env"]["NEW"]} | own,
            capture_output=True,
            text=True,
            check=False,
        )
        codes[step["name"]] = done.returncode
        log += done.stdout + done.stderr
    return codes, log


def asked(folder: Path) -> list[str]:
    return (folder.parent / "gh.log").read_text().splitlines()


def test_the_workflow_asks_for_no_more_than_it_needs():
    spec = workflow()
    assert spec["permissions"] == {"contents": "write", "pull-requests": "write"}
    assert set(spec[True]) == {"schedule", "workflow_dispatch"}  # YAML reads `on` as true
    gate = yaml.safe_load((ROOT / "examples" / "ci" / "regression-gate.yml").read_text("utf-8"))
    pinned = {step["uses"] for job in gate["jobs"].values() for step in job["steps"] if "uses" in step}
    assert {step["uses"] for step in spec["jobs"]["retrain"]["steps"] if "uses" in step} <= pinned


def test_rows_like_the_old_ones_change_nothing(repository):
    codes, log = run_job(repository, rows(150, 2))
    assert codes == {"Collect": 0, "Drift": 0}, log
    assert asked(repository) == []
    assert (repository.parent / "summary.md").read_text().startswith("<!-- assay drift -->\n# Fine")


def test_too_few_rows_change_nothing_either(repository):
    codes, log = run_job(repository, rows(12, 3))
    assert codes == {"Collect": 0, "Drift": 0}, log
    assert (repository.parent / "output").read_text().startswith("code=4\n")


def test_other_rows_lead_to_a_model_and_a_pull_request_with_one_comment(repository):
    codes, log = run_job(repository, [*rows(60, 4, SHIPS), *rows(60, 5)])
    steps = ["Collect", "Drift", "Train and evaluate", "Judge", "Pull request"]
    assert codes == dict.fromkeys(steps, 0), log
    created = [call for call in asked(repository) if call.startswith("pr create")]
    assert len(created) == 1
    assert asked(repository)[-1] == "api --silent repos/org/repo/issues/12/comments --field body=@comment.md"
    comment = (repository / "comment.md").read_text()
    assert comment.startswith("<!-- assay drift -->\n# Retrain")
    assert "# Gate model: pass" in comment
    pushed = subprocess.run(
        ["git", "-C", repository.parent / "origin", "ls-tree", "--name-only", "retrain", "data/"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(pushed.stdout.split()) == 2


def test_rows_that_cannot_be_read_stop_the_job(repository):
    (repository.parent / "repository" / "collect_rows").write_text("#!/bin/sh\nexit 0\n")
    codes, log = run_job(repository, [])
    assert codes == {"Collect": 0, "Drift": 2}
    assert "incoming.jsonl" in log
