import bz2
import gzip
import io
import itertools
import json
import lzma
import os
from pathlib import Path

import orjson
import polars as pl
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.readers import read_corpus, source_from_bytes
from curate.readers.builder import MAX_DEPTH
from curate.rows import Corpus
from schemas.errors import UserError
from tests.curate.made_rows import chat, distinct_rows, lines_of, write_rows

GOOD = lines_of([chat("a", "b")]).strip()


def faults(corpus: Corpus) -> list[tuple[str, int | None, int | None]]:
    return list(corpus.faults.select("kind", "index", "line").iter_rows())


def read(data: bytes, suffix: str, tmp_path: Path) -> Corpus:
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(data)
    return read_corpus([path])


BROKEN = {
    "cut off": (b'{"messages": [{"role": "user"', "inside a value"),
    "not UTF-8": (b'{"text": "caf\xe9"}', "0xe9 at byte 14 is not UTF-8"),
    "NUL": (b'{"text": "a\x00b"}', "NUL byte at character 12"),
    "NaN": (b'{"text": "a", "score": NaN}', "NaN or an infinity"),
    "infinity": (b'{"score": -Infinity}', "NaN or an infinity"),
    "too large": (b'{"score": 1e999}', "a number that is too large"),
    "too many digits": (b'{"score": ' + b"9" * 400 + b"}", "a number that is too large"),
    "half a pair": (b'{"text": "\\ud800"}', "half a surrogate pair"),
    "deep": (b"[" * 5000 + b"]" * 5000, "nested more than 200 levels deep"),
    "deep and open": (b'{"a":' * 100_000, "nested more than 200 levels deep"),
    "other content behind": (b'{"text": "a"} "b"', "unexpected content"),
    "single quotes": (b"{'text': 'a'}", "a single quote, as Python prints a dict"),
    "Python's words": (b'{"text": "a", "label": None}', "Python's None at character 24"),
    "bare keys": (b'{text: "a"}', "a key without quotes"),
    "comment": (b'{"text": "a"} // a remark', "a comment at character 15"),
    "comma inside": (b'{"text": "a",}', "a comma before a closing bracket"),
    "typographic quotes": ('{\u201ctext\u201d: "a"}'.encode(), "a typographic quote"),
    "raw tab": (b'{"text": "a\tb"}', "an unescaped control character U+0009"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_line_is_a_row_with_its_bytes_and_the_next_row_is_read(name):
    line, said = BROKEN[name]
    corpus = source_from_bytes(GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
    assert corpus.rows["line"].to_list() == [1, 2, 3]
    assert corpus.rows["row"].to_list() == [0, 1, 2]
    assert corpus.rows["kind"].to_list() == ["chat", None, "chat"]
    assert corpus.rows["row_id"].is_null().to_list() == [False, True, False]
    assert corpus.raw(1) == line
    assert faults(corpus) == [("broken-line", 1, 2)]
    assert said in corpus.faults["found"][0]


def test_a_huge_line_is_read():
    text = "word " * 2_000_000
    corpus = source_from_bytes(lines_of([{"text": text}, {"text": "b"}]))
    assert corpus.turns["content"].str.len_chars().to_list() == [10_000_000, 1]


def test_a_byte_order_mark_does_not_cost_the_row():
    corpus = source_from_bytes(b"\xef\xbb\xbf" + GOOD + b"\n" + GOOD)
    assert faults(corpus) == [("byte-order-mark", 0, 1)]
    assert corpus.rows["kind"].to_list() == ["chat", "chat"]
    assert corpus.record(0) == chat("a", "b")


def test_blank_lines_are_no_rows_but_are_noted_and_carriage_returns_are_space():
    corpus = source_from_bytes(GOOD + b"\r\n\r\n  \n" + GOOD + b"\r\n")
    assert corpus.rows["line"].to_list() == [1, 4]
    assert corpus.rows["row"].to_list() == [0, 1]
    assert faults(corpus) == [("blank-line", None, 2), ("blank-line", None, 3)]


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        (b'{"text": "a", "text": "b"}', "`text`"),
        (b'{"text":"a","\\u0074ext":"b"}', "`text`"),
        (b'{"messages" : [{"role" : "user", "role" : "system", "content" : "x"}]}', "`role`"),
        (b'{"messages": [{"role":"user","role"\t:"user","content":"\\u003a"}]}', "`role`"),
        (b'{"messages": [], "id": 1, "tools": [{"a": 1, "a": 2}], "id": 2}', "`a`, `id`"),
    ],
)
def test_a_repeated_key_is_found_however_it_is_spelt(line, keys):
    corpus = source_from_bytes(line)
    assert corpus.faults.filter(pl.col("kind") == "duplicate-key")["found"].to_list() == [keys]


@pytest.mark.parametrize("line", [b'{"text": "say \\":\\" twice \\":"}', b'{"text" : "a", "other" : "\\u0022:"}'])
def test_what_only_looks_like_a_repeated_key_is_none(line):
    assert faults(source_from_bytes(line)) == []


@pytest.mark.parametrize(("value", "word"), [([1], "a list"), ("a", "text"), (3, "a number"), (None, "null")])
def test_a_line_that_is_no_object_is_a_row_with_a_fault(value, word):
    corpus = source_from_bytes(orjson.dumps(value))
    assert corpus.faults.select("kind", "found").rows() == [("not-an-object", f"the record is {word}")]
    assert corpus.height == 1


def packed(data: bytes) -> dict[str, bytes]:
    return {
        ".jsonl": data,
        ".jsonl.gz": gzip.compress(data),
        ".jsonl.bz2": bz2.compress(data),
        ".jsonl.xz": lzma.compress(data),
        ".jsonl.zst": zstandard.ZstdCompressor().compress(data),
        ".ndjson": data,
        "": data,
    }


@pytest.mark.parametrize("suffix", packed(b""))
def test_packed_files_give_the_same_rows(suffix, tmp_path):
    rows = distinct_rows(5)
    plain = source_from_bytes(lines_of(rows))
    corpus = read(packed(lines_of(rows))[suffix], suffix, tmp_path)
    assert corpus.rows.equals(plain.rows)
    assert corpus.turns.equals(plain.turns)


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.xz", ".jsonl.zst", ".jsonl.bz2"])
def test_a_damaged_packed_file_is_refused_with_its_name(suffix, tmp_path):
    with pytest.raises(UserError) as caught:
        read(packed(lines_of(distinct_rows(50)))[suffix][:-20], suffix, tmp_path)
    assert caught.value.problems[0].what == "the data file cannot be unpacked"
    assert caught.value.problems[0].where.endswith(suffix)


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    with pytest.raises(UserError) as caught:
        read_corpus([tmp_path / "none.jsonl"])
    assert caught.value.problems[0].found == "No such file or directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [chat("a", "b")])
    path.chmod(0)
    with pytest.raises(UserError) as caught:
        read_corpus([path])
    assert caught.value.problems[0].found == "Permission denied"


def test_utf16_is_refused_with_the_cure(tmp_path):
    with pytest.raises(UserError) as caught:
        read(GOOD.decode().encode("utf-16"), ".jsonl", tmp_path)
    assert "iconv" in caught.value.problems[0].help


def test_an_empty_file_has_no_rows(tmp_path):
    assert read(b"", ".jsonl", tmp_path).height == 0


def test_a_json_array_gives_each_record_its_line(tmp_path):
    rows = [chat("a", "b"), chat("c ] } , [", "d"), chat('e " { \\', "f")]
    data = json.dumps(rows, indent=2).encode()
    corpus = read(data, ".json", tmp_path)
    starts = [n for n, line in enumerate(data.split(b"\n"), start=1) if line == b"  {"]
    assert corpus.rows["line"].to_list() == starts
    assert [corpus.record(n) for n in range(3)] == rows
    assert faults(corpus) == []


def test_an_array_on_one_line_is_read_whatever_its_suffix(tmp_path):
    rows = [chat("a", "b"), chat("c", "d")]
    for suffix in (".json", ".txt"):
        corpus = read(json.dumps(rows).encode(), suffix, tmp_path)
        assert [corpus.record(n) for n in range(2)] == rows


def test_a_record_cut_off_at_the_end_of_an_array_costs_only_itself(tmp_path):
    data = json.dumps([chat("a", "b"), chat("c", "d"), chat("e", "f")], indent=1).encode()
    corpus = read(data[:-40], ".json", tmp_path)
    assert corpus.rows["kind"].to_list() == ["chat", "chat", None]
    assert [kind for kind, *_ in faults(corpus)] == ["broken-line", "broken-line"]
    assert "ends before" in corpus.faults["found"][1]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_record_damaged_inside_an_array_costs_only_itself(indent, tmp_path):
    data = json.dumps([chat("a", "b"), chat("XX", "d"), chat("e", "f"), chat("g", "h")], indent=indent).encode()
    corpus = read(data.replace(b'"XX"', b'"X"X"'), ".json", tmp_path)
    assert corpus.rows["kind"].to_list() == ["chat", None, "chat", "chat"]
    assert b'"X"X"' in corpus.raw(1)
    assert corpus.record(3) == chat("g", "h")


def test_a_single_object_over_many_lines_is_one_record(tmp_path):
    corpus = read(json.dumps(chat("a", "b"), indent=2).encode(), ".json", tmp_path)
    assert corpus.rows["kind"].to_list() == ["chat"]


def test_objects_line_by_line_under_the_name_of_json_are_read(tmp_path):
    assert read(lines_of([chat("a", "b"), chat("c", "d")]), ".json", tmp_path).height == 2


def test_a_table_with_quoted_line_breaks_names_the_line_on_which_a_row_begins(tmp_path):
    data = b'prompt,completion,label\n"a\nb",c,x\nd,e,y\nf,g\n'
    corpus = read(data, ".csv", tmp_path)
    assert corpus.rows["line"].to_list() == [2, 4, 5]
    assert corpus.rows["kind"].to_list() == ["prompt-completion", "prompt-completion", None]
    assert corpus.record(0) == {"prompt": "a\nb", "completion": "c", "label": "x"}
    assert corpus.faults.select("found", "expected").rows() == [("2 fields", "3 fields, as in the header")]


def test_a_table_with_a_byte_order_mark_says_so_and_keeps_its_first_column(tmp_path):
    corpus = read(b"\xef\xbb\xbfprompt,completion\na,b\n", ".csv", tmp_path)
    assert faults(corpus) == [("byte-order-mark", None, 1)]
    assert corpus.record(0) == {"prompt": "a", "completion": "b"}


def test_a_table_may_hold_conversations_as_json_and_bytes_that_are_not_utf8(tmp_path):
    messages = json.dumps(chat("ä", "b")["messages"], ensure_ascii=False).replace('"', '""')
    data = f'id\tmessages\n1\t"{messages}"\n'.encode() + b"2\tcaf\xe9\n"
    corpus = read(data, ".tsv", tmp_path)
    assert corpus.rows["kind"].to_list() == ["chat", None]
    assert corpus.turns["content"].to_list() == ["ä", "b"]


def test_parquet_rows_have_no_line_and_no_nulls_from_shared_structs(tmp_path):
    path = tmp_path / "rows.parquet"
    rows = [
        {"messages": [{"role": "user", "content": "a", "name": "Ann"}, {"role": "assistant", "content": "b"}]},
        chat("c", "d"),
    ]
    pl.DataFrame(rows).write_parquet(path)
    corpus = read_corpus([path])
    assert corpus.rows.select("line", "row", "kind").rows() == [(None, 0, "chat"), (None, 1, "chat")]
    assert corpus.record(1) == chat("c", "d")
    assert faults(corpus) == []


def test_a_damaged_parquet_file_is_refused(tmp_path):
    buffer = io.BytesIO()
    pl.DataFrame({"text": ["a"]}).write_parquet(buffer)
    with pytest.raises(UserError) as caught:
        read(buffer.getvalue()[:-10], ".parquet", tmp_path)
    assert caught.value.problems[0].what == "the Parquet file cannot be read"


def test_the_result_does_not_depend_on_the_chunk(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [*distinct_rows(40), b"broken", *distinct_rows(5)])
    one, many = (read_corpus([path], rows_per_chunk=size) for size in (1000, 7))
    assert one.rows.equals(many.rows)
    assert one.turns.equals(many.turns)
    assert one.faults.equals(many.faults)


def test_paragraphs_of_plain_text_are_rows_and_what_is_json_or_a_table_is_not_text(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"\xef\xbb\xbfone\ntwo\r\n\n\n  three\n\nbad \xff byte\n\nlast")
    corpus = read_corpus([path])
    assert corpus.sources[0].format == "text"
    assert corpus.rows["line"].to_list() == [1, 5, 7, 9]
    texts = corpus.turns.filter(part="text")["content"].to_list()
    assert texts == ["one\ntwo", "  three", "last"]
    assert sorted(corpus.faults["kind"].to_list()) == ["broken-line", "byte-order-mark"]
    for name, text, format in (("a.txt", '{"text": "x"}\n', "jsonl"), ("b.md", "prompt,completion\nq,a\n", "csv")):
        (tmp_path / name).write_text(text, "utf-8")
        assert read_corpus([tmp_path / name]).sources[0].format == format


def test_rows_of_several_files_are_numbered_through(tmp_path):
    paths = [write_rows(tmp_path / f"{name}.jsonl", [{"text": name}]) for name in "ab"]
    corpus = read_corpus(paths)
    assert corpus.rows.select("index", "source", "line", "row").rows() == [(0, 0, 1, 0), (1, 1, 1, 0)]


LINES = st.one_of(
    st.binary(max_size=60).filter(lambda line: b"\n" not in line),
    st.builds(
        lambda line, at, byte: line[:at] + bytes([byte]) + line[at + 1 :],
        st.sampled_from([GOOD, b'{"text": "caf\xc3\xa9"}', b'{"prompt": "a", "completion": ["b", null, 1e3]}']),
        st.integers(0, 60),
        st.integers(0, 255).filter(lambda byte: byte != 10),
    ),
)


@settings(max_examples=300)
@given(st.lists(LINES, max_size=8))
@example([b'{"":"\xc2\x80"},'])
@example([b"{", b"}"])
@example([b'{"text": "a"} ,{"text": "b"}', b"", b'{"text": "c"', b', "n": 1} x'])
def test_every_byte_is_in_one_row_and_what_is_no_record_on_a_line_of_its_own_has_a_fault(lines):
    data = b"\n".join(lines)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return
    corpus = source_from_bytes(data)
    spans = corpus.rows.select("start", "stop").rows()
    edges = [0, *(edge for span in spans for edge in span), len(data)]
    assert edges == sorted(edges)
    blank = set(corpus.faults.filter(pl.col("kind") == "blank-line")["line"])
    faulty = set(corpus.faults["index"].drop_nulls())
    faulty_lines = set(corpus.rows.filter(pl.col("index").is_in(faulty))["line"])
    start, whole = 0, set()
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else [], start=1):
        stop = start + len(line)
        held = [(max(first, start), min(last, stop)) for first, last in spans if first <= stop and last >= start]
        outside = line if not held else b"".join(
            data[a:b] for (_, a), (b, _) in itertools.pairwise([(0, start), *held, (stop, 0)])
        )  # fmt: skip
        assert not outside.strip(b" \t\r,") or number in blank
        assert held or number in blank
        whole.add((start, stop))
        start = stop + 1
    for index, line, kind, span in zip(*corpus.rows["index", "line", "kind"], spans, strict=True):
        assert kind is not None or index in faulty
        assert span in whole or line in faulty_lines


@settings(max_examples=200)
@given(st.binary(max_size=80).map(lambda noise: b'[{"text": "a"}, ' + noise))
def test_noise_in_an_array_ends_and_keeps_the_first_record(noise):
    corpus = source_from_bytes(noise, "json")
    assert corpus.rows["kind"][0] == "text"


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_a_record_nested_too_deeply_is_a_broken_row_and_one_at_the_bound_is_none(tmp_path, suffix):
    def nested(levels: int) -> str:
        # The record, its metadata and the list itself are levels as well.
        inner = "[" * (levels - 1) + "]" * (levels - 1)
        return GOOD.decode()[:-1] + f', "tag": {inner}}}'

    rows = [nested(MAX_DEPTH), nested(MAX_DEPTH + 1), nested(900), nested(5000)]
    data = "[" + ",\n".join(rows) + "]" if suffix == ".json" else "\n".join(rows)
    corpus = read(data.encode(), suffix, tmp_path)
    assert faults(corpus) == [("broken-line", index, index + 1) for index in (1, 2, 3)]
    assert corpus.rows["kind"].to_list() == ["chat", None, None, None]
    assert set(corpus.faults["found"]) == {f"nested more than {MAX_DEPTH} levels deep"}


def test_a_table_column_nested_too_deeply_stays_text(tmp_path):
    deep = "[" * 900 + "]" * 900
    frame = pl.DataFrame({"messages": [deep, "[]"], "tag": [deep, "x"]})
    stream = io.BytesIO()
    frame.write_parquet(stream)
    corpus = read(stream.getvalue(), ".parquet", tmp_path)
    assert corpus.height == 2
    assert ("wrong-type", 0, None) in faults(corpus)
    assert ("wrong-type", 1, None) not in faults(corpus)


def test_a_number_of_thousands_of_digits_is_read_beside_a_repeated_key(tmp_path):
    long = b'{"text" : "a", "text": "b", "n": 1' + b"0" * 100 + b"}"
    endless = b'{"text" : "a", "n": 0.' + b"1" * 6000 + b"}"
    corpus = read(long + b"\n" + endless, ".jsonl", tmp_path)
    assert faults(corpus) == [("duplicate-key", 0, 1)]


def test_a_file_name_that_is_not_utf8_is_shown_with_its_bytes_escaped(tmp_path):
    for name, shown in ((b"caf\xe9.jsonl", r"caf\xe9.jsonl"), ("caf\u00e9.jsonl".encode(), "caf\u00e9.jsonl")):
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(GOOD)
        assert read_corpus([path]).sources[0].path == f"{tmp_path}/{shown}"
