"""Collecting rows into columns while a file is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import orjson
import polars as pl

from curate.frame_file import FrameFile
from curate.readers.repeated import repeated_keys
from curate.readers.shapes import Fault, Shaped, type_name
from curate.rows import FAULTS_SCHEMA, ROWS_SCHEMA, TURNS_SCHEMA

ROWS_PER_CHUNK = 1 << 15
BYTES_PER_CHUNK = 1 << 22
ROW_ID_HEX = 32
"""128 bits: two different rows of a billion share an id with probability below 1e-20."""

MAX_DEPTH = 200
"""Levels of nesting that a record may have: the JSON writer stops at 254, and what is written wraps the record."""


def loads(raw: bytes | str) -> Any:
    """Parse a record.

    Raises:
        orjson.JSONDecodeError: it is not JSON, or is nested more than MAX_DEPTH levels deep.
    """
    record = orjson.loads(raw)
    opened = raw.count(b"[") + raw.count(b"{") if isinstance(raw, bytes) else raw.count("[") + raw.count("{")
    if opened > MAX_DEPTH and _deeper(record, MAX_DEPTH):
        text = raw if isinstance(raw, str) else raw.decode()
        raise orjson.JSONDecodeError("depth limit reached", text, 0)
    return record


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects lie in each other more than so many levels deep; looks level by level."""
    level = [value]
    for _ in range(levels):
        level = [
            item
            for holder in level
            if isinstance(holder, list | dict)
            for item in (holder.values() if isinstance(holder, dict) else holder)
        ]
        if not level:
            return False
    return any(isinstance(item, list | dict) for item in level)


def row_identity(canonical: Any) -> str:
    """Digest of a row's canonical content: equal for equal content in any wire shape and any order of keys."""
    return _digest(_written(canonical))


def _written(canonical: Any) -> bytes:
    return orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS)


def _digest(written: bytes) -> str:
    return hashlib.sha256(written).hexdigest()[:ROW_ID_HEX]


class InMemory:
    """Takes frames one after the other and gives them back as one, as `FrameFile` does."""

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Put the rows of a frame behind the others."""
        self._frames.append(frame)

    def frame(self) -> pl.DataFrame:
        """All rows."""
        return pl.concat(self._frames, rechunk=True)


class Builder:
    """Takes one row after the other; gives frames with the columns of `curate.rows`.

    Rows go to the frames in chunks, so that the lists of Python objects stay small.

    Args:
        shape: from a record to its shape; null for one of no known shape.
        kind: that every row must have; null takes any.
        rows_per_chunk: rows that are Python objects at a time.
        tables: where rows and turns go; null for memory.
    """

    def __init__(
        self,
        shape: Callable[[Any], Shaped | None],
        kind: str | None,
        rows_per_chunk: int = ROWS_PER_CHUNK,
        tables: tuple[FrameFile | InMemory, FrameFile | InMemory] | None = None,
    ) -> None:
        self.shape = shape
        self.kind = kind
        self.rows_per_chunk = rows_per_chunk
        self.next_index = 0
        self.source = -1
        self._in_source = 0
        self._bytes = 0
        self._rows: list[tuple[Any, ...]] = []
        self._canonical: list[bytes | None] = []
        self._turns: dict[str, list[Any]] = {name: [] for name in TURNS_SCHEMA}
        self._faults: list[tuple[Any, ...]] = []
        self._tables = tables or (InMemory(), InMemory())
        self._writer = ThreadPoolExecutor(1)
        self._putting: Future[None] | None = None

    def start_source(self) -> None:
        """The rows that follow are of the next file."""
        self.source += 1
        self._in_source = 0

    @property
    def rows_in_source(self) -> int:
        """Rows of the present file so far."""
        return self._in_source

    def fault(self, kind: str, line: int | None, found: str, expected: str = "", *, turn: int | None = None) -> None:
        """Note a fault of the file that belongs to no row."""
        self._faults.append((kind, None, self.source, line, turn, found, expected))

    def broken(self, line: int | None, start: int, stop: int, fault: Fault) -> None:
        """Add a row that could not be read."""
        self._row(line, start, stop, None, said=[fault])

    def add(
        self, record: Any, line: int | None, start: int, stop: int, faults: Sequence[Fault] = (), raw: bytes = b""
    ) -> None:
        """Add a row that is JSON of at most MAX_DEPTH levels, of whatever shape.

        Args:
            record: the row, parsed.
            line: its line; null where its file has none.
            start: where its bytes begin.
            stop: where they end.
            faults: what is to be said of it already.
            raw: the JSON that it was parsed from; empty where no object in it can name a key twice.
        """
        shaped = self.shape(record) if record.__class__ is dict else None
        if shaped is not None and self.kind and shaped.kind != self.kind:
            shaped = None
        canonical = _written(record if shaped is None else shaped.canonical)
        said = [*faults, *(repeated_keys(raw, record, shaped, canonical) if raw else ())]
        if record.__class__ is not dict:
            found = f"the record is {type_name(record)}"
            self._row(line, start, stop, None, said=[*said, ("not-an-object", None, found, "an object")])
        elif shaped is None:
            keys = ", ".join(f"`{key}`" for key in list(record)[:12]) or "no keys"
            expected = self.kind or "chat, prompt-completion, preference, feedback, reward or text"
            self._row(line, start, stop, canonical, said=[*said, ("unknown-shape", None, keys, expected)])
        else:
            beside = None if shaped.beside is None else row_identity(shaped.beside)
            about = (shaped.kind, shaped.shape, _metadata(record, shaped.content_keys), beside)
            self._add_turns(self.next_index, shaped)
            self._row(line, start, stop, canonical, about, said + shaped.faults)

    def _row(
        self,
        line: int | None,
        start: int,
        stop: int,
        canonical: bytes | None,
        about: tuple[str | None, ...] = (None,) * 4,
        said: Sequence[Fault] = (),
    ) -> None:
        index = self.next_index
        self._rows.append((index, self.source, line, self._in_source, start, stop, None, *about))
        self._canonical.append(canonical)
        for fault_kind, turn, found, expected in said:
            self._faults.append((fault_kind, index, self.source, line, turn, found, expected))
        self.next_index += 1
        self._in_source += 1
        self._bytes += stop - start
        if len(self._rows) >= self.rows_per_chunk or self._bytes >= BYTES_PER_CHUNK:
            self._flush()

    def _add_turns(self, index: int, shaped: Shaped) -> None:
        columns = self._turns
        parts, roles, contents, calls = zip(*shaped.turns, strict=True) if shaped.turns else ((), (), (), ())
        columns["index"].extend([index] * len(parts))
        columns["turn"].extend(_turn_numbers(shaped, parts))
        columns["part"].extend(parts)
        columns["role"].extend(roles)
        columns["content"].extend(contents)
        columns["calls"].extend(calls)

    def _flush(self) -> None:
        if self._putting is not None:
            self._putting.result()  # a slow disk holds up parsing, so that memory holds no more than two frames of each
        self._putting = self._writer.submit(self._put, self._rows, self._canonical, self._turns)
        self._rows, self._canonical = [], []
        self._bytes = 0
        self._turns = {name: [] for name in TURNS_SCHEMA}

    def _put(self, rows: list[tuple[Any, ...]], canonical: list[bytes | None], turns: dict[str, list[Any]]) -> None:
        """Hash rows and put them away as frames, while the next ones are parsed."""
        ids = [None if written is None else _digest(written) for written in canonical]
        frame = pl.DataFrame(rows, schema=ROWS_SCHEMA, orient="row")
        self._tables[0].add(frame.with_columns(row_id=pl.Series(ids, dtype=pl.String)))
        self._tables[1].add(pl.DataFrame(turns, schema=TURNS_SCHEMA))

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """Rows, turns and faults of all files."""
        self._flush()
        faults = pl.DataFrame(self._faults, schema=FAULTS_SCHEMA, orient="row")
        if self._putting is not None:
            self._putting.result()
        self._writer.shutdown()
        rows, turns = (table.frame() for table in self._tables)
        return rows, turns, faults


def _turn_numbers(shaped: Shaped, parts: tuple[str, ...]) -> range | list[int]:
    if shaped.rejected is None:
        return range(len(parts))
    # The rejected answer takes the place of the chosen one: both follow the prompt.
    numbers, main = [], 0
    rejected = parts.index("rejected") if "rejected" in parts else 0
    for part in parts:
        if part == "rejected":
            numbers.append(rejected)
            rejected += 1
        else:
            numbers.append(main)
            main += 1
    return numbers


def _metadata(record: dict[str, Any], content_keys: tuple[str, ...]) -> str | None:
    other = {key: value for key, value in record.items() if key not in content_keys}
    nested = other.get("metadata")
    if isinstance(nested, dict):
        del other["metadata"]
        other = nested | other if other else nested
    return orjson.dumps(other).decode() if other else None
