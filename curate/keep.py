"""Rows that stay whatever the rules say: `curate.keep` and `curate.keep_file`, the undo of single decisions.

An entry is a row's id or the fingerprint of a finding, and takes back one drop: the row that would go first stays,
whatever later rules say. Copies of a row have one id, so two entries of it take back two copies. Text after `#` is the
reason. Rows that stay may still be redacted; rows that cannot be written at all cannot be kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.rows import Corpus, Place
from schemas.base import digest
from schemas.config import CurateConfig
from schemas.errors import UnopenedError
from schemas.finding import Finding

MAX_WORD_CHARS, MAX_REASON_CHARS = 200, 1000
"""The ledger repeats every entry; a file that is no list of ids must not swell it."""
NEAR_CHARS = 8
"""An id that shares this many characters with an entry, at its beginning or its end, may be the one that was meant."""
NEAR_NAMED = 3
NEAR_LOOKED_UP = 100
"""For further entries nothing near is looked for; they are named all the same."""


@dataclass(frozen=True)
class Entry:
    """One line of the list."""

    word: str
    """Row id or fingerprint, in lower case."""
    where: str
    """The file and line, or the setting, that holds it."""
    reason: str


@dataclass(frozen=True)
class KeepList:
    """All entries, and the digest of the file that holds some of them."""

    entries: tuple[Entry, ...] = ()
    sha256: str | None = None


def read_keep_list(config: CurateConfig, root: Path) -> KeepList:
    """The entries of a config, and of the file that it names.

    Args:
        config: with `keep` and `keep_file`.
        root: the folder that a relative `keep_file` starts from.

    Raises:
        UserError: the file cannot be opened.
    """
    entries = [_entry(text, "curate.keep") for text in config.keep]
    if config.keep_file is None:
        return KeepList(_named(entries))
    path = root / config.keep_file
    try:
        data = path.read_bytes()
    except OSError as error:
        wanted, place = "one row id or fingerprint a line", "curate.keep_file starts from the folder of the config"
        raise UnopenedError("the keep file", path, error, expected=wanted, help=place) from error
    lines = data.decode("utf-8-sig", "backslashreplace").split("\n")
    entries += [_entry(line, f"{config.keep_file}:{number}") for number, line in enumerate(lines, 1)]
    return KeepList(_named(entries), digest(data))


def _entry(text: str, where: str) -> Entry:
    word, _, reason = text.partition("#")
    return Entry(word.strip(" \t\r\n\"',").lower()[:MAX_WORD_CHARS], where, reason.strip()[:MAX_REASON_CHARS])


def _named(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Entries that name something; lines that hold a comment or nothing do not."""
    return tuple(entry for entry in entries if entry.word)


class Keeper:
    """Holds rows back from rules that would drop them, and accounts for it."""

    def __init__(self, entries: Iterable[Entry], whole: Corpus, unwritable: NDArray[np.bool_]) -> None:
        self._waiting: dict[str, list[Entry]] = {}
        for entry in entries:
            self._waiting.setdefault(entry.word, []).append(entry)
        self._count = sum(map(len, self._waiting.values()))
        self._whole = whole
        self._unwritable = unwritable
        self._held: dict[int, Entry] = {}
        self._undone: list[tuple[Entry, Finding]] = []
        self._refused: list[tuple[Entry, int]] = []
        self._fingerprints: dict[str, Finding] = {}

    def spared(self, found: Mapping[int, Finding]) -> set[int]:
        """The rows that stay among those that a rule is about to drop.

        Args:
            found: row index -> the finding for which it would be dropped, in reading order.
        """
        stay = set()
        for index, finding in found.items() if self._waiting else ():
            self._fingerprints[finding.fingerprint] = finding
            entry = self._held.get(index) or self._taken(finding)
            if entry is None:
                continue
            if self._unwritable[index]:
                self._refused.append((entry, index))
                continue
            self._held[index] = entry
            self._undone.append((entry, finding))
            stay.add(index)
        return stay

    def _taken(self, finding: Finding) -> Entry | None:
        """The first entry for a finding or its row that has taken nothing back yet."""
        for word in (finding.fingerprint, finding.row_id or ""):
            if waiting := self._waiting.get(word):
                return waiting.pop(0)
        return None

    def account(self) -> dict[str, Any]:
        """What the ledger says of the list: decisions undone, and entries that did nothing, with the reason."""
        idle = [entry for waiting in self._waiting.values() for entry in waiting]
        ids = pl.Series(list(self._waiting), dtype=pl.String).implode()
        rows = self._whole.rows.filter(pl.col("row_id").is_in(ids)).select("row_id", "index")
        index_of = dict(reversed(rows.rows()))  # the first row of each id
        refused = self._refused + [
            (entry, index)
            for entry in idle
            if (index := index_of.get(entry.word)) is not None and self._unwritable[index]
        ]
        matched = [entry for entry in idle if entry.word in index_of or entry.word in self._fingerprints]
        unmatched = [entry for entry in idle if entry.word not in index_of and entry.word not in self._fingerprints]
        return {
            "entries": self._count,
            "rows": len(self._held),
            "by_rule": dict(sorted(Counter(finding.code for _, finding in self._undone).items())),
            "undone": [
                vars(entry)
                | {"code": found.code, "name": found.name, "path": found.path, "line": found.line, "row": found.row}
                for entry, found in self._undone
            ],
            "without_effect": [
                vars(entry)
                for entry in matched
                if (index := index_of.get(entry.word)) is None or not self._unwritable[index]
            ],
            "unwritable": [vars(entry) | self._address(self._whole.place(index)) for entry, index in refused],
            "unmatched": [
                vars(entry) | {"near": self._near(entry.word) if number < NEAR_LOOKED_UP else []}
                for number, entry in enumerate(unmatched)
            ],
        }

    def _near(self, word: str) -> list[dict[str, Any]]:
        """Rows and findings whose name begins or ends as the word does."""
        head, tail = word[:NEAR_CHARS], word[-NEAR_CHARS:]
        if len(word) < NEAR_CHARS:
            return []
        row_id = pl.col("row_id")
        rows = self._whole.rows.filter(row_id.str.starts_with(head) | row_id.str.ends_with(tail))
        near = {
            found: self._address(self._whole.place(index))
            for index, found in rows.unique("row_id", keep="first", maintain_order=True)
            .head(NEAR_NAMED)
            .select("index", "row_id")
            .iter_rows()
        }
        for fingerprint, finding in self._fingerprints.items():
            if len(near) < NEAR_NAMED and (fingerprint.startswith(head) or fingerprint.endswith(tail)):
                near[fingerprint] = {"path": finding.path, "line": finding.line, "row": finding.row}
        return [{"word": name} | place for name, place in near.items()]

    def _address(self, place: Place) -> dict[str, Any]:
        return {"path": self._whole.sources[place.source].path, "line": place.line, "row": place.row}
