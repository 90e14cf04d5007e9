"""Passages of documents: any folder, any bytes, cut where a sentence or a paragraph ends."""

import gzip
import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.retrieval import files
from evals.retrieval.markup import html_paragraphs
from evals.retrieval.passages import (
    Document,
    Passage,
    distinct,
    passages_of,
    plain_paragraphs,
    read_passages,
    row_passages,
)
from evals.retrieval.words import size
from schemas.errors import UserError


def texts(read):
    return [passage.text for passage in read.passages]


def test_paragraphs_are_joined_while_they_fit_and_named_by_file_and_line(tmp_path):
    (tmp_path / "a.md").write_text("# Harbour\n\nIt was moved.\nIn 1913.\n\nFour words stand here.\n", encoding="utf-8")
    read = read_passages(tmp_path, 7)
    assert [(one.passage_id, one.source, one.text) for one in read.passages] == [
        ("a.md:1", "a.md:1", "# Harbour\n\nIt was moved.\nIn 1913."),
        ("a.md:6", "a.md:6", "Four words stand here."),
    ]
    assert read.files == 1


def test_a_long_paragraph_is_cut_at_sentences_and_a_long_sentence_at_words(tmp_path):
    (tmp_path / "a.txt").write_text("One two three. Four five six! Seven eight nine ten eleven.", encoding="utf-8")
    read = read_passages(tmp_path / "a.txt", 4)
    assert [(one.passage_id, one.text) for one in read.passages] == [
        ("a.txt:1", "One two three."),
        ("a.txt:1#2", "Four five six!"),
        ("a.txt:1#3", "Seven eight nine ten"),
        ("a.txt:1#4", "eleven."),
    ]


def test_scripts_without_blanks_are_cut_by_character(tmp_path):
    (tmp_path / "a.txt").write_text(
        "\u6e2f\u53e3\u8fc1\u79fb\u4e86\u3002\u4ed6\u4eec\u5f88\u9ad8\u5174\u3002", encoding="utf-8"
    )
    assert texts(read_passages(tmp_path, 4)) == [
        "\u6e2f\u53e3\u8fc1\u79fb\u4e86\u3002",
        "\u4ed6\u4eec\u5f88\u9ad8\u5174\u3002",
    ]


def test_folders_are_read_in_the_order_of_names_and_links_once(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_text("two", encoding="utf-8")
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config.txt").write_text("hidden", encoding="utf-8")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "c.txt").symlink_to(tmp_path / "a.txt")
    (tmp_path / "d.txt").symlink_to(tmp_path / "nowhere")
    read = read_passages(tmp_path, 10)
    assert [(one.source, one.text) for one in read.passages] == [("a.txt:1", "one"), ("b/two.txt:1", "two")]
    assert [one.path for one in read.unreadable] == ["d.txt"]


def test_what_cannot_be_read_is_listed_and_nothing_waits_for_a_pipe(tmp_path):
    (tmp_path / "good.txt").write_text("words", encoding="utf-8")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n" + bytes(range(256)) * 8)
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7 ...")
    (tmp_path / "packed.txt.gz").write_bytes(b"\x1f\x8b\x08\x00")
    (tmp_path / "packed.jsonl").write_bytes(gzip.compress(b'{"text": "words"}\n'))
    os.mkfifo(tmp_path / "pipe")
    read = read_passages(tmp_path, 10)
    assert texts(read) == ["words"]
    assert {one.path: one.why for one in read.unreadable} == {
        "packed.jsonl": "a packed file, not text",
        "packed.txt.gz": "a packed file, not text",
        "paper.pdf": "a PDF file, not text",
        "photo.png": "not text",
        "pipe": "neither a file nor a folder",
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_listed(tmp_path):
    (tmp_path / "good.txt").write_text("words", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("words", encoding="utf-8")
    (tmp_path / "secret.txt").chmod(0)
    assert [one.why for one in read_passages(tmp_path, 10).unreadable] == ["Permission denied"]


@pytest.mark.parametrize(
    ("data", "text", "guessed"),
    [
        (b"caf\xc3\xa9 \xff noir, and many more words", "caf\u00e9 \ufffd noir, and many more words", ["a.txt"]),
        (b"caf\xe9 cr\xe8me", "caf\u00e9 cr\u00e8me", ["a.txt"]),
        (b"\xef\xbb\xbfone", "one", []),
        ("\ufeffd\u00e9j\u00e0 vu".encode("utf-16-le"), "d\u00e9j\u00e0 vu", []),
        (b"one\x00two and some more of it", "one two and some more of it", []),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07ink\x08", "red ink", []),
        (b"one\r\ntwo\rthree", "one\ntwo\nthree", []),
    ],
)
def test_bytes_become_clean_text(tmp_path, data, text, guessed):
    (tmp_path / "a.txt").write_bytes(data)
    read = read_passages(tmp_path, 20)
    assert texts(read) == [text]
    assert read.guessed == guessed


def test_names_that_a_terminal_would_act_on_are_shown_escaped(tmp_path):
    (tmp_path / "a\x1b[31m\n.txt").write_text("words", encoding="utf-8")
    (tmp_path / os.fsdecode(b"b\xff.txt")).write_text("more", encoding="utf-8")
    assert [one.source for one in read_passages(tmp_path, 9).passages] == ["a\\x1b[31m\\n.txt:1", "b\\xff.txt:1"]


def test_records_are_documents_and_keep_their_names(tmp_path):
    (tmp_path / "kb.jsonl").write_text(
        '{"id": "k1", "title": "Harbour", "text": "It was moved."}\n'
        "no record\n"
        '{"question": "Where?", "answer": "North.", "metadata": {"by": "me"}}\n'
        '{"id": "k3", "text": ""}\n',
        encoding="utf-8",
    )
    read = read_passages(tmp_path, 20)
    assert [(one.source, one.document, one.text) for one in read.passages] == [
        ("kb.jsonl:1", "k1", "Harbour\n\nIt was moved."),
        ("kb.jsonl:3", "kb.jsonl:3", "Where?\n\nNorth."),
    ]
    assert [tuple(one) for one in read.unreadable] == [("kb.jsonl:2", "not a record")]
    assert read.empty == 1


def test_a_long_record_gives_passages_of_one_line(tmp_path):
    (tmp_path / "kb.csv").write_text("id,text\n7,one two. three four.\n8,five\n", encoding="utf-8")
    read = read_passages(tmp_path, 2)
    assert [(one.passage_id, one.document, one.text) for one in read.passages] == [
        ("kb.csv:2", "7", "one two."),
        ("kb.csv:2#2", "7", "three four."),
        ("kb.csv:3", "8", "five"),
    ]


def test_repeated_passages_are_kept_once_and_named(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("the same\nwords", encoding="utf-8")
    read = read_passages(tmp_path, 9)
    assert [(one.passage_id, one.also) for one in read.passages] == [("a.txt:1", ("b.txt:1",))]
    assert read.repeated == 1


@pytest.mark.parametrize("name", ["empty", "blank.txt", "photo.png", "missing"])
def test_nothing_to_read_is_an_error_that_says_what_was_there(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text(" \n\n", encoding="utf-8")
    (tmp_path / "photo.png").write_bytes(bytes(256))
    with pytest.raises(UserError) as caught:
        read_passages(tmp_path / name, 9)
    (problem,) = caught.value.problems
    assert name in problem.where
    assert problem.help


def test_too_many_files_and_too_much_text_are_refused(tmp_path, monkeypatch):
    for name in "abc":
        (tmp_path / name).write_text("word " * 100, encoding="utf-8")
    monkeypatch.setattr(files, "MAX_FILES", 2)
    with pytest.raises(UserError, match="too many") as caught:
        read_passages(tmp_path, 9)
    assert caught.value.problems[0].found == "more than 2 files"
    monkeypatch.setattr(files, "MAX_FILES", 3)
    monkeypatch.setattr(files, "MAX_BYTES", 1200)
    with pytest.raises(UserError, match="too many"):
        read_passages(tmp_path, 9)
    monkeypatch.setattr(files, "MAX_BYTES", 1500)
    assert read_passages(tmp_path, 200).files == 3


def test_a_page_loses_scripts_styles_comments_and_tags():
    page = """<!doctype html><html><head><title>The &amp; title</title><style>p { color: red }</style>
<script>if (a < b) { document.write("<p>no</p>") }</script></head>
<body><h1>Harbour</h1><p>It was <b>moved</b>
in 1913.<!-- <p>hidden</p> --></p><ul><li>one<li>two</ul>3 < 4 &lt;b&gt;"""
    assert [tuple(one) for one in html_paragraphs(page)] == [
        (1, "The & title"),
        (3, "Harbour"),
        (3, "It was moved in 1913."),
        (4, "one"),
        (4, "two"),
        (4, "3 < 4 <b>"),
    ]


@pytest.mark.parametrize("unit", ["<!--", "<a ", "<a b='", "<script>", "<![CDATA[", "<?", "</", "&#", "<"])
def test_pages_of_unclosed_marks_are_read_once(tmp_path, unit):
    (tmp_path / "a.html").write_text("<p>before</p>" + unit * 200_000, encoding="utf-8")
    assert texts(read_passages(tmp_path, 5))[0].startswith("before")


@given(st.text(max_size=300), st.integers(1, 12))
def test_no_word_of_a_text_is_lost_and_no_passage_is_too_long(text, words):
    text = files.cleaned(text)
    passages = list(passages_of(Document("a", "a", plain_paragraphs(text, 1)), words))
    assert "".join("".join(one.text.split()) for one in passages) == "".join(text.split())
    assert all(0 < size(one.text) <= words for one in passages)
    assert len({one.passage_id for one in passages}) == len(passages)


@given(st.text(alphabet="a.\n \u6f22\u3002", max_size=80), st.integers(1, 6))
def test_a_passage_begins_on_the_line_that_it_names(text, words):
    lines = text.split("\n")
    for passage in passages_of(Document("a", "a", plain_paragraphs(text, 1)), words):
        assert passage.text[0] in lines[int(passage.source.rpartition(":")[2]) - 1]


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_listed(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.txt").write_bytes(data)
    (folder / "b.html").write_bytes(data)
    (folder / "c.txt").write_text("words", encoding="utf-8")
    assert all(one.text.strip() for one in read_passages(folder, 5).passages)


def test_rows_are_passages_of_question_and_answer():
    rows = [
        SimpleNamespace(item_id="r1", question="Where?", answer="North."),
        SimpleNamespace(item_id="r2", question="", answer=" "),
    ]
    assert row_passages(rows) == [Passage("r1", "r1", "Where?\nNorth.", "r1")]
    assert distinct([]) == []
