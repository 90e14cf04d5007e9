import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import export
from curate.pipeline import curate, run_pipeline
from curate.readers import source_from_bytes
from curate.readers.mapping import shape_records
from curate.rows import Corpus
from schemas.errors import UserError
from tests.curate.made_rows import chat, distinct_rows, lines_of, make_project

TOOL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
PARTS = {
    "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, TOOL]
}
PREFERENCE = {"prompt": "q", "chosen": "c", "rejected": "r"}


def corpus_of(rows: list[Any]) -> Corpus:
    return source_from_bytes(lines_of(rows))


def write(rows: list[Any], folder: Path, splits: list[str] | None = None) -> Corpus:
    corpus = corpus_of(rows)
    height = corpus.height
    joined = pl.DataFrame(
        {
            "row_id": corpus.rows["row_id"],
            "split": splits or ["train"] * height,
            "label": pl.Series([None] * height, dtype=pl.String),
            "group": pl.Series([None] * height, dtype=pl.String),
            "time": pl.Series([None] * height, dtype=pl.String),
            "component": pl.int_range(height, eager=True),
            "threshold": pl.Series([None] * height, dtype=pl.Float64),
        }
    )
    export.write_split(corpus, joined, shape_records(), folder, "train")
    return corpus


def said(*pairs: tuple[str, str | None]) -> list[dict[str, str | None]]:
    return [{"role": role, "content": content} for role, content in pairs]


def test_conversations_of_every_length_and_kind_stand_in_their_rows(tmp_path):
    write([chat("a", "b"), {"messages": []}, PREFERENCE, {"text": "t"}, PARTS], tmp_path)
    frame = pl.read_parquet(tmp_path / "train.parquet")
    assert frame.schema == pl.Schema(export.SPLIT_SCHEMA)
    assert frame["messages"].to_list() == [
        said(("user", "a"), ("assistant", "b")),
        [],
        said(("user", "q"), ("assistant", "c")),
        said(("assistant", "t")),
        said(("user", "a\nb"), ("assistant", None)),
    ]
    assert frame["rejected"].to_list() == [None, None, said(("assistant", "r")), None, None]
    assert frame["kind"].to_list() == ["chat", "chat", "preference", "text", "chat"]
    assert frame["line"].to_list() == [1, 2, 3, 4, 5]


def test_a_line_that_is_no_copy_of_its_record_is_shaped_anew_and_another_is_not(tmp_path):
    rows = [chat("a", "b"), chat("c", "d", id=1), {"tools": [], "messages": []}, {"completion": "y", "prompt": "x"}]
    write(rows, tmp_path)
    lines = (tmp_path / "train.jsonl").read_bytes().splitlines()
    assert lines == [
        orjson.dumps(chat("a", "b")),
        orjson.dumps(chat("c", "d")),
        b'{"messages":[],"tools":[]}',
        orjson.dumps({"messages": said(("user", "x"), ("assistant", "y"))}),
    ]
    assert pl.read_parquet(tmp_path / "train.parquet")["record"].to_list() == [
        orjson.dumps(row).decode() for row in rows
    ]


def test_a_split_without_rows_has_its_columns_all_the_same_and_takes_no_row_of_another(tmp_path):
    write([chat("a", "b")], tmp_path, ["test"])
    assert pl.read_parquet(tmp_path / "train.parquet").schema == pl.Schema(export.SPLIT_SCHEMA)
    assert (tmp_path / "train.jsonl").read_bytes() == b""
    write([chat("a", "b"), chat("c", "d")], tmp_path, ["test", "train"])
    assert pl.read_parquet(tmp_path / "train.parquet")["row"].to_list() == [1]


@given(st.lists(st.text(alphabet="a\u2028\u2029\u0085\u20ac\u00c5\n", max_size=6), max_size=6))
def test_lines_are_the_values_and_end_nowhere_else(texts):
    lines = export.whole_lines([orjson.dumps(text) for text in texts]).decode()
    assert [json.loads(line) for line in lines.splitlines()] == texts


def test_parts_are_cut_by_rows_and_by_bytes():
    rows, size = export.ROWS_PER_PART, export.BYTES_PER_PART
    assert export.part_lengths(pl.Series([], dtype=pl.Int64)) == []
    assert export.part_lengths(pl.Series([1] * (2 * rows + 5))) == [rows, rows, 5]
    assert export.part_lengths(pl.Series([1, size, 1, 1])) == [1, 3]
    assert export.part_lengths(pl.Series([size, size, 1])) == [1, 2]


def test_row_groups_hold_fewer_rows_where_rows_are_long():
    assert export.group_length(pl.Series([600] * 10)) == export.ROWS_PER_GROUP
    assert export.group_length(pl.Series([export.BYTES_PER_GROUP // 4] * 10)) == 4
    assert export.group_length(pl.Series([export.BYTES_PER_GROUP * 2] * 3)) == 1
    assert export.group_length(pl.Series([], dtype=pl.Int64)) == 1


def test_the_size_of_parts_changes_no_row(tmp_path, monkeypatch):
    rows = [*distinct_rows(40), PREFERENCE, {"text": "t"}]
    write(rows, tmp_path)
    frame, lines = pl.read_parquet(tmp_path / "train.parquet"), (tmp_path / "train.jsonl").read_bytes()
    monkeypatch.setattr(export, "ROWS_PER_PART", 7)
    monkeypatch.setattr(export, "BYTES_PER_PART", 1000)
    write(rows, tmp_path)
    assert pl.read_parquet(tmp_path / "train.parquet").equals(frame)
    assert (tmp_path / "train.jsonl").read_bytes() == lines


WRITER = """
import hashlib, sys
import polars as pl
from curate.export import write_parquet
starts = range(0, 9970, 997)
parts = [pl.DataFrame({"a": range(n, n + 997), "b": [str(k * k) for k in range(n, n + 997)]}) for n in starts]
write_parquet(parts, {"a": pl.Int64, "b": pl.String}, sys.argv[1], 2000)
"""


def test_the_number_of_threads_changes_no_byte(tmp_path):
    for threads in ("1", "2", "4"):
        environment = os.environ | {"POLARS_MAX_THREADS": threads}
        subprocess.run([sys.executable, "-c", WRITER, str(tmp_path / threads)], env=environment, check=True)
    assert pl.read_parquet(tmp_path / "1")["a"].to_list() == list(range(9970))
    assert len({(tmp_path / threads).read_bytes() for threads in ("1", "2", "4")}) == 1


def test_a_full_disk_in_the_middle_of_a_split_leaves_nothing_behind(tmp_path, monkeypatch):
    project = make_project(tmp_path, distinct_rows(30))

    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(export, "whole_lines", fail)
    with pytest.raises(UserError) as caught:
        curate(project)
    assert caught.value.problems[0].what == "the disk is full; nothing was published"
    assert [path.name for path in (tmp_path / "runs" / "curate").iterdir() if not path.name.startswith(".")] == []
    monkeypatch.undo()
    finished = curate(project)
    assert sorted(path.name for path in (finished.folder / "data").iterdir()) == [
        f"{split}.{ending}" for split in ("test", "train", "validation") for ending in ("jsonl", "parquet")
    ]


def test_dropped_rows_are_the_same_in_parts_of_any_size(tmp_path, monkeypatch):
    made = run_pipeline(make_project(tmp_path, [*distinct_rows(12), b"{", *distinct_rows(9)]))
    whole = pl.concat(made.ledger.dropped_frames(made.whole))
    monkeypatch.setattr("curate.ledger.ROWS_PER_PART", 4)
    parts = list(made.ledger.dropped_frames(made.whole))
    assert [part.height for part in parts] == [4, 4, 2]
    assert pl.concat(parts).equals(whole)
    assert whole["row"].to_list() == list(range(12, 22))


def test_a_place_is_found_in_what_is_left_and_not_where_its_row_was_dropped():
    corpus = corpus_of([chat(str(n), "a") for n in range(9)])
    left = corpus.without([0, 3, 8])
    for index in (1, 2, 4, 7):
        assert left.place(index) == corpus.place(index)
        assert (left.place(index).index, left.place(index).line) == (index, index + 1)
        assert left.record(index) == chat(str(index), "a")
    for index in (0, 3, 8, 9):
        with pytest.raises(KeyError):
            left.place(index)
    assert list(corpus.records(corpus.rows[[7, 2]])) == [chat("7", "a"), chat("2", "a")]
