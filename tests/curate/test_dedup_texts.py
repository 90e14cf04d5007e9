"""The text of a JSON lines file: the kernel reads what a JSON parser reads, and refuses what is not plain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.dedup import read_texts
from curate.dedup.texts import _plain

CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXT = st.one_of(st.text(CHARACTERS, max_size=30), st.text('"\\/\b\f\n\r\tué😀\x00\x1f\x7f', max_size=150))
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)
ROW = st.builds(
    lambda before, text, after: before | text | after,
    st.dictionaries(st.sampled_from(["id", "texts", "tex", "meta"]), VALUE, max_size=2),
    st.one_of(st.just({}), st.builds(lambda text: {"text": text}, st.one_of(st.none(), TEXT))),
    st.dictionaries(st.sampled_from(["a", "b"]), VALUE, max_size=2),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts") / "rows.jsonl"


@settings(max_examples=150)
@given(rows=st.lists(ROW, min_size=1, max_size=6), ascii=st.booleans(), spaced=st.booleans(), ended=st.booleans())
def test_plain_lines_are_read_as_json_reads_them(file, rows, ascii, spaced, ended):
    separators = (" ,\t", " : ") if spaced else (",", ":")
    lines = [json.dumps(row, ensure_ascii=ascii, separators=separators) for row in rows]
    file.write_text("\n".join(lines) + "\n" * ended, encoding="utf-8", newline="")
    found = _plain(file, "text", 2)
    assert found is not None
    assert found.to_list() == [row.get("text") for row in rows]


BROKEN = [
    b'{"text": "a"} x',
    b'{"text": "a",}',
    b'{"text": "a" "b": 1}',
    b'{"text": "a"',
    b'{"text": "a\n"}',
    b'{"text": "\\x"}',
    b'{"text": "\\ud800"}',
    b'{"text": "\\udc00\\ud800"}',
    b'{"text": "\\ud800\\u0041"}',
    b'{"text": "\\u00g0"}',
    b'{"text": "\xc0\x80"}',
    b'{"text": "\xed\xa0\x80"}',
    b'{"text": "\xf4\x90\x80\x80"}',
    b'{"text": "\xe2\x82"}',
    b'{"a": "\xff", "text": "b"}',
    b'{"text": "a", "b": 01}',
    b'{"text": "a", "b": 1.}',
    b'{"text": "a", "b": .5}',
    b'{"text": "a", "b": 1e}',
    b'{"text": "a", "b": +1}',
    b'{"text": "a", "b": nul}',
    b'{"text": "a", "b": truex}',
    b'{"text": "a", "b": [1, 2}',
    b'{"text": "a", "b": {"c": 1]}',
    b'{"text": "a", "b": [1 2]}',
    b'{"text": "a", "b": [1,]}',
    b'{"text": "a", "b": {"c"}}',
    b'{"text": "a", "b": {1: 2}}',
    b'["text"]',
    b'"text"',
    b'{"text": "a"}}',
    b"{",
    b"\xef\xbb\xbf{}",
]
UNSURE = [
    b'{"text": 1}',
    b'{"text": ["a"]}',
    b'{"text": "a", "text": "b"}',
    b'{"te\\u0078t": "a"}',
    b"",
    b'{"text": "a", "b": ' + b"[" * 61 + b"]" * 61 + b"}",
]


@pytest.mark.parametrize("line", BROKEN + UNSURE)
def test_lines_that_are_not_plain_are_left_to_the_full_parser(file, line):
    file.write_bytes(b'{"text": "before"}\n' + line + b'\n{"text": "behind"}\n')
    assert _plain(file, "text", 1) is None


@settings(max_examples=300)
@given(
    row=ROW,
    places=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=3),
    cut=st.integers(0, 400),
)
@example(row={"text": "a"}, places=[(0, 123)], cut=400)
def test_whatever_the_bytes_what_is_read_is_json(file, row, places, cut):
    line = bytearray(json.dumps(row, ensure_ascii=False).encode())[:cut]
    for place, byte in places:
        if line:
            line[place % len(line)] = byte
    file.write_bytes(bytes(line) + b"\n")
    found = _plain(file, "text", 1)
    if found is not None:
        read: list[Any] = [orjson.loads(part) for part in bytes(line).split(b"\n")]
        assert found.to_list() == [each.get("text") for each in read]


def test_chunks_and_threads_change_nothing(file, monkeypatch):
    texts = [None if n % 7 == 0 else "é\n" * (n % 40) + "x" * (n % 13) for n in range(400)]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    whole = read_texts(file)
    monkeypatch.setattr("curate.dedup.texts._CHUNK", 100)
    monkeypatch.setattr("curate.dedup.texts._LOOK", 7)
    monkeypatch.setattr("curate.dedup.texts._BUFFER", 1000)
    assert read_texts(file, workers=3).to_list() == whole.to_list() == texts


def test_what_is_not_plain_is_read_by_polars_and_what_is_broken_is_an_error(file):
    file.write_bytes(b'{"text": "a"}\n\n{"te\\u0078t": "b"}\n')
    assert read_texts(file).to_list() == ["a", "b"]
    file.write_bytes(b'{"text": "a"}\n{"text": \n')
    with pytest.raises(pl.exceptions.ComputeError):
        read_texts(file)


def test_an_empty_file_has_no_rows(file):
    file.write_bytes(b"")
    assert read_texts(file).to_list() == []


def test_a_row_longer_than_a_chunk(file, monkeypatch):
    monkeypatch.setattr("curate.dedup.texts._CHUNK", 1000)
    texts = ["short", "long \\ " * 20_000, "x"]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert read_texts(file).to_list() == texts
    monkeypatch.setattr("curate.dedup.texts._LONGEST", 50_000)
    assert _plain(file, "text", 1) is None
    assert read_texts(file).to_list() == texts
