"""The GitHub action and the pre-commit hook: their commands are run as GitHub and pre-commit would run them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
ACTION = ROOT / ".github" / "actions" / "audit" / "action.yml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
INSTALLED = [path for path in sys.path if path.endswith("-packages")]
"""Where the dependencies are, so that nothing is fetched."""
PLACE = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")

GOOD = {"messages": [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue."}]}
MAIL = {"messages": [{"role": "user", "content": "Ask kim@kde.org"}, {"role": "assistant", "content": "Done."}]}


def write(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def repository(tmp_path):
    """A git repository with a clean file and a dirty one."""
    folder = tmp_path / "repository"
    write(folder / "data" / "good.jsonl", GOOD)
    write(folder / "data" / "it's bad.jsonl", MAIL)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    return folder


# ----------------------------------------------------------------------------------------------------------- the action


def action() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    return loaded


def run_steps(folder: Path, temporary: Path, tree: Path = ROOT, **inputs: str) -> tuple[int, str, dict[str, str], str]:
    """Run the steps with `run` as a runner would: exit code, log, outputs, job summary.

    Args:
        folder: the repository with the data.
        temporary: the runner's folder.
        tree: assay, as the runner fetched it with the action.
        inputs: of the action.
    """
    given = {name: str(spec["default"]) for name, spec in action()["inputs"].items()}
    assert set(inputs) <= {name.replace("-", "_") for name in given}
    context = {f"inputs.{name}": inputs.get(name.replace("-", "_"), default) for name, default in given.items()}
    context |= {
        "github.action_path": str(tree / ACTION.parent.relative_to(ROOT)),
        "steps.python.outputs.python-path": sys.executable,
    }
    files = {name: temporary / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in files.values():
        file.touch()
    log, code = "", 0
    for step in (step for step in action()["runs"]["steps"] if "run" in step):
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "inputs reach the shell as variables only"
        own = {name: PLACE.sub(lambda place: context[place[1]], value) for name, value in step["env"].items()}
        environment = os.environ | {name: str(file) for name, file in files.items()} | own
        environment |= {"RUNNER_TEMP": str(temporary), "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
        environment |= {"PIP_NO_INDEX": "1", "PYTHONPATH": os.pathsep.join(INSTALLED)}
        script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(script, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        log, code = log + done.stdout + done.stderr, done.returncode
        if code:
            break
    outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
    return code, log, outputs, files["GITHUB_STEP_SUMMARY"].read_text()


@pytest.fixture
def runner(tmp_path):
    """What the step before leaves: an environment, so that the audit is tried without installing each time."""
    commands = tmp_path / "runner" / "assay" / "bin"
    commands.mkdir(parents=True)
    for name, words in (("assay", "-m assay"), ("python", "")):
        text = f'#!/bin/sh\nexport PYTHONPATH="{ROOT}"\nexec "{sys.executable}" {words} "$@"\n'
        (commands / name).write_text(text, encoding="utf-8")
        (commands / name).chmod(0o755)
    return tmp_path / "runner"


@pytest.fixture
def audit_only(monkeypatch):
    """The action less its installation."""
    whole = action()
    whole["runs"]["steps"] = [step for step in whole["runs"]["steps"] if step.get("name") != "Install assay"]
    monkeypatch.setattr(sys.modules[__name__], "action", lambda: whole)


def test_every_input_is_described_and_used():
    spec = action()
    used = {place for text in re.findall(PLACE, ACTION.read_text("utf-8")) for place in [text]}
    assert {f"inputs.{name}" for name in spec["inputs"]} <= used
    assert all(given["description"] for given in (*spec["inputs"].values(), *spec["outputs"].values()))
    assert spec["runs"]["using"] == "composite"


def test_the_action_annotates_sums_up_and_fails(repository, runner, audit_only):
    code, log, outputs, summary = run_steps(repository, runner, paths="data/")
    assert code == 1
    assert "::error file=data/it's bad.jsonl,line=1,title=PII501 mail-address::" in log
    assert outputs == {"sarif": "assay.sarif", "exit-code": "1"}
    assert summary.startswith("## assay audit\n\n2 rows: 1 error in 1 row")
    assert json.loads((repository / "assay.sarif").read_text())["runs"][0]["results"][0]["ruleId"] == "PII501"
    assert "kim@kde.org" not in log + summary


def test_the_inputs_of_the_action_reach_the_command(repository, runner, audit_only):
    hostile = '$(touch owned); `touch owned` "x'
    assert run_steps(repository, runner, paths=f"data/good.jsonl\n  {hostile}\n")[0] == 2
    assert not (repository / "owned").exists()
    assert run_steps(repository, runner, paths="\n  data/good.jsonl\n\n")[0] == 0
    assert run_steps(repository, runner, paths="data", fail_on="never", sarif="other.sarif")[0] == 0
    assert (repository / "other.sarif").is_file()
    assert run_steps(repository, runner, paths="data", args="--ignore 'mail-address'")[0] == 0
    assert run_steps(repository, runner, paths="data", args="--write-baseline --baseline 'my baseline'")[0] == 0
    assert run_steps(repository, runner, paths="data", baseline="my baseline", fail_on="info")[0] == 0
    (repository / "own.yaml").write_text("data: {sources: [data]}\naudit: {ignore: [PII501]}\n")
    assert run_steps(repository, runner, config="own.yaml")[0] == 0
    (repository / "data" / "none.jsonl").touch()
    code, _, outputs, _ = run_steps(repository, runner, paths="data/none.jsonl")
    assert (code, outputs["exit-code"]) == (4, "4")


def test_the_action_installs_the_tree_that_it_came_with(repository, tmp_path):
    """From a copy, so that the build leaves nothing in the checkout."""
    tree, left_out = tmp_path / "tree", shutil.ignore_patterns("__pycache__", "runs")
    for name in ("schemas", "curate", "train", "evals", ".github"):
        shutil.copytree(ROOT / name, tree / name, ignore=left_out)
    for name in ("assay.py", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    code, log, outputs, _ = run_steps(repository, tmp_path, tree, paths="data/good.jsonl")
    assert (code, outputs.get("exit-code")) == (0, "0"), log
    place = [tmp_path / "assay" / "bin" / "python", "-c", "import curate; print(curate.__file__)"]
    curate = subprocess.run(place, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(curate).is_relative_to(tmp_path / "assay")


# ------------------------------------------------------------------------------------------------------------- the hook


def hook() -> dict[str, Any]:
    (found,) = yaml.safe_load(HOOKS.read_text(encoding="utf-8"))
    return found  # type: ignore[no-any-return]


def run_hook(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Entry, args and the files that its pattern takes, as pre-commit puts them together."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--others"], cwd=folder, capture_output=True, text=True, check=True
    )
    files = [name for name in sorted(listed.stdout.split("\0")) if re.search(hook()["files"], name)]
    name, *entry = shlex.split(hook()["entry"])
    assert name == "assay"
    command = [sys.executable, "-m", "assay", *entry, *args, *files]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_hook_fails_for_dirty_files_and_passes_with_a_baseline(repository):
    assert hook()["id"] == "assay-audit"
    write(repository / "package.json", {"name": "no rows"})
    done = run_hook(repository)
    assert done.returncode == 1
    assert "data/it's bad.jsonl:1 turn 0  a mail address" in done.stdout
    assert "package.json" not in done.stdout
    assert run_hook(repository, "--write-baseline").returncode == 0
    assert run_hook(repository, "--baseline", "assay.baseline", "--fail-on", "info").returncode == 0


def test_the_hook_takes_files_of_rows():
    names = ["a.jsonl", "b/c.ndjson.gz", "d.parquet", "e.arrow", "f.json", "g.csv", "h.py", "assay.baseline", "jsonl"]
    assert [name for name in names if re.search(hook()["files"], name)] == names[:4]


def test_pre_commit_reads_both_files(repository, tmp_path):
    pytest.importorskip("pre_commit", reason="pre-commit is not installed; the hook's own command is tested above")
    page = (ROOT / "docs" / "adopt.md").read_text("utf-8")
    config = re.search(r"```yaml\n# \.pre-commit-config\.yaml\n(.*?)```", page, re.DOTALL)
    assert config is not None
    (tmp_path / "config.yaml").write_text(config[1])
    for words in (["validate-manifest", HOOKS], ["validate-config", tmp_path / "config.yaml"]):
        subprocess.run([sys.executable, "-m", "pre_commit", *words], check=True, cwd=repository)
