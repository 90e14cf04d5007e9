"""What changed between two curated datasets, or between two audits.

Rows are matched by the digest of their content and findings by their fingerprint, both with multiplicity: two copies
against three are one row more. The order and the place of a row make no difference.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from pydantic import ValidationError

from curate.dataset import SPLITS, Dataset, open_dataset
from curate.outputs.json import SCHEMA as AUDIT_SCHEMA
from schemas.base import Strict, digest
from schemas.errors import UnopenedError, UserError
from schemas.finding import Finding
from schemas.manifest import SCHEMA as MANIFEST_SCHEMA
from schemas.manifest import Manifest

SCHEMA = "assay/diff/1"
STDIN = Path("-")
ROW_CHANGES = {
    "added": "only in B",
    "removed": "only in A",
    "moved": "in another split",
    "kept_now": "kept in B but dropped in A",
    "dropped_now": "dropped in B but kept in A",
    "other_reason": "dropped for another reason",
    "rewritten": "kept with another text",
}
FINDING_CHANGES = {"new": "new", "gone": "gone"}
STATE: dict[str, Any] = {
    "row_id": pl.String,
    "split": pl.String,
    "code": pl.String,
    "name": pl.String,
    "path": pl.String,
    "line": pl.Int64,
    "row": pl.Int64,
    "survivor_path": pl.String,
    "survivor_line": pl.Int64,
}
"""What became of one row; a row has a split or the code of the rule that dropped it."""


class AuditInput(Strict):
    """One file of an audit."""

    path: str
    rows: int
    sha256: str


class AuditFile(Strict):
    """What `assay audit --format json` writes."""

    schema_: str
    inputs: tuple[AuditInput, ...]
    rows: int
    findings: tuple[Finding, ...]
    counts: dict[str, int]
    stats: dict[str, Any]


@dataclass(frozen=True)
class Diff:
    """What differs between A and B, in plain data."""

    of: str
    """`datasets` or `audits`."""
    a: str
    b: str
    """The paths that were compared."""
    config: list[dict[str, Any]]
    """`key`, `a`, `b` for each setting that differs."""
    inputs: list[dict[str, Any]]
    """`path`, `a`, `b`: digests of the inputs that differ; null where one side does not have it."""
    counts: list[dict[str, Any]]
    """`name`, `a`, `b` for everything that is counted, equal or not."""
    changes: dict[str, list[dict[str, Any]]]
    """Kind of change -> rows or findings."""
    unchanged: int
    """Rows or findings that are the same on both sides."""
    same_code: bool = True
    """Whether the same version of assay made both."""

    @property
    def equal(self) -> bool:
        """Whether nothing differs; two versions of assay may have made equal results."""
        return not (self.config or self.inputs or any(self.changes.values()))

    def as_json(self) -> dict[str, Any]:
        """The whole difference, nothing cut."""
        return {"schema": SCHEMA, "equal": self.equal} | vars(self)


def diff_paths(a: Path, b: Path) -> Diff:
    """Compare two results; each is a curated dataset (folder or manifest) or the JSON of an audit.

    Raises:
        UserError: one of them cannot be opened, is something else, or they are not of one kind.
        ManifestError: a dataset does not hash to its manifest.
    """
    left, right = _load(a), _load(b)
    if isinstance(left, Dataset) and isinstance(right, Dataset):
        return _diff_datasets(left, right, (str(a), str(b)))
    if isinstance(left, AuditFile) and isinstance(right, AuditFile):
        return _diff_audits(left, right, (str(a), str(b)))
    raise UserError(
        "a dataset cannot be compared with an audit",
        where=f"{a} and {b}",
        expected="two datasets, or two files that `assay audit --format json` wrote",
    )


def _load(path: Path) -> Dataset | AuditFile:
    if path.is_dir():
        return open_dataset(path)
    try:
        data = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except OSError as error:
        raise UnopenedError("the file", path, error) from error
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _not_comparable(path, f"no JSON: {error}") from error
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema == MANIFEST_SCHEMA and path != STDIN:
        return open_dataset(path)
    if schema != AUDIT_SCHEMA:
        raise _not_comparable(path, f"schema {schema!r:.80}")
    try:
        return AuditFile.model_validate({("schema_" if key == "schema" else key): item for key, item in value.items()})
    except ValidationError as error:
        first = error.errors()[0]
        raise _not_comparable(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _not_comparable(path: Path, found: str) -> UserError:
    return UserError(
        "this is neither a dataset nor an audit",
        where=str(path),
        found=found,
        expected="a folder under runs/curate, its manifest.json, or what `assay audit --format json` wrote",
    )


def _diff_datasets(left: Dataset, right: Dataset, names: tuple[str, str]) -> Diff:
    before, after = _states(left), _states(right)
    changes = _changed_rows(before, after)
    gone = sum(len(changes[kind]) for kind in ROW_CHANGES if kind != "added")
    return Diff(
        "datasets",
        *names,
        config=_changed_settings(left.manifest.config, right.manifest.config),
        inputs=_changed_inputs(_digests(left.manifest), _digests(right.manifest)),
        counts=_table(_row_counts(before), _row_counts(after)),
        changes=changes,
        unchanged=before.height - gone,
        same_code=left.manifest.code == right.manifest.code,
    )


def _states(dataset: Dataset) -> pl.DataFrame:
    """One row for each row that came in: STATE, and `text`, a hash of the record as it was written."""
    path = dataset.folder / "dropped.parquet"
    frames = [
        pl.scan_parquet(dataset.folder / "data" / f"{split}.parquet")
        .select(
            # A repeated row is published as `<id>-2`, `<id>-3`, ...
            pl.col("row_id").str.replace(r"-\d+$", ""),
            pl.lit(split).alias("split"),
            *("path", "line", "row"),
            text=pl.col("record").hash(),
        )
        .collect()
        for split in SPLITS
    ]
    if path.is_file():
        dropped = pl.read_parquet(path)
        unread = [
            digest(raw)[:32] if row_id is None else row_id for row_id, raw in dropped["row_id", "raw"].iter_rows()
        ]
        frames.append(dropped.with_columns(row_id=pl.Series(unread, dtype=pl.String)).drop("raw"))
    whole = pl.concat(frames, how="diagonal_relaxed")
    absent = [pl.lit(None, kind).alias(name) for name, kind in STATE.items() if name not in whole.columns]
    return whole.with_columns(*absent).select(*(pl.col(name).cast(kind) for name, kind in STATE.items()), "text")


def _changed_rows(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    same = ["row_id", "split", "code", "text"]
    for keys in ([*same, "path", "line", "row"], same):
        before, after = _without_equals(before, after, keys)
    pairs = _numbered(before, after).join(
        _numbered(after, before), on=["row_id", "home", "number"], how="full", coalesce=True, suffix="_b"
    )
    changes: dict[str, list[dict[str, Any]]] = {kind: [] for kind in ROW_CHANGES}
    fields = [name for name in STATE if name != "row_id"]
    for pair in pairs.iter_rows(named=True):
        old = {name: pair[name] for name in fields} if pair["here"] else None
        new = {name: pair[f"{name}_b"] for name in fields} if pair["here_b"] else None
        changes[_kind_of(old, new)].append({"row_id": pair["row_id"], "before": old, "after": new})
    for found in changes.values():
        found.sort(key=lambda change: _place_key(change["after"] or change["before"]))
    return changes


def _numbered(frame: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Rows with a `number` by which those of one content are paired with those of the other side.

    A row that stands at the same place on both sides is paired with itself (`home`), what is left in the order of the
    splits, dropped rows last.
    """
    place = ["row_id", "path", "line", "row", "again"]
    # Imported files may share a name: rows of one place are told apart by their order.
    frame, other = (side.with_columns(again=pl.int_range(pl.len()).over(place[:-1])) for side in (frame, other))
    order = pl.col("split").replace_strict({name: n for n, name in enumerate(SPLITS)}, default=len(SPLITS))
    there = other.select(place).with_columns(home=pl.lit(value=True))
    found = frame.join(there, on=place, how="left", nulls_equal=True, maintain_order="left")
    found = found.with_columns(pl.col("home").fill_null(value=False), here=pl.lit(value=True))
    found = found.sort("row_id", pl.when(~pl.col("home")).then(order), "path", "line", "row", nulls_last=True)
    return found.with_columns(number=pl.int_range(pl.len()).over("row_id", "home"))


def _without_equals(left: pl.DataFrame, right: pl.DataFrame, keys: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both sides less the rows that have an equal on the other side, one for one."""
    left, right = (frame.with_columns(rank=pl.int_range(pl.len()).over(keys)) for frame in (left, right))
    on = [*keys, "rank"]
    return (
        left.join(right, on=on, how="anti", nulls_equal=True).drop("rank"),
        right.join(left, on=on, how="anti", nulls_equal=True).drop("rank"),
    )


def _kind_of(old: dict[str, Any] | None, new: dict[str, Any] | None) -> str:
    if old is None or new is None:
        return "added" if old is None else "removed"
    if old["split"] is None:
        return "other_reason" if new["split"] is None else "kept_now"
    if new["split"] is None:
        return "dropped_now"
    return "rewritten" if old["split"] == new["split"] else "moved"


def _place_key(state: dict[str, Any]) -> tuple[str, int, int]:
    return state["path"] or "", state["line"] or 0, state["row"] or 0


def _row_counts(states: pl.DataFrame) -> dict[str, int]:
    kept = states.filter(pl.col("code").is_null())
    counts = {"rows in": states.height, "rows kept": kept.height, "rows dropped": states.height - kept.height}
    counts |= {name: int((kept["split"] == name).sum()) for name in SPLITS}
    rules = states.filter(pl.col("code").is_not_null()).group_by("code", "name").len().sort("code")
    return counts | {f"{code} {name}": rows for code, name, rows in rules.iter_rows()}


def _digests(manifest: Manifest) -> list[tuple[str, str]]:
    return [(f"{ref.role} {Path(ref.path).name}", ref.identity) for ref in manifest.inputs]


def _diff_audits(left: AuditFile, right: AuditFile, names: tuple[str, str]) -> Diff:
    gone, new = _unmatched(left.findings, right.findings)
    return Diff(
        "audits",
        *names,
        config=[],
        inputs=_changed_inputs(*([(item.path, item.sha256) for item in side.inputs] for side in (left, right))),
        counts=_table(*({"rows": side.rows} | _finding_counts(side.findings) for side in (left, right))),
        changes={
            "new": [finding.model_dump(mode="json") for finding in new],
            "gone": [finding.model_dump(mode="json") for finding in gone],
        },
        unchanged=len(left.findings) - len(gone),
    )


def _finding_counts(findings: Sequence[Finding]) -> dict[str, int]:
    return dict(sorted(Counter(f"{finding.code} {finding.name}" for finding in findings).items()))


def _unmatched(left: Sequence[Finding], right: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Findings of each side that have no partner on the other; those at the same place are paired first."""

    def exact(finding: Finding) -> tuple[Any, ...]:
        return finding.fingerprint, finding.path, finding.line, finding.row

    gone, new = _unpaired(left, [exact(f) for f in left], right, [exact(f) for f in right])
    return _unpaired(gone, [f.fingerprint for f in gone], new, [f.fingerprint for f in new])


def _unpaired(
    left: Sequence[Finding], left_keys: Sequence[Any], right: Sequence[Finding], right_keys: Sequence[Any]
) -> tuple[list[Finding], list[Finding]]:
    common = Counter(left_keys) & Counter(right_keys)

    def rest(findings: Sequence[Finding], keys: Sequence[Any]) -> list[Finding]:
        seen: defaultdict[Any, int] = defaultdict(int)
        found = []
        for finding, key in zip(findings, keys, strict=True):
            seen[key] += 1
            if seen[key] > common[key]:
                found.append(finding)
        return found

    return rest(left, left_keys), rest(right, right_keys)


def _changed_settings(a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]]:
    left, right = dict(_flat(a)), dict(_flat(b))
    keys = dict.fromkeys([*left, *right])
    return [{"key": key, "a": left.get(key), "b": right.get(key)} for key in keys if left.get(key) != right.get(key)]


def _flat(value: dict[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    """Settings by their dotted name; lists are values, and an empty section holds none."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _flat(item, f"{above}{key}.")
        else:
            yield f"{above}{key}", item


def _changed_inputs(a: list[tuple[str, str]], b: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Inputs whose content only one side has; two of one name stand in one line."""
    only_a, only_b = (
        [(name, value) for name, value in side if value not in {other for _, other in others}]
        for side, others in ((a, b), (b, a))
    )
    left: defaultdict[str, list[str]] = defaultdict(list)
    right: defaultdict[str, list[str]] = defaultdict(list)
    for side, found in ((left, only_a), (right, only_b)):
        for name, value in found:
            side[name].append(value)
    lines = []
    for name in dict.fromkeys([*left, *right]):
        for number in range(max(len(left[name]), len(right[name]))):
            ends = [side[name][number] if number < len(side[name]) else None for side in (left, right)]
            lines.append({"path": name, "a": ends[0], "b": ends[1]})
    return lines


def _table(a: dict[str, int], b: dict[str, int]) -> list[dict[str, Any]]:
    return [{"name": name, "a": a.get(name, 0), "b": b.get(name, 0)} for name in dict.fromkeys([*a, *b])]
