"""`assay curate --dry-run`: everything but the writing. And what a person sees while curate and audit work."""

import io
import json
import re
from pathlib import Path

import pytest

import assay
from curate.audit import audit_corpus
from curate.pipeline import curate, run_pipeline
from curate.readers import read_corpus
from curate.rules.catalogue import select_rules
from curate.rules.near_duplicate import EDITED, STORY
from schemas.manifest import MANIFEST_NAME
from schemas.progress import Progress
from tests.curate.made_rows import chat, distinct_rows, make_project

ROWS = [*distinct_rows(40), distinct_rows(1)[0], chat(STORY, "fiction"), chat(EDITED, "fiction")]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def dry_run(folder: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    before = tree(folder)
    assert assay.run(["curate", str(folder / "assay.yaml"), "--dry-run", "-q", *flags]) == 0
    assert tree(folder) == before, "a dry run writes nothing"
    out, err = capsys.readouterr()
    assert err == ""
    return str(out)


def test_the_ledger_and_the_plan_as_text(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    project = make_project(tmp_path, ROWS)
    lines = dry_run(tmp_path, capsys).splitlines()
    assert lines[0] == "43 rows in = 41 kept + 2 dropped"
    assert "  DUP203 near-duplicate: 1 dropped" in lines
    finished = curate(project)
    folder = finished.folder.relative_to(tmp_path)
    at = lines.index(f"dry run: nothing was written; without --dry-run, {folder} would hold")
    named = [line.split()[0] for line in lines[at + 1 :]]
    assert named == [
        *(f"data/{split}.{suffix}" for split in ("train", "validation", "test") for suffix in ("parquet", "jsonl")),
        *(
            "dropped.parquet",
            "llamafactory/dataset_info.json",
            "ledger.json",
            "split_proof.json",
            "report.json",
            "manifest.json",
        ),
    ]
    assert set(named) == {entry.path for entry in finished.manifest.files} | {MANIFEST_NAME}
    assert "  dropped.parquet (2 rows)" in lines
    again = dry_run(tmp_path, capsys).splitlines()
    assert again[-1] == f"dry run: nothing was written; {folder} holds this result already"


def test_the_json_is_the_ledger_that_a_run_writes_and_the_plan(tmp_path, capsys):
    project = make_project(tmp_path, ROWS)
    result = json.loads(dry_run(tmp_path, capsys, "--format", "json", "--out", str(tmp_path / "results")))
    plan = result.pop("would_write")
    assert Path(plan["folder"]).parent == tmp_path / "results" / "curate"
    assert plan["exists"] is False
    assert {"path": "dropped.parquet", "rows": 2} in plan["files"]
    assert {"path": "manifest.json", "rows": None} in plan["files"]
    assert result == json.loads((curate(project).folder / "ledger.json").read_bytes())


def test_markdown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, ROWS, curate={"keep": ["<b>|x"]})
    assert assay.run(["curate", "--dry-run", "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("## assay curate\n\n43 rows in = 41 kept + 2 dropped; splits: ")
    assert "| DUP203 near-duplicate | 1 dropped |" in out
    assert "<b>" not in out
    assert "would hold" in out
    assert assay.run(["curate", "--format", "markdown", "-q"]) == 0
    assert capsys.readouterr().out == out[: out.index("\n```text")]


class Hasty:
    """A clock on which eleven seconds pass between any two looks: every report is due."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 11.0
        return self.now


def test_long_work_shows_what_is_done_how_fast_and_the_time_left(tmp_path):
    shown = io.StringIO()
    made = run_pipeline(make_project(tmp_path, ROWS), Progress(stream=shown, clock=Hasty()))
    lines = shown.getvalue().splitlines()
    assert lines[0] == "reading"
    assert re.fullmatch(r"reading: 0\.0/0\.0 MB  0\.0 MB/s", lines[1])
    assert "near-duplicate" in lines
    assert "splitting" in lines
    for part in ("near-duplicate, sketch", "near-duplicate, verify", "splitting, sketch", "splitting, verify"):
        assert any(line.startswith(f"{part}: ") for line in lines), part
    rows = made.whole.height - 1  # exact-duplicate took one
    assert f"near-duplicate, sketch: {rows}/{rows} rows  {rows / 11:.1f} rows/s" in lines


def test_an_audit_reports_its_search_as_well(tmp_path):
    project = make_project(tmp_path, ROWS)
    shown = io.StringIO()
    corpus = read_corpus(project.source_files())
    audit_corpus(corpus, select_rules(["near-duplicate"]), Progress(stream=shown, clock=Hasty()))
    assert shown.getvalue().splitlines()[0] == "near-duplicate"
    assert "near-duplicate, sketch" in shown.getvalue()


def test_short_work_and_quiet_work_show_nothing(tmp_path, capsys):
    make_project(tmp_path, ROWS)
    assert assay.run(["curate", str(tmp_path / "assay.yaml"), "-q"]) == 0
    assert capsys.readouterr().err == ""
    shown = io.StringIO()
    run_pipeline(make_project(tmp_path, ROWS), Progress(quiet=True, stream=shown, clock=Hasty()))
    assert shown.getvalue() == ""
