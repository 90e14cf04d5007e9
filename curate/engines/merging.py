"""From what was said of each file to the audit of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from curate.audit import Audit, FromShards, mask_for
from curate.contamination.account import account
from curate.contamination.index import EvalIndex
from curate.contamination.scan import own_wording, too_common
from curate.engines.shards import Counted, Looked, Recipe
from curate.rows import FAULTS_SCHEMA, ROWS_SCHEMA, TURNS_SCHEMA, Corpus, Source
from schemas.errors import AssayError, Problem, UserError
from schemas.finding import Finding

GRADED = {"item": pl.Int64, "index": pl.Int64, "rank": pl.Int64}


class FailedOnShardError(Exception):
    """A rule raised this on a worker."""


@dataclass(frozen=True)
class Wording:
    """What must be known of all files before any of them is searched for eval items."""

    index: EvalIndex
    """That is searched with."""
    common_runs: NDArray[np.bool_]
    """For each of its runs of words, whether the rows use it everywhere."""
    digests: tuple[str, ...]
    """Of each file, as it was counted."""


def wording_of(counted: Iterable[Counted], index: EvalIndex) -> Wording:
    """What the counts of all files say together.

    Args:
        counted: of each file, in their order.
        index: of `telling_index`.
    """
    held, rows, digests = np.zeros(len(index.grams), np.int64), 0, []
    for file in counted:
        held[file.runs] += file.held
        rows += file.rows
        digests.append(file.sha256)
    return Wording(index, too_common(held, rows), tuple(digests))


def merged(recipe: Recipe, names: Sequence[str], looked: Iterable[Looked], wording: Wording | None = None) -> Audit:
    """The audit of all files.

    What is held at one time are all findings, and of the rows only those that are shown.

    Args:
        recipe: what the files were looked at with.
        names: of the files, as the user named them.
        looked: what was said of each, in the same order.
        wording: null if no eval items were looked for.

    Raises:
        UserError: a file changed between being counted and being looked at.
    """
    merge = Merge(recipe)
    for number, (name, file) in enumerate(zip(names, looked, strict=True)):
        merge.add(name, file, None if wording is None else wording.digests[number])
    if wording is None:
        return merge.audit({})
    index, hits = wording.index, pl.DataFrame(merge.graded, schema=GRADED, orient="row")
    return merge.audit(account(index.items, own_wording(index, index.lost(wording.common_runs)), hits))


class Merge:
    """Takes one file after the other."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.rules = {rule.code: rule for rule in recipe.rules}
        self.sources: list[Source] = []
        self.shapes: list[dict[str, int]] = []
        self.findings: list[Finding] = []
        self.graded: list[tuple[int, int, int]] = []
        self.unread: dict[str, UserError] = {}
        self._rows, self._turns = [pl.DataFrame(schema=ROWS_SCHEMA)], [pl.DataFrame(schema=TURNS_SCHEMA)]
        self._before = 0
        self._seen = dict.fromkeys(self.rules, 0)
        self._idle: list[dict[str, str]] = []
        self._failures: dict[str, BaseException] = {}

    def add(self, name: str, file: Looked, digest: str | None) -> None:
        """Put what is said of a file behind that of the others.

        Args:
            name: of the file.
            file: what is said of it.
            digest: that it had before; null if nobody looked.

        Raises:
            UserError: it has another one now.
        """
        told = orjson.loads(file.told)
        if told["problems"]:
            self.unread[name] = _error(told["problems"])
            return
        if digest is not None and told["source"]["sha256"] != digest:
            help = "wait until nothing writes to it, and run the command again"
            raise UserError("a file changed while it was audited", where=name, help=help)
        findings = [Finding.model_validate(finding) for finding in told["findings"]]
        self._take_rows(file, self._shown(findings))
        self.sources.append(Source(**told["source"], buffer=file.raw))
        self.shapes.append(told["shapes"])
        self.findings += findings
        self.graded += [(item, row + self._before, rank) for item, row, rank in told["graded"]]
        self._before += told["source"]["rows"]
        self._idle.append(told["not_run"])
        for failure in told["failures"]:
            self._failures.setdefault(failure["code"], _raised(failure))

    def audit(self, sets: dict[str, Any]) -> Audit:
        """All that was taken.

        Args:
            sets: of `Audit.eval_sets`.
        """
        skipped = {path: error.problems[0].what for path, error in self.unread.items()}
        corpus = Corpus(
            tuple(self.sources),
            pl.concat(self._rows),
            pl.concat(self._turns),
            pl.DataFrame(schema=FAULTS_SCHEMA),
            skipped=skipped,
        )
        # A rule that some files gave nothing to go by was run on the others.
        idle = [code for code in self.rules if self._idle and all(code in file for file in self._idle)]
        failed = {code: next(file[code] for file in self._idle if code in file) for code in self._failures}
        return Audit(
            corpus,
            self.recipe.rules,
            tuple(self.findings),
            mask_for(self.recipe.rules),
            {code: self._idle[0][code] for code in idle} | failed,
            tuple((self.rules[code], error) for code, error in self._failures.items()),
            shards=FromShards(tuple(self.shapes), sets, tuple(self.unread.values())),
        )

    def _shown(self, findings: Iterable[Finding]) -> list[int]:
        """Rows of a file that are among the first of a rule over all files."""
        chosen = set()
        for finding in findings:
            self._seen[finding.code] += 1
            most = self.recipe.shown
            if finding.row is not None and (not most or self._seen[finding.code] <= most):
                chosen.add(finding.row)
        return sorted(chosen)

    def _take_rows(self, file: Looked, wanted: list[int]) -> None:
        rows = pl.read_ipc(file.rows).filter(pl.col("row").is_in(wanted))
        turns = pl.read_ipc(file.turns).join(rows.select("index"), on="index", how="semi", maintain_order="left")
        place = {"index": pl.col("index") + pl.lit(self._before, pl.UInt32)}
        number = pl.lit(len(self.sources), pl.UInt16)
        self._rows.append(rows.with_columns(**place, source=number).select(*ROWS_SCHEMA))
        self._turns.append(turns.with_columns(**place).select(*TURNS_SCHEMA))


def _error(problems: list[dict[str, str]]) -> UserError:
    error = UserError("")
    AssayError.__init__(error, *(Problem(**problem) for problem in problems))
    return error


def _raised(failure: dict[str, Any]) -> BaseException:
    if failure["problems"]:
        return _error(failure["problems"])
    return FailedOnShardError(f"{failure['kind']}: {failure['text']}")
