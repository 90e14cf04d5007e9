"""CSV and TSV: one record a row of the table, whatever the dialect; a damaged row costs only its own lines."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator

import orjson

from curate.readers.builder import Builder
from curate.readers.faults import byte_order_mark
from curate.readers.repair import BYTE_ORDER_MARK
from curate.readers.tables import Buffer, parsed

DELIMITERS = (",", ";", "\t", "|")
MAX_FIELD_CHARS = (1 << 31) - 1
SEPARATOR_LINE = "sep="
"""Excel writes the separator into a first line of its own, and reads it there."""
BUDGET_SHARE = 4
"""Rows whose quotes do not close may be read again for this many times the lines."""


def read_delimited(data: bytes, builder: Builder, delimiter: str) -> bytes:
    """Add the rows of a CSV or TSV file with a header line; gives the buffer that the rows' spans refer to.

    `line` is the line on which the row begins; a quoted field may span several. Where a quote does not close, the row
    that began there is one broken line, and reading goes on at the next one.

    Args:
        data: the file.
        builder: takes the rows.
        delimiter: what stands between fields, should the header not tell.
    """
    csv.field_size_limit(MAX_FIELD_CHARS)
    if data[:3] == BYTE_ORDER_MARK:
        rule, _, found, expected = byte_order_mark("header")
        builder.fault(rule, 1, found, expected)
    # Line feeds, carriage returns and both together end a line of a table; no other character does.
    lines = list(io.StringIO(data.decode("utf-8-sig", "surrogateescape"), newline=""))
    table = _Table(lines, builder, delimiter)
    table.read()
    return b"".join(table.buffer.pieces)


class _Table:
    """The lines of a table while they are read."""

    def __init__(self, lines: list[str], builder: Builder, delimiter: str) -> None:
        self.lines = lines
        self.builder = builder
        self.delimiter = delimiter
        self.buffer = Buffer()
        self.header: list[str] = []
        self.budget = BUDGET_SHARE * len(lines) + 1000

    def read(self) -> None:
        """Add every row."""
        position = self._start()
        while position < len(self.lines):
            position = self._rows(position)

    def _start(self) -> int:
        """Find delimiter and header; gives the first line of the rows."""
        position = 0
        if self.lines and (first := self.lines[0].strip()).lower().startswith(SEPARATOR_LINE) and len(first) <= 5:
            self.delimiter = first[len(SEPARATOR_LINE) :] or "\t"
            position = 1
        else:
            self.delimiter = _delimiter(self.lines, self.delimiter)
        while position < len(self.lines) and not self.lines[position].strip():
            self.builder.fault("blank-line", position + 1, "a line without content")
            position += 1
        for fields, start, stop in self._parsed(position):
            self._set_header(fields, start + 1)
            return stop
        return position

    def _set_header(self, fields: list[str], line: int) -> None:
        names = [name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip() for name in fields]
        unnamed = [number for number, name in enumerate(names, start=1) if not name]
        names = [name or f"column_{number}" for number, name in enumerate(names, start=1)]
        if unnamed and unnamed != [1]:  # the first column of a pandas index has no name, and no meaning
            found = f"column{'s' * (len(unnamed) > 1)} {', '.join(map(str, unnamed[:8]))} of the header"
            self.builder.fault("unnamed-column", line, found, "a name for every column")
        twice = [f"`{name}`" for name, count in Counter(names).items() if count > 1]
        if twice:
            self.builder.fault("duplicate-key", line, ", ".join(twice[:8]), "every column once")
        self.header = names

    def _rows(self, position: int) -> int:
        """Add rows from a line on, up to one that has to be read differently; gives where to go on."""
        for fields, start, stop in self._parsed(position):
            if not fields or (stop - start == 1 and not self.lines[start].strip()):
                self.builder.fault("blank-line", start + 1, "a line without content")
                continue
            if stop - start > 1 and len(fields) != len(self.header):
                # A quote that does not close takes the lines that follow with it.
                self.budget -= stop - start
                self._broken(start, "a quote that does not close on the line", "quotes in pairs")
                return start + 1
            self._add(fields, start)
        return len(self.lines)

    def _parsed(self, position: int) -> Iterator[tuple[list[str], int, int]]:
        """Fields of each row, its first line and the line behind it; alone lines once the budget is spent."""
        while position < len(self.lines):
            ahead = iter(self.lines[position : position + 1]) if self.budget <= 0 else self._ahead(position)
            # Strict: a quote that does not close, or closes in the middle of a field, would take other rows with it.
            reader = csv.reader(ahead, delimiter=self.delimiter, strict=True)
            start = position
            try:
                for fields in reader:
                    yield fields, start, position + reader.line_num
                    start = position + reader.line_num
                position = start
            except csv.Error:
                self.budget -= position + reader.line_num - start
                yield from self._alone(start)
                position = start + 1

    def _alone(self, line: int) -> Iterator[tuple[list[str], int, int]]:
        """A line by itself, with the quotes that it has."""
        if self.lines[line].count('"') % 2:
            self._broken(line, "a quote that does not close on the line", "quotes in pairs")
            return
        try:
            yield from ((fields, line, line + 1) for fields in csv.reader([self.lines[line]], delimiter=self.delimiter))
        except csv.Error as error:
            self._broken(line, str(error), "a row of the table")

    def _ahead(self, position: int) -> Iterator[str]:
        for number in range(position, len(self.lines)):
            yield self.lines[number]

    def _broken(self, line: int, found: str, expected: str) -> None:
        raw = self.lines[line].encode("utf-8", "surrogateescape").rstrip(b"\r\n")
        self.builder.broken(line + 1, *self.buffer.add(raw), ("broken-line", None, found, expected))

    def _add(self, fields: list[str], line: int) -> None:
        joined = "".join(fields)
        if not joined.isascii() and any("\ud800" <= char <= "\udfff" for char in joined):
            raw = self.delimiter.join(fields).encode("utf-8", "surrogateescape")
            fault = ("broken-line", None, "bytes that are not UTF-8", "UTF-8 text")
            self.builder.broken(line + 1, *self.buffer.add(raw), fault)
        elif len(fields) != len(self.header):
            expected = f"{_fields(len(self.header))}, as in the header"
            fault = ("broken-line", None, _fields(len(fields)), expected)
            self.builder.broken(line + 1, *self.buffer.add(orjson.dumps(fields)), fault)
        else:
            record = {name: parsed(name, field) for name, field in zip(self.header, fields, strict=True)}
            self.builder.add(record, line + 1, *self.buffer.add(orjson.dumps(record)))


def _delimiter(lines: list[str], default: str) -> str:
    """What separates the fields of the header: the candidate that stands there most often outside quotes."""
    header = next((line for line in lines if line.strip()), "")
    outside = "".join(header.split('"')[::2])
    counts = {candidate: outside.count(candidate) for candidate in (default, *DELIMITERS)}
    return max(counts, key=lambda candidate: counts[candidate]) if any(counts.values()) else default


def _fields(count: int) -> str:
    return f"{count} field{'s' if count != 1 else ''}"
