import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import assay
import curate.steps as curate_steps
from curate import pipeline, readers
from curate.pipeline import NoRows, curate, curate_stage, publish, run_pipeline
from curate.rules.near_duplicate import EDITED, STORY
from schemas.errors import ConfigError, ConservationError, UserError
from schemas.manifest import open_stage
from tests.curate.made_rows import chat, distinct_rows, lines_of, make_project, read_json

DIRTY = [
    *distinct_rows(40),
    b'{"messages": [',
    distinct_rows(1)[0],
    chat(STORY, "fiction", label="yes"),
    chat(EDITED, "fiction", label="yes"),
    chat("Ask kim@kde.org or Kim@KDE.org", "no", label="no", author="lee@gnu.org"),
]


def splits_of(folder: Path) -> dict[str, pl.DataFrame]:
    return {name: pl.read_parquet(folder / "data" / f"{name}.parquet") for name in ("train", "validation", "test")}


def digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("made"), DIRTY)
    return curate(project)


def test_every_row_is_kept_or_dropped_with_its_reason(made):
    ledger = read_json(made.folder / "ledger.json")
    kept = sum(frame.height for frame in splits_of(made.folder).values())
    dropped = pl.read_parquet(made.folder / "dropped.parquet")
    assert (ledger["rows_in"], ledger["rows_kept"], ledger["rows_dropped"]) == (45, kept, dropped.height)
    assert kept + dropped.height == 45
    assert ledger["by_rule"] == {"DUP201": 1, "DUP203": 1, "SCH101": 1}
    assert made.manifest.counts["rows_kept"] == kept


def test_a_dropped_row_names_its_survivor_and_keeps_its_bytes(made):
    dropped = pl.read_parquet(made.folder / "dropped.parquet")
    broken, copy, near = (
        dropped.filter(pl.col("code") == code).row(0, named=True) for code in ("SCH101", "DUP201", "DUP203")
    )
    assert (broken["path"], broken["line"], broken["row"]) == ("rows.jsonl", 41, 40)
    assert broken["raw"] == b'{"messages": ['
    assert broken["row_id"] is None
    assert (copy["line"], copy["survivor_path"], copy["survivor_line"]) == (42, "rows.jsonl", 1)
    assert (copy["measure"], copy["similarity"]) == ("equality", 1.0)
    assert {near["line"], near["survivor_line"]} == {43, 44}
    assert near["similarity"] >= 0.7
    kept = pl.concat(splits_of(made.folder).values())["row_id"].to_list()
    assert near["survivor_row_id"] in kept


def test_addresses_are_redacted_everywhere_and_alike(made):
    for frame in splits_of(made.folder).values():
        text = str(frame.to_dicts())
        assert "kde.org" not in text.lower()
        assert "gnu.org" not in text
    rows = pl.concat(splits_of(made.folder).values()).filter(pl.col("line") == 45)
    question = rows["messages"][0][0]["content"]
    first, second = question.removeprefix("Ask ").split(" or ")
    assert first == second
    assert first.startswith("<mail-")
    assert "<mail-" in json.loads(rows["record"][0])["metadata"]["author"]


def test_jsonl_and_parquet_hold_the_same_rows_in_the_same_order(made):
    for name, frame in splits_of(made.folder).items():
        lines = (made.folder / "data" / f"{name}.jsonl").read_bytes().splitlines()
        assert [json.loads(line)["messages"] for line in lines] == frame["messages"].to_list()
        assert all(set(json.loads(line)) == {"messages"} for line in lines)


def test_a_second_run_returns_the_first_and_a_fresh_one_makes_the_same_bytes(made, tmp_path):
    again = make_project(tmp_path, DIRTY)
    fresh = curate(again)
    assert curate(again).reused
    assert not fresh.reused
    assert fresh.manifest.fingerprint == made.manifest.fingerprint
    assert digests(fresh.folder) == digests(made.folder)
    assert fresh.manifest.content_digest == made.manifest.content_digest


@pytest.mark.parametrize("rows_per_chunk", [1, 7])
def test_the_bytes_do_not_depend_on_the_chunk(made, rows_per_chunk, tmp_path):
    project = make_project(tmp_path, DIRTY)
    folder = tmp_path / "out"
    folder.mkdir()
    publish(run_pipeline(project, rows_per_chunk=rows_per_chunk), project, folder)
    assert digests(folder) == digests(made.folder)


def test_no_component_lies_across_splits_and_all_labels_are_in_each(tmp_path):
    rows = distinct_rows(200)
    stories = [chat(f"{STORY} Chapter {n}.", "yes", label="yes") for n in range(6)]
    split = {"train": 0.8, "validation": 0.1, "test": 0.1, "stratify_by": "label"}
    finished = curate(make_project(tmp_path, [*rows, *stories], curate={"split": split}))
    frames = splits_of(finished.folder)
    proof = read_json(finished.folder / "split_proof.json")
    assert proof["cross_split_pairs"] == 0
    assert proof["components_across_splits"] == 0
    homes = {
        name
        for name, frame in frames.items()
        if frame.filter(pl.col("path").is_not_null() & pl.col("line").gt(200)).height
    }
    assert len(homes) == 1, "variants of one template stay together"
    for frame in frames.values():
        assert 0.55 < int(frame["label"].eq("yes").sum()) / frame.height < 0.8


def test_groups_stay_together(tmp_path):
    rows = distinct_rows(120)
    for n, row in enumerate(rows):
        row["metadata"]["thread"] = f"t{n // 6}" if n < 90 else None
    project = make_project(tmp_path, rows, data={"sources": ["rows.jsonl"], "group_by": "thread"})
    frames = splits_of(curate(project).folder)
    kept = pl.concat([frame.with_columns(split=pl.lit(name)) for name, frame in frames.items()])
    assert (
        kept.filter(pl.col("group").is_not_null()).group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    )
    assert (
        kept.filter(pl.col("group").is_not_null())
        .group_by("group")
        .agg(pl.col("component").n_unique())["component"]
        .max()
        == 1
    )
    assert kept["group"].null_count() == 30


@pytest.mark.parametrize(
    "section",
    [{"data": {"sources": ["rows.jsonl"], "group_by": "tread"}}, {"curate": {"split": {"stratify_by": "labl"}}}],
)
def test_a_field_that_no_row_has_is_an_error_with_the_nearest_name(section, tmp_path):
    with pytest.raises(UserError) as caught:
        curate(make_project(tmp_path, [row | {"thread": "x"} for row in distinct_rows(20)], **section))
    assert "did you mean" in caught.value.problems[0].help


def test_equal_prompts_go_to_one_split(tmp_path):
    rows = [
        *distinct_rows(100),
        chat("Name a colour.", "A long answer about red and why it is warm."),
        chat("name a  colour.", "Blue."),
    ]
    frames = splits_of(curate(make_project(tmp_path, rows)).folder)
    homes = [name for name, frame in frames.items() for line in frame["line"] if line > 100]
    assert len(homes) == 2
    assert len(set(homes)) == 1


def test_eval_items_are_dropped(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "evals.jsonl").write_bytes(
        lines_of([{"question": "what do seven llamas eat", "answer": "hay"}])
    )
    rows = [*distinct_rows(20), chat("What do seven llamas eat?", "hay")]
    project = make_project(tmp_path / "project", rows, data={"sources": ["rows.jsonl"], "evals": ["evals.jsonl"]})
    assert read_json(curate(project).folder / "ledger.json")["by_rule"] == {"LEK401": 1}


def test_steps_that_are_left_out_do_nothing_but_unreadable_rows_are_dropped_all_the_same(tmp_path):
    finished = curate(make_project(tmp_path, DIRTY, curate={"steps": ["conflict"]}))
    ledger = read_json(finished.folder / "ledger.json")
    assert ledger["by_rule"] == {"SCH101": 1}
    ids = pl.concat(splits_of(finished.folder).values())["row_id"]
    assert ids.n_unique() == ids.len() == 44, "a row that is there twice has two ids"


def test_no_rows_and_nothing_but_dropped_rows_are_inconclusive(tmp_path, capsys):
    with pytest.raises(NoRows):
        curate(make_project(tmp_path / "a", []))
    with pytest.raises(NoRows):
        curate(make_project(tmp_path / "b", [b"{", b"["]))
    assert assay.run(["curate", "-c", str(tmp_path / "a" / "assay.yaml")]) == 4
    assert "the sources hold no row" in capsys.readouterr().err
    assert not (tmp_path / "b" / "runs" / "curate").exists() or not list((tmp_path / "b" / "runs" / "curate").iterdir())


def test_a_missing_source_and_a_bad_step_are_exit_2(tmp_path, capsys):
    make_project(tmp_path, DIRTY, curate={"steps": ["near-duplicat"]})
    assert assay.run(["curate", "-c", str(tmp_path / "assay.yaml")]) == 2
    assert "near-duplicate" in capsys.readouterr().err
    make_project(tmp_path, DIRTY, data={"sources": ["none.jsonl"]})
    assert assay.run(["curate", "-c", str(tmp_path / "assay.yaml")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_options_are_checked_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError):
        curate_stage(make_project(tmp_path, DIRTY, curate={"rules": {"near-duplicate": {"threshold": 2}}}))


def test_a_dry_run_writes_nothing_and_says_what_it_would_do(tmp_path, capsys):
    make_project(tmp_path, DIRTY)
    assert assay.run(["curate", "-c", str(tmp_path / "assay.yaml"), "--dry-run", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows_dropped"] == 3
    assert not (tmp_path / "runs").exists()


def test_the_command_prints_the_manifest(tmp_path, capsys):
    make_project(tmp_path, DIRTY)
    assert assay.run(["curate", str(tmp_path / "assay.yaml"), "--out", str(tmp_path / "results")]) == 0
    out, err = capsys.readouterr()
    manifest, _ = open_stage(Path(out.strip()))
    assert Path(out.strip()).is_relative_to(tmp_path / "results")
    assert manifest.counts["rows_in"] == 45
    assert "45 rows in = 42 kept + 3 dropped" in err


def test_a_lost_row_is_our_bug_and_nothing_is_published(tmp_path, monkeypatch):
    project = make_project(tmp_path, DIRTY)
    run_steps = curate_steps.run_steps

    def lossy(*arguments):
        kept, ledger, remaining = run_steps(*arguments)
        return kept.without([3]), ledger, remaining

    monkeypatch.setattr(pipeline, "run_steps", lossy)
    with pytest.raises(ConservationError):
        curate(project)
    assert not list((tmp_path / "runs" / "curate").glob("made-*"))


def test_a_source_that_changes_during_the_run_is_noticed(tmp_path, monkeypatch):
    project = make_project(tmp_path, DIRTY)
    read = readers.read_corpus

    def change_then_read(*args, **kwargs):
        (tmp_path / "rows.jsonl").write_bytes(lines_of(distinct_rows(20)))
        return read(*args, **kwargs)

    monkeypatch.setattr(pipeline, "read_corpus", change_then_read)
    with pytest.raises(UserError) as caught:
        curate(project)
    assert "changed while" in caught.value.problems[0].what
    assert not list((tmp_path / "runs" / "curate").glob("made-*"))


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_a_full_disk_or_an_interruption_leaves_nothing_behind(failure, tmp_path, monkeypatch):
    project = make_project(tmp_path, DIRTY)

    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(pipeline, "write_split", fail)
    with pytest.raises((UserError, KeyboardInterrupt)) as caught:
        curate(project)
    if isinstance(caught.value, UserError):
        assert caught.value.problems[0].what == "the disk is full; nothing was published"
    assert [path.name for path in (tmp_path / "runs" / "curate").iterdir() if not path.name.startswith(".")] == []
    monkeypatch.undo()
    assert not curate(project).reused


def test_line_separators_inside_texts_do_not_break_lines(tmp_path):
    finished = curate(make_project(tmp_path, [*distinct_rows(20), chat("a\u2028b\u2029c\u0085d", "e")]))
    for name, frame in splits_of(finished.folder).items():
        lines = (finished.folder / "data" / f"{name}.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line)["messages"] for line in lines] == frame["messages"].to_list()


KINDS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "preference": ({"prompt": "q{n}", "chosen": "a{n}", "rejected": "b{n}"}, {"prompt", "chosen", "rejected"}),
    "feedback": ({"prompt": "q{n}", "completion": "a{n}", "label": True}, {"prompt", "completion", "label"}),
    "reward": ({"prompt": "q{n}", "reference": "a{n}"}, {"prompt", "reference"}),
    "text": ({"text": "t{n}"}, {"text"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_are_written_as_trainers_read_them(kind, tmp_path):
    template, keys = KINDS[kind]
    rows = [{k: v.format(n=n * 7919) if isinstance(v, str) else v for k, v in template.items()} for n in range(20)]
    finished = curate(make_project(tmp_path, rows))
    lines = (finished.folder / "data" / "train.jsonl").read_bytes().splitlines()
    assert lines
    assert all(set(json.loads(line)) == keys for line in lines)
    assert splits_of(finished.folder)["train"]["kind"].unique().to_list() == [kind]


ROW = st.one_of(
    st.builds(chat, st.sampled_from(["a b c", "d e f", STORY, EDITED, ""]), st.sampled_from(["x", "y", ""])),
    st.sampled_from([b"{", b"[1]", b"\xff", b"null", {"text": "t"}, {"other": 1}]),
)


@settings(max_examples=25)
@given(st.lists(ROW, min_size=1, max_size=12))
def test_rows_in_are_rows_kept_plus_rows_dropped(tmp_path_factory, rows):
    project = make_project(tmp_path_factory.mktemp("law"), rows)
    try:
        made = run_pipeline(project)
    except NoRows:
        return
    assert made.whole.height == len(rows) == made.kept.height + len(made.ledger.drops)
    assert set(made.kept.rows["index"]) | set(made.ledger.drops["index"]) == set(range(len(rows)))
    assert sum(made.rows_by_split.values()) == made.kept.height


def test_rows_of_the_wrong_type_cannot_be_published_and_are_dropped_whatever_the_steps_are(tmp_path):
    wrong = [{"messages": [None]}, {"messages": "x"}, {"messages": [{"role": 1, "content": {"a": 1}}]}, {"text": 5}]
    rows = [*distinct_rows(12), *wrong]
    for name, sections in (
        ("left-out", {"steps": ["pii"]}),
        ("kept", {"steps": ["schema", "pii"], "rules": {"schema": {"action": "keep"}}}),
    ):
        finished = curate(make_project(tmp_path / name, rows, curate=sections))
        assert read_json(finished.folder / "ledger.json")["by_rule"] == {"SCH107": 4}
        assert finished.manifest.counts["rows_kept"] == 12


def test_no_step_at_all_is_refused_since_it_would_mean_every_rule(tmp_path):
    with pytest.raises(ConfigError):
        make_project(tmp_path, distinct_rows(3), curate={"steps": []})


def test_results_in_a_searched_folder_are_no_source_of_the_next_run(tmp_path):
    project = make_project(tmp_path, distinct_rows(12), data={"sources": ["."]})
    assert curate(project).manifest.counts["rows_in"] == 12
    again = curate(project)
    assert again.reused
    assert again.manifest.counts["rows_in"] == 12
