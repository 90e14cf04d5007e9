"""One file of many: what is said of it alone, and what must be known of the others before.

Nothing here knows an engine. Whoever runs these functions on each file, wherever that is, and gives what they return to
`merged` in the order of the files, has the audit of all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from curate.audit import Audit, audit_corpus
from curate.contamination.account import graded
from curate.contamination.index import EvalIndex
from curate.contamination.scan import rows_by_run
from curate.contamination.search import search, telling_index
from curate.contamination.tasks import EvalTask
from curate.indexes import Indexes
from curate.load_supervisor import load_token_settings
from curate.readers import read_corpus
from curate.rows import Corpus, Shard
from curate.rules.base import Need, Rule
from schemas.errors import AssayError, UserError


@dataclass(frozen=True)
class Recipe:
    """What every file of an audit is looked at with: small, and the same for all."""

    rules: tuple[Rule, ...]
    evals: Mapping[Path, EvalTask | None]
    """Files of eval items as absolute paths, which every worker reads for itself."""
    names: Mapping[Path, str]
    """What findings call these files."""
    eval_index: EvalIndex | None
    """An index of eval items that was named."""
    reading: Mapping[str, Any]
    """How rows are read, for `read_corpus`."""
    tokens: tuple[str | None, int | None] | None
    """Arguments of `load_token_settings`; null for an estimate."""
    shown: int
    """Rows of each rule that a format for people may show; 0 for all."""

    @property
    def searches(self) -> bool:
        """Whether eval items are looked for."""
        given = bool(self.evals) or self.eval_index is not None
        return given and any(rule.needs is Need.EVALS for rule in self.rules)


@dataclass(frozen=True)
class ShardFile:
    """One file, and its place among all."""

    number: int
    path: Path
    name: str
    """As the user named it, and as findings do."""
    split: str | None = None

    def as_item(self) -> dict[str, Any]:
        """As columns that an engine can carry."""
        names = {"path": os.fsencode(self.path), "name": os.fsencode(self.name)}
        return {"number": self.number, "split": self.split or "", **names}

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> ShardFile:
        """From what `as_item` gave."""
        path, name = (os.fsdecode(item[key]) for key in ("path", "name"))
        return cls(int(item["number"]), Path(path), name, item["split"] or None)


@dataclass(frozen=True)
class Counted:
    """What the others must know of a file before any of them can be searched for eval items."""

    rows: int = 0
    sha256: str = ""
    """Empty where it could not be read."""
    runs: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Runs of words of the eval items that its rows hold."""
    held: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """How many of its rows hold each."""

    def as_item(self) -> dict[str, Any]:
        """As columns that an engine can carry."""
        return {"rows": self.rows, "sha256": self.sha256, "runs": self.runs.tobytes(), "held": self.held.tobytes()}

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Counted:
        """From what `as_item` gave."""
        runs, held = (np.frombuffer(item[key], np.int64) for key in ("runs", "held"))
        return cls(int(item["rows"]), item["sha256"], runs, held)


@dataclass(frozen=True)
class Looked:
    """What an audit says of one file."""

    told: bytes
    """JSON: `problems`, and if there are none `source`, `shapes`, `findings`, `not_run`, `failures`, `graded`."""
    rows: bytes = b""
    """Arrow: the rows that may be shown, their spans those of `raw`."""
    turns: bytes = b""
    raw: bytes = b""


class Worker:
    """Looks at one file after the other; what they share is read once."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        nothing = read_corpus((), evals=recipe.evals, name=lambda path: recipe.names[path])
        base = Indexes(evals=recipe.eval_index).beside(nothing)
        self.base = replace(base, token_settings=None if recipe.tokens is None else load_token_settings(*recipe.tokens))

    def read(self, file: ShardFile, common_runs: NDArray[np.bool_] | None) -> Corpus:
        """The rows of a file beside everything that rules go by.

        Raises:
            UserError: it cannot be opened or unpacked.
        """
        read = read_corpus({file.path: file.split}, whole=False, name=lambda _: file.name, **self.recipe.reading)
        return replace(
            self.base, sources=read.sources, rows=read.rows, turns=read.turns, faults=read.faults,
            columns=read.columns, spill=read.spill, shard=Shard(file.number, common_runs), memo={},
        )  # fmt: skip

    def counted(self, file: ShardFile) -> Counted:
        """How many rows hold which runs of the eval items."""
        try:
            corpus = self.read(file, None)
        except UserError:  # `looked` says so
            return Counted()
        held = rows_by_run(corpus, telling_index(corpus))
        runs = np.flatnonzero(held)
        return Counted(corpus.height, corpus.sources[0].sha256, runs, held[runs])

    def looked(self, file: ShardFile, common_runs: NDArray[np.bool_] | None) -> Looked:
        """The audit of a file.

        Args:
            file: which one.
            common_runs: of `rows.Shard`.
        """
        try:
            corpus = self.read(file, common_runs)
        except UserError as error:
            return Looked(orjson.dumps({"problems": [asdict(problem) for problem in error.problems]}))
        audit = audit_corpus(corpus, self.recipe.rules, workers=1)
        (source,) = corpus.sources
        told = {
            "problems": [],
            "source": {name: getattr(source, name) for name in CARRIED},
            "shapes": audit.shapes[0],
            "findings": [finding.model_dump(mode="json") for finding in audit.findings],
            "not_run": audit.not_run,
            "failures": [_failure(rule, error) for rule, error in audit.failures],
            "graded": graded(search(corpus)).rows() if self.recipe.searches else [],
        }
        return Looked(orjson.dumps(told), *_shown(audit, self.recipe.shown))


CARRIED = ("path", "format", "sha256", "size", "rows", "lines", "split", "within")
"""Fields of a source that are told of it: all but its bytes."""


def _failure(rule: Rule, error: BaseException) -> dict[str, Any]:
    problems = [asdict(problem) for problem in error.problems] if isinstance(error, AssayError) else []
    return {"code": rule.code, "kind": type(error).__name__, "text": str(error), "problems": problems}


def _shown(audit: Audit, most: int) -> tuple[bytes, bytes, bytes]:
    """The rows of the first findings of each rule, their turns, and their bytes."""
    corpus, seen = audit.corpus, dict.fromkeys((rule.code for rule in audit.rules), 0)
    chosen: set[int] = set()
    for finding in audit.findings:
        seen[finding.code] += 1
        if finding.row is not None and (not most or seen[finding.code] <= most):
            chosen.add(finding.row)
    rows = corpus.rows.filter(pl.col("row").is_in(sorted(chosen)))
    raw = [corpus.raw(index) for index in rows["index"]]
    stops = np.cumsum([len(piece) for piece in raw], dtype=np.int64)
    starts = stops - np.array([len(piece) for piece in raw], dtype=np.int64)
    rows = rows.with_columns(start=pl.Series(starts), stop=pl.Series(stops))
    turns = corpus.turns.join(rows.select("index"), on="index", how="semi", maintain_order="left")
    return _packed(rows), _packed(turns), b"".join(raw)


def _packed(frame: pl.DataFrame) -> bytes:
    return frame.write_ipc(None).getvalue()
