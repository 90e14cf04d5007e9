"""The keep list: a decision is undone, the ledger says so, and an entry that does nothing is named."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import assay
from curate import pipeline
from curate.keep import read_keep_list
from curate.pipeline import curate, run_pipeline
from curate.rules.near_duplicate import EDITED, STORY
from schemas.errors import ConfigError, UserError
from tests.curate.made_rows import chat, distinct_rows, lines_of, make_project, read_json

NEAR = [chat(STORY, "fiction", label="yes"), chat(EDITED, "fiction", label="yes")]
ROWS = [*distinct_rows(20), distinct_rows(1)[0], *NEAR, b'{"messages": [']


def made(folder: Path, rows: list[Any] | None = None, **curate_section: Any) -> Any:
    return make_project(folder, ROWS if rows is None else rows, curate=curate_section)


def dropped_rows(folder: Path, **section: Any) -> pl.DataFrame:
    return pl.read_parquet(curate(made(folder, **section)).folder / "dropped.parquet")


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> pl.DataFrame:
    return dropped_rows(tmp_path_factory.mktemp("before"))


def value_of(frame: pl.DataFrame, code: str, column: str = "row_id") -> str:
    return str(frame.filter(pl.col("code") == code)[column][0])


def kept_lines(folder: Path) -> dict[int, str]:
    frames = {name: pl.read_parquet(folder / "data" / f"{name}.parquet") for name in ("train", "validation", "test")}
    return {line: name for name, frame in frames.items() for line in frame["line"]}


@pytest.mark.parametrize("column", ["row_id", "fingerprint"])
def test_a_listed_row_stays_and_the_ledger_says_against_which_rule(before, column, tmp_path):
    word = value_of(before, "DUP203", column)
    line = int(value_of(before, "DUP203", "line"))
    finished = curate(made(tmp_path, keep=[f"  {word.upper()} # both tellings matter"]))
    ledger = read_json(finished.folder / "ledger.json")
    assert ledger["by_rule"] == {"DUP201": 1, "SCH101": 1}
    assert (ledger["keep"]["entries"], ledger["keep"]["rows"], ledger["keep"]["by_rule"]) == (1, 1, {"DUP203": 1})
    assert ledger["keep"]["undone"] == [
        {"word": word, "where": "curate.keep", "reason": "both tellings matter", "code": "DUP203",
         "name": "near-duplicate", "path": "rows.jsonl", "line": line, "row": line - 1}
    ]  # fmt: skip
    step = next(step for step in ledger["steps"] if step["name"] == "near-duplicate")
    assert (step["rows_found"], step["rows_dropped"], step["rows_spared"]) == (1, 0, 1)
    splits = kept_lines(finished.folder)
    assert splits[22] == splits[23], "the graph before anything is dropped holds near-duplicates together"
    assert read_json(finished.folder / "report.json")["findings_kept"] == {"DUP203": 1}
    assert read_json(finished.folder / "split_proof.json")["cross_split_pairs"] == 0


def test_an_unlisted_row_is_dropped_all_the_same(before, tmp_path):
    ledger = read_json(curate(made(tmp_path, keep=[value_of(before, "DUP201")])).folder / "ledger.json")
    assert ledger["by_rule"] == {"DUP203": 1, "SCH101": 1}
    assert ledger["keep"]["by_rule"] == {"DUP201": 1}


def test_an_entry_takes_back_one_copy_and_no_later_rule_drops_it(tmp_path):
    rows = [
        *distinct_rows(12),
        *(chat("Same question", "yes", label="yes") for _ in range(4)),
        chat("Same question", "no"),
    ]
    everything = {"steps": ["exact-duplicate", "conflict"], "rules": {"conflict": {"action": "drop"}}}
    dropped = dropped_rows(tmp_path / "plain", rows=rows, **everything)
    assert sorted(dropped["code"].to_list()) == ["CON301", "CON301", "DUP201", "DUP201", "DUP201"]
    word = value_of(dropped, "DUP201")
    for entries in (1, 2):
        result = run_pipeline(made(tmp_path / f"listed{entries}", rows=rows, **everything, keep=[word] * entries))
        assert result.ledger.keep["by_rule"] == {"CON301": entries, "DUP201": entries}
        assert result.ledger.keep["rows"] == entries
        assert sorted(result.ledger.drops["index"]) == [12, *range(13 + entries, 17)]


def test_the_copies_of_a_row_that_was_taken_back_are_duplicates_still(before, tmp_path):
    rows = [*ROWS, NEAR[0], NEAR[1]]
    dropped = dropped_rows(tmp_path / "plain", rows=rows)
    near = dropped.filter(pl.col("code") == "DUP203")
    assert dropped["row_id"].to_list().count(near["row_id"][0]) == 2, "the row, and its copy"
    result = run_pipeline(made(tmp_path / "listed", rows=rows, keep=[near["row_id"][0]]))
    kept = result.kept.rows["row_id"].to_list()
    assert kept.count(near["row_id"][0]) == 1
    assert (result.kept.height, result.ledger.keep["rows"]) == (len(rows) - dropped.height + 1, 1)


def test_more_entries_than_drops_are_without_effect(before, tmp_path):
    row, copy = value_of(before, "DUP203"), value_of(before, "DUP201", "fingerprint")
    words = [row, row, copy, copy]
    keep = run_pipeline(made(tmp_path, keep=words)).ledger.keep
    assert (keep["entries"], keep["rows"], keep["unmatched"]) == (4, 2, [])
    assert [entry["word"] for entry in keep["without_effect"]] == [words[0], words[2]]


def test_a_file_of_ids_with_reasons(before, tmp_path):
    tmp_path.joinpath("keep.txt").write_bytes(
        b"\xef\xbb\xbf# what we looked at by eye\r\n\r\n"
        + f'"{value_of(before, "DUP203")}",   # told differently\r\n'.encode()
    )
    finished = curate(made(tmp_path, keep_file="keep.txt"))
    undone = read_json(finished.folder / "ledger.json")["keep"]["undone"]
    assert [(entry["where"], entry["reason"]) for entry in undone] == [("keep.txt:3", "told differently")]
    assert [ref.role for ref in finished.manifest.inputs] == ["source", "keep"]


def test_another_list_is_another_dataset_and_a_file_that_changes_meanwhile_is_noticed(before, tmp_path, monkeypatch):
    path = tmp_path / "keep.txt"
    path.write_text(value_of(before, "DUP203"))
    project = made(tmp_path, keep_file="keep.txt")
    first = curate(project)
    path.write_text("# nothing\n")
    assert curate(project).folder != first.folder
    project.path.with_name("rows.jsonl").write_bytes(lines_of(ROWS[:-1]))
    monkeypatch.setattr(pipeline, "read_keep_list", late(read_keep_list))
    with pytest.raises(UserError) as caught:
        curate(project)
    assert caught.value.problems[0].what == "the keep file changed while it was being curated"


def late(read: Any) -> Any:
    """The second reading, that of the run itself, meets other bytes than the first."""
    calls = []

    def reading(config, root):
        calls.append(1)
        if len(calls) == 2:
            (root / config.keep_file).write_text("# other\n")
        return read(config, root)

    return reading


def test_a_stale_entry_breaks_nothing_and_is_named_with_what_is_near(before, tmp_path, capsys):
    word = value_of(before, "DUP203")
    wrong = word[:-1] + ("0" if word[-1] != "0" else "1")
    line = value_of(before, "DUP203", "line")
    made(tmp_path, keep=[wrong, "\x1b[31mred", "0" * 32])
    config = str(tmp_path / "assay.yaml")
    for arguments in (["curate", config], ["curate", config, "-q"], ["curate", config, "--dry-run"]):
        assert assay.run(arguments) == 0
        err = capsys.readouterr().err.splitlines()
        assert [text for text in err if text.startswith("warning:")] == [
            f"warning: curate.keep: {wrong} is no row's id, and no decision of this run; "
            f"did you mean {word} (rows.jsonl:{line})?",
            "warning: curate.keep: \\x1b[31mred is no row's id, and no decision of this run",
            f"warning: curate.keep: {'0' * 32} is no row's id, and no decision of this run",
        ]


def test_an_entry_that_no_rule_is_against_is_counted_without_a_warning(tmp_path, capsys):
    finished = curate(made(tmp_path))
    word = pl.read_parquet(finished.folder / "data" / "train.parquet")["row_id"][3]
    made(tmp_path, keep=[word])
    assert assay.run(["curate", str(tmp_path / "assay.yaml")]) == 0
    err = capsys.readouterr().err
    assert "keep list: 1 entry, 0 rows kept against a rule's advice; 1 without effect" in err
    assert "warning" not in err


def test_what_cannot_be_written_cannot_be_kept(before, tmp_path, capsys):
    wrong_type = {"messages": [{"role": "user", "content": 5}, {"role": "assistant", "content": "x"}]}
    rows = [*ROWS, wrong_type]
    dropped = dropped_rows(tmp_path / "plain", rows=rows)
    listed = [value_of(dropped, "SCH101", "fingerprint"), value_of(dropped, "SCH107")]
    made(tmp_path / "listed", rows=rows, keep=listed)
    assert assay.run(["curate", str(tmp_path / "listed" / "assay.yaml"), "--dry-run", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    ledger = json.loads(out)
    assert ledger["by_rule"] == {"DUP201": 1, "DUP203": 1, "SCH101": 1, "SCH107": 1}
    assert [entry["word"] for entry in ledger["keep"]["unwritable"]] == listed
    assert ledger["keep"]["unmatched"] == ledger["keep"]["without_effect"] == []
    assert [line.rpartition(" cannot be kept: ")[2] for line in err.splitlines()] == [
        "rows.jsonl:24 cannot be read as a row",
        "rows.jsonl:25 cannot be read as a row",
    ]


def test_a_listed_row_is_redacted_all_the_same(tmp_path):
    row = chat("Ask kim@kde.org about the amber lamp", "no", label="no")
    dropped = dropped_rows(tmp_path / "plain", rows=[*distinct_rows(12), row, row])
    project = made(tmp_path / "listed", rows=[*distinct_rows(12), row, row], keep=[value_of(dropped, "DUP201")])
    frames = [pl.read_parquet(path) for path in (curate(project).folder / "data").glob("*.parquet")]
    assert sum(frame.height for frame in frames) == 14
    assert "kde.org" not in str([frame.to_dicts() for frame in frames])


def test_a_missing_file_and_a_word_that_is_no_text_are_exit_2(tmp_path, capsys):
    made(tmp_path, keep_file="none.txt")
    assert assay.run(["curate", str(tmp_path / "assay.yaml")]) == 2
    assert "the keep file cannot be opened" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        made(tmp_path, keep=[12345678])


def test_a_file_that_is_no_list_of_ids_is_warned_about_and_hardly_swells_the_ledger(tmp_path, capsys):
    tmp_path.joinpath("keep.bin").write_bytes(b"\x00\xff\x1b[2J" + b"a" * 1_000_000 + b"#" + b"b" * 1_000_000)
    made(tmp_path, keep_file="keep.bin")
    assert assay.run(["curate", str(tmp_path / "assay.yaml"), "-q"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("warning: keep.bin:1: \\x00\\xff\\x1b[2jaaa")
    assert len(err) < 200
    assert Path(out.strip()).with_name("ledger.json").stat().st_size < 20_000


def test_many_stale_entries_are_counted(tmp_path, capsys):
    made(tmp_path, keep=[f"{number:032x}" for number in range(1, 31)])
    assert assay.run(["curate", str(tmp_path / "assay.yaml"), "-q"]) == 0
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 11
    assert err[-1] == "warning: and 20 more in ledger.json, under keep"
