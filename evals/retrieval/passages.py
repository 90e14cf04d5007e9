"""Passages: pieces of documents that are cut where a paragraph or a sentence ends, and trained rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from curate.contamination.items import text_of
from curate.readers import read_corpus
from evals.retrieval.files import (
    PACKED,
    Budget,
    Unreadable,
    cleaned,
    decoded,
    document_files,
    no_text,
    shown,
)
from evals.retrieval.markup import Paragraph, html_paragraphs
from evals.retrieval.words import PIECE
from schemas.errors import UnopenedError, UserError
from schemas.terminal import printable

PAGES = (".html", ".htm", ".xhtml")
TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
"""Suffixes of files whose records are a document each."""
NAMES = ("id", "_id", "docid", "doc_id", "document_id", "passage_id", "pid", "name", "url")
"""Fields by which a record of such a file calls itself; the first one that it has is taken."""
UNSAID = frozenset((*NAMES, "role", "metadata", "source", "date", "created", "updated"))
"""Fields of a record that are not what it says."""
SENTENCE = re.compile(r"(?<=[.!?\u2026])[\"')\]\u201d\u2019\u00bb]*\s+|(?<=[\u3002\uff01\uff1f\u061f\u06d4\u0964])|\n+")
"""Between sentences, in scripts with and without blanks; a line ends one too."""


@dataclass(frozen=True)
class Passage:
    """A text that may be shown before a question."""

    passage_id: str
    """`file:line`, with #2 and so on where several begin on one line; of a trained row, its row id."""
    source: str
    """`file:line`, on which it begins."""
    text: str
    document: str = ""
    """What the record that it is from calls itself, or the file."""
    also: tuple[str, ...] = ()
    """Ids of later passages with the same words, which are not kept."""


@dataclass(frozen=True)
class Read:
    """What a folder of documents gave."""

    passages: list[Passage]
    unreadable: list[Unreadable]
    """Files that could not be read, and records."""
    guessed: list[str] = field(default_factory=list)
    """Files with bytes that are not in their encoding: some characters may be wrong."""
    files: int = 0
    empty: int = 0
    """Files and records without a word."""
    repeated: int = 0
    """Passages that were left out since an earlier one has the same words."""


class AskedAndAnswered(Protocol):
    """A row of any split."""

    @property
    def item_id(self) -> str:
        """Its row id."""

    @property
    def question(self) -> str:
        """What the user says last."""

    @property
    def answer(self) -> str:
        """What the assistant answers to that."""


class Document(NamedTuple):
    """One text with its name, and where its paragraphs begin."""

    file: str
    name: str
    paragraphs: list[Paragraph]


def read_passages(path: Path, words: int) -> Read:
    """Passages of a file of documents, or of a folder and all folders below it.

    Text in any encoding with a mark, in UTF-8 or Windows-1252; HTML; records of JSON Lines, JSON, CSV, Parquet and
    Arrow files, each a document. Files of other kinds are listed. Passages keep the order of the files' names.

    Args:
        path: the folder or file.
        words: most words of a passage, at least 1; two characters of a script without blanks count as one.

    Raises:
        UserError: it does not exist, holds too much, or nothing that can be read.
    """
    unreadable: list[Unreadable] = []
    guessed: list[str] = []
    passages: list[Passage] = []
    files = empty = 0
    try:
        path.stat()
    except (OSError, ValueError) as error:
        found = error if isinstance(error, OSError) else OSError(22, "")
        raise UnopenedError("the documents", printable(str(path)), found, help="check compare.documents") from error
    budget = Budget(path)
    for file in document_files(path, unreadable):
        files += 1
        for document in _documents(file, path, budget, unreadable, guessed):
            cut = list(passages_of(document, words))
            empty += not cut
            passages += cut
    kept = distinct(passages)
    if not kept:
        raise _nothing(path, files, empty, unreadable)
    return Read(kept, unreadable, guessed, files, empty, len(passages) - len(kept))


def row_passages(rows: Iterable[AskedAndAnswered]) -> list[Passage]:
    """Each trained row as one passage: what is asked last, and the answer; rows without words are left out."""
    found = [
        Passage(row.item_id, row.item_id, f"{row.question}\n{row.answer}".strip(), document=row.item_id) for row in rows
    ]
    return [passage for passage in found if PIECE.search(passage.text)]


def distinct(passages: Sequence[Passage]) -> list[Passage]:
    """The passages without those that repeat the words of an earlier one, which then names them."""
    first: dict[str, int] = {}
    kept: list[Passage] = []
    later: dict[int, list[str]] = {}
    for passage in passages:
        place = first.setdefault(" ".join(passage.text.split()), len(kept))
        if place == len(kept):
            kept.append(passage)
        else:
            later.setdefault(place, []).append(passage.passage_id)
    for place, names in later.items():
        kept[place] = replace(kept[place], also=tuple(names))
    return kept


def _nothing(path: Path, files: int, empty: int, unreadable: Sequence[Unreadable]) -> UserError:
    first = "".join(f"; first: {one.path} ({one.why})" for one in unreadable[:1])
    return UserError(
        "there is no document to retrieve from",
        where=printable(str(path)),
        found=f"{files} files, {empty} documents without a word, {len(unreadable)} that cannot be read{first}",
        expected="text, Markdown, HTML, or records with text",
        help="name a folder with such files in compare.documents; of a PDF, extract the text first",
    )


# ------------------------------------------------------------------------------------------------------- documents


def _documents(
    file: Path, root: Path, budget: Budget, unreadable: list[Unreadable], guessed: list[str]
) -> Iterator[Document]:
    name = shown(file, root)
    try:
        head, is_table = budget.head(file), file.suffix.lower() in TABLES
        if why := no_text(head) if not is_table or head.startswith(PACKED) else "":
            unreadable.append(Unreadable(name, why))
            return
        if is_table:
            budget.read(file)  # counted; the reader of rows opens it by itself
            yield from _records(file, name, unreadable)
            return
        text, is_guess = decoded(budget.read(file))
    except OSError as error:
        unreadable.append(Unreadable(name, UnopenedError("", name, error).problems[0].found))
        return
    if is_guess:
        guessed.append(name)
    paragraphs = html_paragraphs(cleaned(text)) if file.suffix.lower() in PAGES else plain_paragraphs(cleaned(text), 1)
    yield Document(name, name, paragraphs)


def _records(file: Path, name: str, unreadable: list[Unreadable]) -> Iterator[Document]:
    """The records of a table; lines that are none are listed."""
    try:
        corpus = read_corpus([file])
    except UserError as error:
        unreadable.append(Unreadable(name, error.problems[0].found or error.problems[0].what))
        return
    for index, line, row, row_id in corpus.rows.select("index", "line", "row", "row_id").iter_rows():
        place = line or row + 1
        if row_id is None:
            unreadable.append(Unreadable(f"{name}:{place}", "not a record"))
            continue
        record = corpus.record(index)
        text = cleaned("\n\n".join(_said(record)))
        paragraphs = [Paragraph(place, one.text) for one in plain_paragraphs(text, place)]
        yield Document(name, _called(record) or f"{name}:{place}", paragraphs)


def _called(record: Any) -> str:
    fields = {str(key).lower(): value for key, value in record.items()} if isinstance(record, dict) else {}
    return next((printable(text) for name in NAMES if (text := text_of(fields.get(name)))), "")


def _said(value: Any) -> list[str]:
    """Every text of a record but its names."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for key, inner in value.items() if str(key).lower() not in UNSAID for text in _said(inner)]
    return [text for inner in value for text in _said(inner)] if isinstance(value, list) else []


def plain_paragraphs(text: str, line: int) -> list[Paragraph]:
    """The paragraphs of plain text, which end at an empty line."""
    found: list[Paragraph] = []
    held: list[str] = []
    for number, row in enumerate([*text.split("\n"), ""], start=line):
        if row.strip():
            held.append(row.strip())
        elif held:
            found.append(Paragraph(number - len(held), "\n".join(held)))
            held = []
    return found


# --------------------------------------------------------------------------------------------------------- cutting


class _Piece(NamedTuple):
    line: int
    text: str
    size: int
    behind: str
    """What stands between it and the piece before it: an empty line, a line end, a blank, or nothing."""


def passages_of(document: Document, words: int) -> Iterator[Passage]:
    """Passages of at most so many words: whole paragraphs as many as fit, long ones by sentence, those by word."""
    taken: dict[int, int] = {}
    held: list[_Piece] = []
    length = 0

    def passage() -> Passage:
        line = held[0].line
        taken[line] = taken.get(line, 0) + 1
        source = f"{document.file}:{line}"
        text = "".join(piece.behind * (k > 0) + piece.text for k, piece in enumerate(held))
        return Passage(source if taken[line] == 1 else f"{source}#{taken[line]}", source, text, document.name)

    for paragraph in document.paragraphs:
        pieces = list(_pieces(paragraph, words))
        whole = sum(piece.size for piece in pieces)
        # A paragraph that fits into a passage is not torn to fill the one before it.
        if held and whole <= words < length + whole:
            yield passage()
            held, length = [], 0
        for piece in pieces:
            if held and length + piece.size > words:
                yield passage()
                held, length = [], 0
            held.append(piece)
            length += piece.size
    if any(piece.size for piece in held):
        yield passage()


def sentences(text: str) -> Iterator[str]:
    """The sentences and lines of a text, without the blanks between them."""
    start = 0
    for match in [*SENTENCE.finditer(text), None]:
        stop, behind = match.span() if match else (len(text), len(text))
        if said := text[start:stop] + text[stop:behind].rstrip():
            yield said
        start = behind


def _pieces(paragraph: Paragraph, words: int) -> Iterator[_Piece]:
    line, behind, start = paragraph.line, "\n\n", 0
    text = paragraph.text
    ends = [(match.start(), match.end()) for match in SENTENCE.finditer(text)]
    for stop, next_start in [*ends, (len(text), len(text))]:
        between = text[stop:next_start]
        said = text[start:stop] + between.rstrip()
        for part in _parts(said, words):
            yield _Piece(line, part.text, part.size, behind)
            behind = part.behind
        behind = "\n" if "\n" in between else " " if between else ""
        line += text.count("\n", start, next_start)
        start = next_start


class _Part(NamedTuple):
    text: str
    size: int
    behind: str


def _parts(sentence: str, words: int) -> Iterator[_Part]:
    """A sentence, in parts of at most so many words."""
    found = [match.span() for match in PIECE.finditer(sentence)]
    for first in range(0, len(found), words):
        last = min(first + words, len(found)) - 1
        until = found[last + 1][0] if last + 1 < len(found) else found[last][1]
        between = sentence[found[last][1] : until]
        yield _Part(sentence[found[first][0] : found[last][1]], last - first + 1, " " if between else "")
