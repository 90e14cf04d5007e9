import gzip
import io
import json
import sys
import zlib
from pathlib import Path

import polars as pl
import pytest
import zstandard

import assay
from curate.readers import read_corpus, source_from_bytes
from curate.readers.arrow import whole_messages
from curate.rows import Corpus
from schemas.errors import UserError
from tests.curate.made_rows import chat, distinct_rows, lines_of
from tests.curate.test_readers import packed

ROWS = [chat("a", "b", n=n) for n in range(6)]
FRAME = pl.DataFrame({"messages": [row["messages"] for row in ROWS], "n": list(range(6))})


def read(data: bytes, name: str, tmp_path: Path, *, whole: bool = True) -> Corpus:
    path = tmp_path / name
    path.write_bytes(data)
    return read_corpus([path], whole=whole)


def table(write: str, **options: object) -> bytes:
    stream = io.BytesIO()
    getattr(FRAME, write)(stream, **options)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["rows.arrow", "rows.feather", "rows.jsonl", "rows"])
@pytest.mark.parametrize(
    "data",
    [table("write_ipc"), table("write_ipc", compression="zstd"), table("write_ipc_stream")],
    ids=["file", "packed file", "stream"],
)
def test_arrow_is_read_in_both_formats_under_any_name(data, name, tmp_path):
    corpus = read(data, name, tmp_path)
    assert corpus.rows.select("line", "row", "kind").rows() == [(None, n, "chat") for n in range(6)]
    assert corpus.rows["metadata"][2] == '{"n":2}'
    assert corpus.sources[0].format == "arrow"
    assert corpus.faults.is_empty()


def batches(rows: int) -> bytes:
    """A stream of one batch a row, since polars' own message boundaries cannot be chosen: schema, then the batches."""
    whole = [table_of(n) for n in range(rows)]
    schema_end = _first_end(whole[0])
    return whole[0][:schema_end] + b"".join(part[schema_end:-8] for part in whole) + whole[0][-8:]


def table_of(n: int) -> bytes:
    stream = io.BytesIO()
    pl.DataFrame({"text": [f"row {n}"]}).write_ipc_stream(stream)
    return stream.getvalue()


def _first_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[4:8], "little")


def test_a_stream_that_is_cut_off_gives_its_whole_batches_and_a_finding(tmp_path):
    data = batches(5)
    assert whole_messages(data) == (data, "")
    assert source_from_bytes(data, "arrow").height == 5
    corpus = read(data[:-60], "cut.arrow", tmp_path)
    assert corpus.turns["content"].to_list() == [f"row {n}" for n in range(4)]
    assert corpus.faults["kind"].to_list() == ["broken-line"]
    assert "cut off" in corpus.faults["found"][0]


@pytest.mark.parametrize("keep", range(0, 100, 7))
def test_any_beginning_of_an_arrow_table_is_read_or_refused_with_its_name(keep, tmp_path):
    for data in (table("write_ipc"), table("write_ipc_stream")):
        try:
            corpus = read(data[: len(data) * keep // 100], "rows.arrow", tmp_path)
        except UserError as error:
            refused = error.problems[0].where
        else:
            refused = ""
            assert corpus.height in (0, 6)
        assert not refused or refused.endswith("rows.arrow")


LINES = lines_of(ROWS)


@pytest.mark.parametrize("packing", [".jsonl.gz", ".jsonl.bz2", ".jsonl.xz", ".jsonl.zst"])
def test_packed_bytes_are_known_by_themselves_in_files_and_on_standard_input(packing, tmp_path, monkeypatch, capsys):
    data = packed(LINES)[packing]
    for name in ("rows.jsonl", "rows", "rows.json.gz", "rows.csv"):
        assert read(data, name, tmp_path).rows["kind"].to_list() == ["chat"] * 6
    assert read(gzip.compress(data), "twice.jsonl.gz", tmp_path).height == 6
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assay.run(["audit", "-", "--fail-on", "never"])
    assert capsys.readouterr().out.startswith("-: 6 rows of chat (messages), jsonl\n")


def test_a_suffix_that_promises_packing_may_lie_too(tmp_path):
    assert read(LINES, "rows.jsonl.gz", tmp_path).height == 6
    with pytest.raises(UserError, match="cannot be unpacked"):
        read(b"\x00\x01\x02\xff" * 50, "rows.jsonl.gz", tmp_path)


@pytest.mark.parametrize("packing", [".jsonl.gz", ".jsonl.xz", ".jsonl.zst", ".jsonl.bz2"])
def test_several_packed_frames_are_one_file(packing, tmp_path):
    data = packed(LINES)[packing]
    assert read(data + data, f"rows{packing}", tmp_path).height == 12


def noisy(count: int) -> bytes:
    """Rows that do not pack well, so that a cut-off file still holds some."""
    return b"".join(b'{"text": "%s"}\n' % zlib.crc32(b"%d" % n).to_bytes(4, "big").hex().encode() for n in range(count))


@pytest.mark.parametrize("packing", [".jsonl.gz", ".jsonl.xz", ".jsonl.zst", ".jsonl.bz2"])
def test_the_audit_reads_what_a_cut_off_packed_file_still_holds(packing, tmp_path, capsys):
    data = packed(noisy(200_000))[packing]
    path = tmp_path / f"rows{packing}"
    path.write_bytes(data[: len(data) * 2 // 3])
    assert assay.run(["audit", str(path), "--select", "SCH101", "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert 50_000 < found["rows"] < 200_000
    (whole,) = [finding for finding in found["findings"] if finding["row"] is None]
    assert whole["code"] == "SCH101"
    assert "cut off" in whole["message"]


def test_a_checksum_that_does_not_fit_is_a_finding_and_curation_refuses_the_file(tmp_path):
    data = bytearray(gzip.compress(LINES))
    data[-8] ^= 1
    corpus = read(bytes(data), "rows.jsonl.gz", tmp_path, whole=False)
    assert corpus.height == 6
    assert "incorrect data check" in corpus.faults["found"][0]
    with pytest.raises(UserError, match="cannot be unpacked"):
        read(bytes(data), "rows.jsonl.gz", tmp_path)


CSV = b"prompt,completion\na,b\n"
BY_CONTENT = [
    ("parquet.jsonl", table("write_parquet"), "parquet", 6),
    ("lines.parquet", LINES, "jsonl", 6),
    ("lines.csv", LINES, "jsonl", 6),
    ("array.jsonl", json.dumps(ROWS, indent=1).encode(), "json", 6),
    ("array.csv", json.dumps(ROWS).encode(), "json", 6),
    ("array-in-one-line.jsonl", json.dumps(ROWS).encode(), "json", 6),
    ("lines.json", LINES, "jsonl", 6),
    ("table.jsonl", CSV, "csv", 1),
    ("table.txt", CSV.replace(b",", b";"), "csv", 1),
    ("table.json", b"\xef\xbb\xbf" + CSV, "csv", 1),
    ("object.jsonl", json.dumps({"data": ROWS}).encode(), "json", 6),
    ("object.json", json.dumps({"v": 1, "train": ROWS[:4], "test": ROWS[4:]}, indent=1).encode(), "json", 6),
    ("one.json", json.dumps(ROWS[0], indent=1).encode(), "json", 1),
    ("marked.json", b"\xef\xbb\xbf" + json.dumps({"rows": ROWS}).encode(), "json", 6),
    ("lists.jsonl", b"[1]\n[2]\n", "jsonl", 2),
    ("braces.csv", b"{id},prompt,completion\n1,a,b\n", "csv", 1),
    ("one-line.jsonl", LINES.split(b"\n")[0], "jsonl", 1),
]


@pytest.mark.parametrize(("name", "data", "format", "rows"), BY_CONTENT, ids=[case[0] for case in BY_CONTENT])
def test_the_content_tells_the_format(name, data, format, rows, tmp_path):
    corpus = read(data, name, tmp_path)
    assert (corpus.sources[0].format, corpus.height) == (format, rows)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04rest", "Excel"),
        (b"\x80\x04\x95rest", "a pickle"),
        (b"SQLite format 3\x00rest", "SQLite"),
        (b"FEA1rest", "Feather version 1"),
        (LINES.decode().encode("utf-16"), "UTF-16"),
        (LINES.decode().encode("utf-16-le"), "UTF-16LE"),
        (LINES.decode().encode("utf-16-be"), "UTF-16BE"),
        ("prompt,completion\na,b\n".encode("utf-16-le"), "UTF-16LE"),
        (LINES.decode().encode("utf-32"), "UTF-32"),
        (LINES.decode().encode("utf-32-be"), "UTF-32BE"),
        (b"x" * 257 + b"ustar", "a tar archive"),
    ],
)
def test_what_is_no_table_of_ours_is_named_with_what_to_do(data, said, tmp_path):
    with pytest.raises(UserError) as caught:
        read(zstandard.compress(data), "rows.jsonl.zst", tmp_path)
    assert said in caught.value.problems[0].found
    assert caught.value.problems[0].help


def test_an_object_that_holds_the_list_gives_every_record_its_line_and_a_damaged_one_costs_itself():
    data = json.dumps({"meta": {"a": [1]}, "rows": distinct_rows(3), "note": "x"}, indent=1).encode()
    corpus = source_from_bytes(data, "json")
    assert corpus.sources[0].within == "under `rows`"
    lines = data.split(b"\n")
    assert [lines[line - 1] for line in corpus.rows["line"]] == [b"  {"] * 3
    damaged = b'{"rows": [{"text": "a"}, {"text": x}, {"text": "c"}], "b": 1}'
    corpus = source_from_bytes(damaged, "json")
    assert corpus.rows["kind"].to_list() == ["text", None, "text"]
    cut = source_from_bytes(damaged[:49], "json")
    assert cut.rows["kind"].to_list() == ["text", None, None]


def test_values_that_json_does_not_know_become_text_or_a_broken_row():
    frame = pl.DataFrame({"text": ["a"], "raw": [b"\xff\x00"], "day": [__import__("datetime").date(2024, 1, 2)]})
    stream = io.BytesIO()
    frame.write_parquet(stream)
    corpus = source_from_bytes(stream.getvalue(), "parquet")
    assert corpus.rows["metadata"].to_list() == ['{"raw":"\\\\xff\\u0000","day":"2024-01-02"}']
