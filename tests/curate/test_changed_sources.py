"""A curation whose files change, grow too large, or whose folder is held: nothing half-written, the same bytes after.

Kills, full disks and runs at the same time are tried in tests/faults.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import assay
from curate import pipeline
from curate.configfile import Project
from curate.keep import read_keep_list
from curate.pipeline import curate, curate_stage
from curate.readers import read_corpus
from curate.rules.near_duplicate import EDITED, STORY
from schemas.atomic import exclusive
from schemas.errors import UserError
from schemas.manifest import MANIFEST_NAME, open_stage
from tests.curate.made_rows import chat, distinct_rows, make_project, write_rows

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    *distinct_rows(150),
    b'{"messages": [',
    distinct_rows(1)[0],
    chat(STORY, "fiction"),
    chat(EDITED, "fiction"),
    chat("Ask kim@kde.org", "no"),
]
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
import assay
sys.exit(assay.run(["curate", sys.argv[1], "--quiet"]))
"""


def digests(folder: Path) -> dict[str, str]:
    """Digest of every file but the manifest, and the manifest's digest of what does not depend on the circumstances."""
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST_NAME
    }
    return found | {MANIFEST_NAME: open_stage(folder, "curate")[0].content_digest}


def command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", script, *map(str, arguments)]


def start(arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    # The kernels stay compiled where they are; the rooms are this checkout's.
    settings = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"} | environment
    return subprocess.Popen(
        arguments, cwd=ROOT, env=settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def published(runs: Path) -> list[str]:
    """What lies in the folder of results that is not hidden; every such folder must be whole."""
    folder = runs / "curate"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.exists() else []
    for name in names:
        if not name.endswith(".partial"):
            open_stage(folder / name, "curate")
    return names


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, str]:
    return digests(curate(make_project(tmp_path_factory.mktemp("undisturbed"), ROWS)).folder)


def test_a_second_run_is_refused_while_the_first_one_lives_but_may_look_at_the_outcome(tmp_path, capsys):
    project = make_project(tmp_path, ROWS)
    target = curate_stage(project).folder
    target.parent.mkdir(parents=True)
    with exclusive(target):
        assert assay.run(["curate", str(project.path)]) == 2
        assert f"held by process {os.getpid()}" in capsys.readouterr().err
        assert assay.run(["curate", str(project.path), "--dry-run"]) == 0
    assert published(project.runs) == []
    assert assay.run(["curate", str(project.path)]) == 0


@pytest.mark.parametrize("size", [1, 2000, 10_000])
def test_a_limit_on_the_size_of_files_is_told_like_a_full_disk(size, undisturbed, tmp_path):
    project = make_project(tmp_path, ROWS)
    process = start(command(LIMITED, project.path, size), PYTHONDONTWRITEBYTECODE="1")
    _, err = process.communicate()
    assert process.returncode == 2, err
    assert err.startswith("error: a file would be larger than this disk or account allows; nothing was published")
    assert published(project.runs) == []
    assert digests(curate(project).folder) == undisturbed


# ------------------------------------------------------------------------------------------------ a changing source


def change_while_reading(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object], *, before: bool) -> None:
    def reading(*arguments, **named):
        if before:
            change()
        corpus = read_corpus(*arguments, **named)
        if not before:
            change()
        return corpus

    monkeypatch.setattr(pipeline, "read_corpus", reading)


@pytest.mark.parametrize("name", ["rows.jsonl", "evals.jsonl"])
@pytest.mark.parametrize("how", ["appended", "emptied", "removed"])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry-run"])
def test_a_file_that_changes_before_it_is_read_is_exit_2_and_a_run_after_that_is_clean(
    name, how, dry, tmp_path, monkeypatch, capsys
):
    write_rows(tmp_path / "evals.jsonl", [{"question": "what do seven llamas eat", "answer": "hay"}])
    project = make_project(tmp_path, ROWS, data={"sources": ["rows.jsonl"], "evals": ["evals.jsonl"]})
    path, data = tmp_path / name, (tmp_path / name).read_bytes()
    first = curate(project)
    changes = {
        "appended": lambda: path.write_bytes(data + data),
        "emptied": lambda: path.write_bytes(b""),
        "removed": lambda: path.unlink(missing_ok=True),
    }
    project.path.write_text(project.path.read_text("utf-8").replace("name: made", "name: again"), "utf-8")
    with monkeypatch.context() as patch:
        change_while_reading(patch, changes[how], before=True)
        empty = how == "emptied" and name == "rows.jsonl"
        assert assay.run(["curate", str(project.path), "-q", *dry]) == (4 if empty else 2)
    err = capsys.readouterr().err
    assert ("changed while it was being curated" in err) or how == "removed" or empty
    assert name in err
    assert published(project.runs) == [first.folder.name]
    path.write_bytes(data)
    assert assay.run(["curate", str(project.path), "-q"]) == 0
    assert digests(Path(capsys.readouterr().out.strip()).parent) | {MANIFEST_NAME: ""} == digests(first.folder) | {
        MANIFEST_NAME: ""
    }


def changed_while_curating(project: Project, change: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        change_while_reading(patch, change, before=True)
        assert assay.run(["curate", str(project.path), "-q"]) == 2
    assert published(project.runs) == []
    err = capsys.readouterr().err
    assert "changed while it was being curated" in err
    return err


def test_two_files_that_take_each_others_names_are_a_change_although_their_bytes_are_the_same(tmp_path, capsys):
    write_rows(tmp_path / "more.jsonl", distinct_rows(30, start=500))
    project = make_project(tmp_path, ROWS, data={"sources": ["rows.jsonl", "more.jsonl"]})
    rows, more, aside = (tmp_path / name for name in ("rows.jsonl", "more.jsonl", "aside"))

    def swap() -> None:
        rows.rename(aside)
        more.rename(rows)
        aside.rename(more)

    assert "a source changed" in changed_while_curating(project, swap, capsys)


def once_the_stage_is_known(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """The pipeline begins with the keep list."""
    monkeypatch.setattr(pipeline, "read_keep_list", lambda *given: (change(), read_keep_list(*given))[1])


def test_a_task_file_that_reads_its_items_otherwise_than_the_result_says_is_a_change(tmp_path, monkeypatch, capsys):
    write_rows(tmp_path / "items.jsonl", [{"q": "what do seven llamas eat", "r": "hay and grass"}])
    task = "task: t\ndataset_path: json\ndataset_kwargs: {data_files: items.jsonl}\ndoc_to_text: "
    (tmp_path / "t.yaml").write_text(task + "q\n", "utf-8")
    project = make_project(tmp_path, ROWS, data={"sources": ["rows.jsonl"], "evals": ["t.yaml"]})
    once_the_stage_is_known(monkeypatch, lambda: (tmp_path / "t.yaml").write_text(task + "r\n", "utf-8"))
    assert assay.run(["curate", str(project.path), "-q"]) == 2
    assert "a task file changed while it was being curated" in capsys.readouterr().err


def test_the_schema_of_a_rule_that_changes_is_a_change(tmp_path, capsys):
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}', "utf-8")
    curated = {"steps": ["schema", "metadata-schema"], "rules": {"metadata-schema": {"json_schema": "schema.json"}}}
    project = make_project(tmp_path, ROWS, curate=curated)
    said = changed_while_curating(project, lambda: schema.write_text('{"type": "array"}', "utf-8"), capsys)
    assert "the file of a rule changed" in said


def test_a_source_that_goes_just_before_it_is_read_is_named(tmp_path, monkeypatch, capsys):
    project = make_project(tmp_path, ROWS)
    files = Project.source_files

    def gone(self: Project) -> tuple[Path, ...]:
        found = files(self)
        (tmp_path / "rows.jsonl").unlink()
        return found

    once_the_stage_is_known(monkeypatch, lambda: monkeypatch.setattr(Project, "source_files", gone))
    assert assay.run(["curate", str(project.path), "-q"]) == 2
    assert "the data file cannot be opened" in capsys.readouterr().err


def test_what_is_appended_after_the_reading_belongs_to_the_next_run(undisturbed, tmp_path, monkeypatch):
    project = make_project(tmp_path, ROWS)

    def append() -> None:
        write_rows(tmp_path / "rows.jsonl", [*ROWS, *distinct_rows(1, start=900)])

    with monkeypatch.context() as patch:
        change_while_reading(patch, append, before=False)
        first = curate(project)
    assert digests(first.folder) == undisturbed
    second = curate(project)
    assert second.folder != first.folder
    assert second.manifest.counts["rows_in"] == len(ROWS) + 1


def test_a_result_that_was_damaged_is_refused_until_it_is_removed(undisturbed, tmp_path):
    project = make_project(tmp_path, ROWS)
    folder = curate(project).folder
    path = folder / "data" / "train.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="do not match"):
        curate(project)
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    folder.rmdir()
    assert digests(curate(project).folder) == undisturbed
    assert pl.read_parquet(path).height > 0
