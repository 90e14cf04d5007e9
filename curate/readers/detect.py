"""The format of a file, by what it holds; its name only decides where the content leaves a choice."""

from __future__ import annotations

import re
from pathlib import Path

import orjson

from curate.readers.shapes import COMPLETIONS, PROMPTS
from curate.spill import Bytes
from schemas.errors import UserError

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".txt": "text",
    ".md": "text",
}
PACKINGS = (".gz", ".zst", ".bz2", ".xz")
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")
ARROW_FILE, ARROW_STREAM, PARQUET = b"ARROW1", b"\xff\xff\xff\xff", b"PAR1"
HEAD_BYTES = 1 << 16
LINE_BYTES = 1 << 20
BLANK = re.compile(rb"\s*")
LIST_KEYS = ("data", "rows", "train", "examples", "records", "items", "instances", "samples", "dataset", "entries")
"""Keys under which one object commonly holds the list of all records."""
WRAPPED = re.compile(
    rb'\s*+\{\s*+(?:"[^"\\]{0,80}+"\s*+:\s*+(?:"[^"\\]{0,400}+"|[-\w.]{1,40}+)\s*+,\s*+){0,20}+"(?:'
    + "|".join(LIST_KEYS).encode()
    + rb')"\s*+:\s*+\[\s*+[{\]]'
)
"""The beginning of such an object: values that are neither list nor object may come first."""
OTHER_FIELDS = ("text", "content", "instruction", "messages", "conversations", "chosen", "rejected", "label")
TABLE_FIELDS = frozenset((*PROMPTS, *COMPLETIONS, *OTHER_FIELDS))
FOREIGN = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook or another Office file", "save the sheet as CSV"),
    (b"SQLite format 3\x00", "an SQLite database", "export the table as CSV"),
    (b"FEA1", "Feather version 1", "write it again with a pyarrow of today, which writes version 2"),
    (b"%PDF-", "a PDF file", "extract its text into JSONL"),
    (b"Obj\x01", "an Avro file", "export it as JSONL or Parquet"),
    (b"\x89HDF", "an HDF5 file", "export it as JSONL or Parquet"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it first"),
    (b"\x04\x22\x4d\x18", "a file packed with lz4", "unpack it first"),
)
"""First bytes -> what the file is, what to do."""


def detect_format(path: Path, data: Bytes) -> str:
    """jsonl, json, csv, tsv, parquet, arrow or text.

    Raises:
        UserError: the content is that of a file which holds no rows that can be read.
    """
    _refuse_foreign(path, data)
    named = _named(path)
    if data[:4] == PARQUET and (data[-4:] == PARQUET or named not in ("csv", "tsv")):
        return "parquet"
    if data[:6] == ARROW_FILE or data[:4] == ARROW_STREAM:
        return "arrow"
    head = data[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf")
    first = head.lstrip()[:1]
    if named in ("csv", "tsv") and first in (b"{", b"[") and not _is_json(data):
        return named
    if first == b"[":
        return _array_or_lines(named, data)
    if first == b"{":
        return _object_or_lines(named, data, head)
    if named in (None, "jsonl", "json", "text"):
        return "csv" if _looks_like_table(head) else "text" if named == "text" else "jsonl"
    return named


def _named(path: Path) -> str | None:
    name = path.name.lower()
    for packing in PACKINGS:
        name = name.removesuffix(packing)
    return FORMATS.get(Path(name).suffix)


def _refuse_foreign(path: Path, data: Bytes) -> None:
    """Errors for what is no text and no table of ours."""
    what, advice = "", ""
    if wide := _wide_text(data[:4]):
        what, advice = f"{wide} text", f"convert it: iconv -f {wide} -t UTF-8 {path.name}"
    elif data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        what, advice = "a pickle", "opening one runs whatever code it holds: export the rows as JSONL instead"
    elif data[257:262] == b"ustar":
        what, advice = "a tar archive", "unpack it first"
    else:
        what, advice = next(((what, help) for magic, what, help in FOREIGN if data[: len(magic)] == magic), ("", ""))
    if what:
        raise UserError(
            "the data file has a format that is not read",
            where=str(path),
            found=what,
            expected="JSONL, JSON, CSV, TSV, Parquet, Arrow or plain text, in UTF-8",
            help=advice,
        )


def _wide_text(start: bytes) -> str:
    """The encoding whose every character takes two or four bytes, by a file's first four; empty for another one."""
    if start in WIDE_MARKS or start[:2] in WIDE_MARKS:
        return "UTF-32" if start in WIDE_MARKS else "UTF-16"
    zeros = bytes(byte != 0 for byte in start)
    return {b"\1\0\0\0": "UTF-32LE", b"\0\0\0\1": "UTF-32BE", b"\1\0\1\0": "UTF-16LE", b"\0\1\0\1": "UTF-16BE"}.get(
        zeros, ""
    )


def _is_json(data: Bytes) -> bool:
    """Whether the first line is JSON, or the beginning of an array or an object over several lines."""
    start, stop = _first_line(data)
    line = data[start : min(stop, start + LINE_BYTES)].strip()
    try:
        return isinstance(orjson.loads(line), dict | list)
    except orjson.JSONDecodeError:
        return line in (b"[", b"{") or stop - start > LINE_BYTES


def _array_or_lines(named: str | None, data: Bytes) -> str:
    """An array of records, or lines that each hold a list."""
    if named == "json":
        return "json"
    start, stop = _first_line(data)
    if _nothing_behind(data, stop):
        return "json" if data[start + 1 : start + LINE_BYTES].lstrip()[:1] in (b"{", b"]") else "jsonl"
    return "jsonl" if data[max(start, stop - 64) : stop].rstrip()[-1:] == b"]" else "json"


def _object_or_lines(named: str | None, data: Bytes, head: bytes) -> str:
    """One object over many lines, one object that holds the list of all records, or one object a line."""
    start, stop = _first_line(data)
    last = data[max(start, stop - 64) : stop].rstrip()[-1:]
    alone = _nothing_behind(data, stop)
    if alone or last != b"}":
        return "json" if named == "json" or WRAPPED.match(head) else "jsonl"
    return "jsonl"


def _first_line(data: Bytes) -> tuple[int, int]:
    """Where the first line that is not blank begins and ends, a byte order mark aside."""
    blank = BLANK.match(data, 3 if data[:3] == b"\xef\xbb\xbf" else 0)
    start = blank.end() if blank else 0
    end = data.find(b"\n", start)
    return start, end if end >= 0 else len(data)


def _nothing_behind(data: Bytes, position: int) -> bool:
    blank = BLANK.match(data, position)
    return blank is None or blank.end() == len(data)


def _looks_like_table(head: bytes) -> bool:
    """Whether the first line is a header of CSV that names a field of ours."""
    line = head.lstrip().split(b"\n", 1)[0].decode("utf-8", "replace")
    names = [name.strip().strip('"').lower() for name in re.split(r"[,;\t|]", line)]
    return len(names) > 1 and any(name in TABLE_FIELDS for name in names)
