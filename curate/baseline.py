"""The baseline: findings that are known, so that only new ones count.

A text file, one JSON object a line: first what the file is, then an entry for each thing that is known, sorted, so that
a change of the data changes few lines. An entry holds a fingerprint and how often it occurs, and nothing of any row.

Fingerprints say nothing of a row's place, so rows may move. Which row of a pair is reported does depend on the order of
the rows; so of findings that name a pair, both rows are recorded, and such a finding is new if one of its rows is. Rows
that are equal are counted, so that a further copy is new; a copy of a row that is like another row is news to the rule
for copies only.
"""

from __future__ import annotations

import importlib.metadata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from curate.patterns import relative
from curate.set_aside import Notice
from schemas.atomic import write_atomic
from schemas.errors import ConfigError, Problem, UnopenedError, UserError
from schemas.finding import Finding, finding_fingerprint
from schemas.terminal import printable

SCHEMA = "assay/baseline/1"
DEFAULT_BASELINE = Path("assay.baseline")
"""No suffix of a data file, so that an audit of the folder does not take it for one."""
PROBLEMS_SHOWN = 5
AGAIN = "write it again with --write-baseline"


class Key(NamedTuple):
    """One known thing. Entries are sorted by it."""

    path: str
    """Relative to the folder of the baseline, where the file lies below it."""
    code: str
    fingerprint: str


class Spot(NamedTuple):
    """One row of a pair, as one rule sees it."""

    code: str
    row_id: str
    path: str
    row: int | None


@dataclass(frozen=True)
class Baseline:
    """What is known."""

    path: Path
    version: str
    """Of assay, that wrote it."""
    counts: dict[Key, int]

    @property
    def root(self) -> Path:
        """The folder that its paths start from."""
        return self.path.parent


@dataclass(frozen=True)
class Comparison:
    """Findings held against a baseline."""

    new: tuple[Finding, ...]
    """Those that it does not cover, in their order."""
    left: dict[Key, int]
    """What of it did not occur."""


# ----------------------------------------------------------------------------------------------------------- the file


def installed_version() -> str:
    """Of assay; `checkout` where it runs without having been installed."""
    try:
        return importlib.metadata.version("assay")
    except importlib.metadata.PackageNotFoundError:
        return "checkout"


def read_baseline(path: Path) -> Baseline:
    """Read the file.

    Raises:
        UserError: it cannot be opened, or is no baseline, or one of a later version; names the line.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UnopenedError("the baseline", path, error, help="--write-baseline makes one") from error
    head = _json(lines[0])
    if not isinstance(head, dict) or not isinstance(head.get("schema"), str):
        raise _refused("this is not a baseline", path, 1, lines[0], f'{{"schema": "{SCHEMA}", ...}} as its first line')
    if head["schema"] != SCHEMA:
        raise _refused("this version of assay does not read this baseline", path, 1, lines[0], f"schema {SCHEMA}")
    counts: dict[Key, int] = {}
    problems: list[Problem] = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        entry = _entry(_json(line))
        if entry is None:
            expected = "an object with path, code, fingerprint (32 hex digits) and count (1 or more)"
            problems += _refused("a line of the baseline cannot be read", path, number, line, expected).problems
            continue
        key, count = entry
        counts[key] = max(count, counts.get(key, 0))  # two branches, merged line by line, may both hold an entry
    if problems:
        raise ConfigError(problems[:PROBLEMS_SHOWN])
    return Baseline(path, str(head.get("version", "unknown"))[:40], counts)


def _json(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _entry(value: Any) -> tuple[Key, int] | None:
    if not isinstance(value, dict) or set(value) != {"path", "code", "fingerprint", "count"}:
        return None
    path, code, mark, count = value["path"], value["code"], value["fingerprint"], value["count"]
    texts = all(isinstance(text, str) and text for text in (path, code, mark))
    if not texts or len(mark) != 32 or set(mark) - set("0123456789abcdef"):
        return None
    return (Key(path, code, mark), count) if type(count) is int and count >= 1 else None


def _refused(what: str, path: Path, line: int, found: bytes, expected: str) -> UserError:
    conflict = found.startswith((b"<<<<<<<", b"=======", b">>>>>>>", b"|||||||"))
    advice = f"git left a merge conflict there: take the lines of both sides, or {AGAIN}" if conflict else AGAIN
    # Whatever file was named, what stands in it is not for a log.
    shown = found[:7].decode() if conflict else f"another line of {len(found):,} bytes" if found else "an empty line"
    return UserError(what, where=f"{path}:{line}", found=shown, expected=expected, help=advice)


def write_baseline(path: Path, counts: dict[Key, int]) -> None:
    """Write the file in one step.

    Raises:
        UserError: it cannot be written.
    """
    lines = [orjson.dumps({"schema": SCHEMA, "version": installed_version()})]
    lines += [
        orjson.dumps({"path": key.path, "code": key.code, "fingerprint": key.fingerprint, "count": counts[key]})
        for key in sorted(counts)
    ]
    write_atomic(path, b"\n".join(lines) + b"\n")


# --------------------------------------------------------------------------------------------------------- comparing


def known_things(findings: Iterable[Finding], root: Path) -> dict[Key, int]:
    """What a baseline holds of findings.

    Args:
        findings: of one audit.
        root: folder of the baseline.
    """
    keys = _Keys(root)
    counts: Counter[Key] = Counter()
    copies: set[Spot] = set()
    alike: set[Key] = set()
    for finding in findings:
        pair = _pair(finding)
        if pair is None:
            counts[keys.of(finding)] += 1
        elif _equal(pair):
            copies |= set(pair)
        else:
            alike |= {keys.of_spot(spot) for spot in pair}
    counts.update(map(keys.of_spot, copies))
    return dict.fromkeys(alike, 1) | counts


def compare(findings: Sequence[Finding], baseline: Baseline) -> Comparison:
    """Tell new findings from known ones; what is known covers as many as it counts, and no more.

    Args:
        findings: of one audit, in reading order.
        baseline: what is known.
    """
    stock, keys = _Stock(baseline.counts), _Keys(baseline.root)
    single = [finding for finding in findings if _pair(finding) is None]
    # A finding about a whole file has a fingerprint that every such file shares: it is known in its own file only.
    moves = [finding.row is not None for finding in single]
    new = {
        id(finding)
        for finding, known in zip(single, stock.take(list(map(keys.of, single)), moves), strict=True)
        if not known
    }
    new |= _new_pairs([finding for finding in findings if _pair(finding)], stock, keys)
    return Comparison(tuple(finding for finding in findings if id(finding) in new), stock.left())


def _new_pairs(findings: Sequence[Finding], stock: _Stock, naming: _Keys) -> set[int]:
    """Which findings that name a pair are new, by `id`: of each row that is new one at least."""
    pairs = [(finding, *(_pair(finding) or ())) for finding in findings]
    reported = {spot for _, spot, _ in pairs}
    # Of equal rows those that were reported count as the new ones, not the one that they repeat.
    spots = list(dict.fromkeys([twin for _, _, twin in pairs if twin not in reported] + [spot for _, spot, _ in pairs]))
    keys = [naming.of_spot(spot) for spot in spots]
    copies = {spot for _, *pair in pairs if _equal(pair) for spot in pair}
    unseen = {
        spot
        for spot, key, known in zip(spots, keys, stock.take(keys, [True] * len(spots)), strict=True)
        if not known and (spot in copies or not stock.knows(key))
    }
    new = {id(finding) for finding, spot, _ in pairs if spot in unseen}
    shown = {spot for _, spot, _ in pairs} | {twin for finding, _, twin in pairs if id(finding) in new}
    for finding, _, twin in pairs:
        if twin in unseen and twin not in shown:
            new.add(id(finding))
            shown.add(twin)
    return new


def _pair(finding: Finding) -> tuple[Spot, Spot] | None:
    """Both rows of a finding that names a pair of rows with content."""
    twin = finding.evidence.get("twin")
    if not isinstance(twin, dict) or finding.row_id is None or twin.get("row_id") is None:
        return None
    return (
        Spot(finding.code, finding.row_id, finding.path, finding.row),
        Spot(finding.code, twin["row_id"], twin["path"], twin["row"]),
    )


def _equal(pair: Sequence[Spot]) -> bool:
    return pair[0].row_id == pair[1].row_id


class _Keys:
    """The entries that findings and rows of pairs belong to; each path and row is looked up once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths: dict[str, str] = {}
        self._marks: dict[tuple[str, str], str] = {}

    def of(self, finding: Finding) -> Key:
        return Key(self._path(finding.path), finding.code, finding.fingerprint)

    def of_spot(self, spot: Spot) -> Key:
        mark = self._marks.get((spot.code, spot.row_id))
        if mark is None:
            mark = finding_fingerprint(spot.code, spot.row_id, None, "one of a pair")
            self._marks[spot.code, spot.row_id] = mark
        return Key(self._path(spot.path), spot.code, mark)

    def _path(self, path: str) -> str:
        if path not in self._paths:
            self._paths[path] = relative(path, self._root)
        return self._paths[path]


class _Stock:
    """What a baseline still has to give."""

    def __init__(self, counts: dict[Key, int]) -> None:
        self._left = dict(counts)
        self._places: dict[tuple[str, str], list[Key]] = defaultdict(list)
        for key in counts:
            self._places[key.code, key.fingerprint].append(key)

    def take(self, keys: Sequence[Key], moves: Sequence[bool]) -> list[bool]:
        """Whether each key is known: first in its own file, then, where it may have moved, in any."""
        known = [self._one(key) for key in keys]
        for number, (key, may_move) in enumerate(zip(keys, moves, strict=True)):
            if not known[number] and may_move:
                known[number] = any(map(self._one, self._places.get((key.code, key.fingerprint), ())))
        return known

    def knows(self, key: Key) -> bool:
        """Whether it is there at all, in whatever file and number."""
        return (key.code, key.fingerprint) in self._places

    def _one(self, key: Key) -> bool:
        if not self._left.get(key):
            return False
        self._left[key] -= 1
        return True

    def left(self) -> dict[Key, int]:
        return {key: count for key, count in self._left.items() if count}


# ------------------------------------------------------------------------------------------------- after an audit


@dataclass(frozen=True)
class Scope:
    """What an audit looked at."""

    paths: AbstractSet[str]
    """Files, as the user named them."""
    codes: AbstractSet[str]
    """Rules that were run."""
    known_codes: AbstractSet[str]
    """Rules that exist."""

    def covers(self, baseline: Baseline) -> bool:
        """Whether every file of the baseline that still exists was looked at."""
        seen = {relative(path, baseline.root) for path in self.paths}
        return not any((baseline.root / path).exists() for path in {key.path for key in baseline.counts} - seen)


def renewed(baseline: Baseline | None, found: dict[Key, int], scope: Scope) -> dict[Key, int]:
    """What to write.

    After a look at a part of the files that is what was known and what was found; after one at all of them, what was
    found, and what is known of rules that were not run.

    Args:
        baseline: the one that is there; null for none.
        found: from `known_things`.
        scope: what was looked at.
    """
    if baseline is None:
        return found
    if not scope.covers(baseline):
        return {key: max(found.get(key, 0), baseline.counts.get(key, 0)) for key in {*found, *baseline.counts}}
    idle = scope.known_codes - scope.codes
    return {key: count for key, count in baseline.counts.items() if key.code in idle} | found


def gone(baseline: Baseline, left: dict[Key, int], scope: Scope) -> int:
    """Entries of rules that were run that no longer occur; 0 where not every file was looked at, for nobody knows."""
    return sum(count for key, count in left.items() if key.code in scope.codes) if scope.covers(baseline) else 0


def notices(baseline: Baseline, comparison: Comparison, scope: Scope) -> tuple[Notice, ...]:
    """What a person should know of a baseline: rules that are no more, another version of assay."""
    unknown: Counter[str] = Counter()
    for key, count in baseline.counts.items():
        if key.code not in scope.known_codes:
            unknown[key.code] += count
    said = [
        f"the baseline holds {count:,} {'entry' if count == 1 else 'entries'} of the rule {printable(code[:40])}, "
        f"which this version of assay does not have; {AGAIN} to drop them"
        for code, count in sorted(unknown.items())
    ]
    version = installed_version()
    if comparison.new and comparison.left and baseline.version != version:
        said.append(
            f"the baseline was written by assay {printable(baseline.version)}, this is {version}: what a rule now "
            f"reports in other words counts as new; {AGAIN} once you have looked"
        )
    return tuple(Notice(text, str(baseline.path)) for text in said)
