"""Large sources: their text lies in files without a name, and everything reads as if it lay in memory."""

import bz2
import errno
import gzip
import lzma
import os
from pathlib import Path

import orjson
import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from curate import spill
from curate.keys import row_keys, turn_keys
from curate.readers import read_corpus
from curate.rows import Corpus, all_texts
from curate.similar import comparable_texts
from curate.spill import Spill, blocks_of, frame_parts, spill_for
from schemas.errors import UserError
from tests.curate.made_rows import chat

PACK = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.compress(data[:70]) + zstandard.compress(data[70:]),
}
ROWS = [
    chat("Grüße, 世界", "ja"),
    chat(
        "mail kim@kde.org",
        "no",
    ),
    {"text": "plain"},
    {"other": 1},
]
LINES = b"\n".join([*map(orjson.dumps, ROWS), b"", b"{broken", b"\xff", *map(orjson.dumps, ROWS[::-1])]) + b"\n"


@pytest.fixture
def everything_spills(monkeypatch):
    monkeypatch.setattr(spill, "SPILL_BYTES", 0)
    monkeypatch.setattr(spill, "PART_BYTES", 100)


def frames(corpus: Corpus) -> list[pl.DataFrame]:
    return [
        corpus.rows,
        corpus.turns,
        corpus.faults,
        comparable_texts(corpus),
        turn_keys(corpus).select("index"),
        row_keys(corpus),
        all_texts(corpus),
    ]


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize(("name", "data"), [("rows.jsonl", LINES), ("rows.json", orjson.dumps(ROWS)[:-9])])
def test_a_corpus_on_disk_reads_as_one_in_memory(name, data, packing, tmp_path, monkeypatch):
    path = tmp_path / f"{name}{packing}"
    path.write_bytes(PACK[packing](data))
    near = read_corpus([path])
    monkeypatch.setattr(spill, "SPILL_BYTES", 0)
    monkeypatch.setattr(spill, "PART_BYTES", 100)
    far = read_corpus([path], folder=tmp_path)
    assert near.spill is None
    assert far.spill == Spill(tmp_path)
    assert [source.sha256 for source in far.sources] == [source.sha256 for source in near.sources]
    assert [far.raw(index) for index in far.rows["index"]] == [near.raw(index) for index in near.rows["index"]]
    for one, other in zip(frames(near), frames(far), strict=True):
        assert_frame_equal(one, other)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("packing", [packing for packing in PACK if packing])
@pytest.mark.usefixtures("everything_spills")
def test_a_packed_file_that_was_cut_off_is_refused(packing, tmp_path):
    path = tmp_path / f"rows.jsonl{packing}"
    path.write_bytes(PACK[packing](LINES)[:-5])
    with pytest.raises(UserError, match="cannot be unpacked"):
        read_corpus([path], folder=tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.usefixtures("everything_spills")
def test_empty_files_and_rows_without_turns_are_read(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "odd.jsonl").write_bytes(b"[]\n\n7\n")
    corpus = read_corpus([tmp_path / "empty.jsonl", tmp_path / "odd.jsonl"], folder=tmp_path)
    assert corpus.height == 2
    assert comparable_texts(corpus).is_empty()


def test_only_large_sources_lie_on_disk(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"x" * 99)
    monkeypatch.setattr(spill, "SPILL_BYTES", 198)
    assert spill_for([path], tmp_path) is None
    assert spill_for([path, path], tmp_path) == Spill(tmp_path)
    assert spill_for([path, path, Path("-"), tmp_path / "none"], None) is not None
    path.write_bytes(b"x" * 1_000_000)
    assert spill_for([path], tmp_path, memory_mb=1) == Spill(tmp_path)
    assert spill_for([path], tmp_path, memory_mb=2) is None


def test_without_pyarrow_text_stays_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "SPILL_BYTES", 0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert spill_for([tmp_path], tmp_path) is None


def test_a_temporary_folder_that_is_full_or_missing_is_told_with_the_variable_that_names_it(tmp_path, monkeypatch):
    source = tmp_path / "rows.jsonl"
    source.write_bytes(orjson.dumps(chat("a", "b")) + b"\n")

    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def missing() -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.TemporaryFile", full)
        with pytest.raises(UserError, match="the disk is full") as caught:
            read_corpus([source], memory_mb=0)
        assert "TMPDIR" in caught.value.problems[0].help
        with pytest.raises(UserError, match="the disk is full") as caught:
            read_corpus([source], memory_mb=0, folder=tmp_path)
        assert "--out" in caught.value.problems[0].help
    monkeypatch.setattr("tempfile.gettempdir", missing)
    with pytest.raises(UserError, match="no folder for temporary files") as caught:
        read_corpus([source], memory_mb=0)
    assert "TMPDIR" in caught.value.problems[0].help


def test_a_frame_on_disk_leaves_no_name(tmp_path):
    frame = pl.DataFrame({"n": [1, None, 3], "text": ["ä" * 40, None, ""]})
    far = Spill(tmp_path).frame(frame)
    assert os.listdir(tmp_path) == []
    assert_frame_equal(far, frame)
    with Path(os.devnull).open("rb") as nothing:
        assert Spill(tmp_path).copy(blocks_of(nothing))[0] == b""


@given(sizes=st.lists(st.integers(0, 150 << 20), max_size=40))
def test_parts_hold_every_row_once_and_little_more_than_their_bytes(sizes):
    frame = pl.DataFrame({"size": sizes}, schema={"size": pl.Int64})
    parts = list(frame_parts(frame, pl.col("size")))
    assert [row for start, count in parts for row in range(start, start + count)] == list(range(len(sizes)))
    for start, count in parts:
        held = sizes[start : start + count]
        assert sum(held) - held[0] <= spill.PART_BYTES
