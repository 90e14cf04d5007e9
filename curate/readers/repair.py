"""Lines of JSONL that are no record by themselves: several records, one record over several lines, commas of an array.

Whatever is found becomes rows at their places, each with a finding; what no rule explains becomes one broken row. Every
byte is looked at a bounded number of times, so that hostile files cost linear time.
"""

from __future__ import annotations

import json
import re

import orjson

from curate.readers.brackets import closing
from curate.readers.builder import Builder, loads
from curate.readers.faults import byte_order_mark, why_broken
from curate.readers.shapes import Fault
from curate.spill import Bytes

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SPACE = b" \t\r"
BETWEEN = re.compile(rb"[ \t\r,]*+")
GOES_ON = re.compile(rb"(?:[ \t]++[^\n]*+|[}\]][^\n]*+|)(?:\n|\Z)")
"""A line of a record that is written over several lines."""
OPEN_ENDS = (b"{", b"[", b",", b":")
BUDGET_SHARE = 4
"""Searches for an end that is not there may look at this many times the file."""


class Repair:
    """What to make of the lines of one file that are not JSON."""

    def __init__(self, data: Bytes, builder: Builder) -> None:
        self.data = data
        self.builder = builder
        self.budget = BUDGET_SHARE * len(data) + (1 << 20)
        self._next_record = -1

    def line(self, start: int, stop: int, line: int, error: orjson.JSONDecodeError) -> tuple[int, int]:
        """Add what a line holds that could not be parsed; gives the end and the number of the last line that it took.

        Args:
            start: where the line begins.
            stop: where it ends, the line feed left out.
            line: its number.
            error: why it is not JSON.
        """
        marks: list[Fault] = []
        begin = start
        if self.data[start : start + 3] == BYTE_ORDER_MARK:
            begin, marks = start + 3, [byte_order_mark()]
            raw = self.data[begin:stop]
            try:
                record = loads(raw)
            except orjson.JSONDecodeError as inner:
                error = inner
            else:
                self.builder.add(record, line, start, stop, marks, raw=raw)
                return stop, line
        pieces = self._pieces(begin, stop) or []
        if len(pieces) > 1 or (pieces and self._may_be_whole(*pieces[0])):
            return self._add_pieces(pieces, start, stop, line, marks)
        self.builder.broken(line, start, stop, why_broken(self.data[begin:stop], error))
        return stop, line

    def _may_be_whole(self, start: int, end: int) -> bool:
        """Whether the only object of a line is JSON without what surrounds it, or ends on another line."""
        try:
            return end < 0 or bool(loads(self.data[start:end]) or True)
        except orjson.JSONDecodeError:
            return False

    def _pieces(self, start: int, stop: int) -> list[tuple[int, int]] | None:
        """Spans of the objects of a line, which nothing but spaces and commas separates; null if it holds more.

        The last may end at -1: it does not end on this line.
        """
        data, pieces = self.data, []
        position = self._skip(start, stop)
        while position < stop:
            if data[position : position + 1] != b"{":
                return None
            end = closing(data, position, stop)
            pieces.append((position, -1 if end is None else end))
            if end is None:
                break
            position = self._skip(end, stop)
        return pieces or None

    def _skip(self, position: int, stop: int) -> int:
        found = BETWEEN.match(self.data, position, stop)
        return found.end() if found else position

    def _add_pieces(
        self, pieces: list[tuple[int, int]], begin: int, stop: int, line: int, faults: list[Fault]
    ) -> tuple[int, int]:
        """Add the objects that lie between two places of a line; `faults` are said of the first."""
        marks = faults
        for number, (start, end) in enumerate(pieces):
            faults = marks if not number else []
            if number:
                place = f"at byte {start - begin + 1} of the line, behind {number:,} other record{'s' * (number > 1)}"
                faults = [("several-records", None, place, "one record a line")]
            if end < 0:
                return self._spread(start if number else begin, start, stop, line, faults)
            before = begin if not number else pieces[number - 1][1]
            after = pieces[number + 1][0] if number + 1 < len(pieces) else stop
            if b"," in self.data[end:after] or (not number and b"," in self.data[before:start]):
                side = "after" if b"," in self.data[end:after] else "before"
                faults = [*faults, ("misplaced-comma", None, f"a comma {side} the record", "a line feed alone")]
            self._add(start, end, line, faults)
        return stop, line

    def _add(self, start: int, end: int, line: int, faults: list[Fault]) -> None:
        raw = self.data[start:end]
        try:
            record = loads(raw)
        except orjson.JSONDecodeError as error:
            self.builder.broken(line, start, end, why_broken(raw, error))
        else:
            self.builder.add(record, line, start, end, faults, raw=raw)

    def _spread(self, begin: int, start: int, stop: int, line: int, faults: list[Fault]) -> tuple[int, int]:
        """Add a record that does not end on its line: it may go on, up to the next line that begins a record.

        Args:
            begin: where its broken row begins, should it be none.
            start: where its bracket opens.
            stop: where its line ends.
            line: its line.
            faults: what is to be said of it besides.
        """
        data = self.data
        limit, end = self._end(start, stop)
        if end is not None and (taken := self._over_lines(start, end, line, faults)):
            rest = data.find(b"\n", end, limit)
            rest = limit if rest < 0 else rest
            last = line + taken
            if pieces := self._pieces(end, rest):
                behind: Fault = ("several-records", None, "behind the end of another record", "one record a line")
                return self._add_pieces(pieces, end, rest, last, [behind])
            if tail := data[end:rest].strip(SPACE + b","):
                self.builder.broken(last, end, rest, why_broken(tail, _parse_error(tail)))
            return rest, last
        stop, taken = self._cut_off(stop, limit)
        raw = data[begin:stop]
        self.builder.broken(line, begin, stop, why_broken(raw, _parse_error(raw), lines=(line, line + taken)))
        return stop, line + taken

    def _end(self, start: int, stop: int) -> tuple[int, int | None]:
        """Where the next record begins at the latest, and where the one at `start` closes before that.

        A line that begins with a brace begins a record, unless it is none by itself and closes the one before.
        """
        data, first = self.data, self._record_after(stop)
        limit, end = first, None
        while self.budget > 0:
            end = closing(data, start, limit) if limit > stop else None
            self.budget -= limit - start
            if end is not None or limit == len(data):
                break
            behind = data.find(b"\n", limit + 1)
            behind = len(data) if behind < 0 else behind
            self.budget -= behind - limit
            if self._parses(data[limit + 1 : behind]):
                break
            following = data.find(b"\n{", behind)
            limit = len(data) if following < 0 else following
            self.budget -= limit - behind
        return (first, None) if end is None else (limit, end)

    def _parses(self, line: bytes) -> bool:
        try:
            loads(line)
        except orjson.JSONDecodeError:
            return False
        return True

    def _over_lines(self, start: int, end: int, line: int, faults: list[Fault]) -> int:
        """Add what stands between brackets over several lines, if it is a record; gives how many lines were added."""
        raw = self.data[start:end]
        taken = raw.count(b"\n")
        try:
            record = loads(raw)
        except orjson.JSONDecodeError:
            if not _is_record_with_line_breaks(raw):
                return 0
            found = f"a line break inside a string, lines {line} to {line + taken}"
            self.builder.broken(line, start, end, ("broken-line", None, found, r"the two characters \n in its place"))
            return taken
        found = f"lines {line:,} to {line + taken:,}"
        spread: Fault = ("spread-record", None, found, "one record a line")
        self.builder.add(record, line, start, end, [*faults, spread], raw=raw)
        return taken

    def _cut_off(self, stop: int, limit: int) -> tuple[int, int]:
        """Where the lines end that belong to a record which never ends, and how many they are behind its first."""
        if self.data[max(0, stop - 64) : stop].rstrip()[-1:] not in OPEN_ENDS:
            return stop, 0
        position, taken = stop + 1, 0
        while position < limit and (found := GOES_ON.match(self.data, position, limit)) and found.end() > position:
            if self._is_record(found[0]):
                break
            position, taken = found.end(), taken + 1
        if not taken:
            return stop, 0
        return position - (self.data[position - 1 : position] == b"\n"), taken

    def _is_record(self, line: bytes) -> bool:
        """Whether a line is a record of a known shape by itself."""
        try:
            record = loads(line)
        except orjson.JSONDecodeError:
            return False
        return isinstance(record, dict) and self.builder.shape(record) is not None

    def _record_after(self, stop: int) -> int:
        """Where the next line begins that begins with a brace; found once for all lines before it."""
        if self._next_record < stop:
            found = self.data.find(b"\n{", stop)
            self._next_record = len(self.data) if found < 0 else found
        return self._next_record


def _is_record_with_line_breaks(raw: bytes) -> bool:
    """Whether this is an object once line breaks inside strings are allowed."""
    try:
        return isinstance(json.loads(raw, strict=False, parse_int=len), dict)
    except (ValueError, RecursionError):
        return False


def _parse_error(raw: bytes) -> orjson.JSONDecodeError:
    try:
        loads(raw)
    except orjson.JSONDecodeError as error:
        return error
    return orjson.JSONDecodeError("unexpected content after document", raw.decode(), 0)
