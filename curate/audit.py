"""The audit: every rule over every row, nothing changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from curate.findings import findings_of, masker
from curate.rows import Corpus
from curate.rules.base import Rule
from curate.rules.catalogue import select_rules
from schemas.errors import ExitCode
from schemas.finding import Finding, Severity
from schemas.progress import SILENT, Progress

QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Audit:
    """What the audit found."""

    corpus: Corpus
    rules: tuple[Rule, ...]
    findings: tuple[Finding, ...]
    """By path in reading order, then line, then code."""
    mask: Callable[[str], str]
    """Hides personal data and secrets; everything of a row that is shown goes through it."""
    not_run: dict[str, str]
    """Rule code -> why it was not run."""

    @property
    def counts(self) -> dict[str, int]:
        """Rule code -> number of findings."""
        return dict(sorted(Counter(finding.code for finding in self.findings).items()))

    @property
    def idle(self) -> list[str]:
        """One sentence for each reason why rules were not run, with their codes."""
        codes: dict[str, list[str]] = {}
        for code, why in self.not_run.items():
            codes.setdefault(why, []).append(code)
        return [
            f"{', '.join(same)} {'was' if len(same) == 1 else 'were'} not run: {why}" for why, same in codes.items()
        ]

    def exit_code(self, fail_on: str) -> ExitCode:
        """No rows is inconclusive; findings at or above `fail_on` fail; `never` passes with any finding."""
        if not self.corpus.height:
            return ExitCode.INCONCLUSIVE
        if fail_on == "never":
            return ExitCode.PASS
        rank = Severity(fail_on).rank
        return ExitCode.FAIL if any(finding.severity.rank <= rank for finding in self.findings) else ExitCode.PASS


def audit_corpus(corpus: Corpus, rules: Sequence[Rule], progress: Progress = SILENT) -> Audit:
    """Run the rules over a corpus.

    Args:
        corpus: what was read.
        rules: configured rules; those that say why they have nothing to go by are not run.
        progress: shows each rule, and how far it is.
    """
    # Personal data stays hidden even if its rule was not selected.
    mask = masker([*rules, *(rule for rule in select_rules([]) if rule.code not in {r.code for r in rules})])
    corpus = replace(corpus, progress=progress)
    order = {source.path: number for number, source in enumerate(corpus.sources)}
    findings: list[Finding] = []
    not_run: dict[str, str] = {}
    for rule in rules:
        if (reason := rule.idle_reason(corpus)) is not None:
            not_run[rule.code] = reason
            continue
        progress.begin(rule.name)
        findings += findings_of(rule, corpus, mask)
    findings.sort(key=lambda f: (order[f.path], f.row if f.row is not None else -1, f.line or 0, f.code))
    return Audit(corpus, tuple(rules), tuple(findings), mask, not_run)


def statistics(corpus: Corpus) -> dict[str, Any]:
    """Rows, turns, characters, roles and kinds, with the 5th, 50th and 95th percentile of their sizes."""
    turns = corpus.turns.lazy().select("index", "part", "role", chars=pl.col("content").str.len_chars())
    main = turns.filter(pl.col("part") != "rejected").drop("part").collect()
    rows = main.group_by("index").agg(turns=pl.len(), chars=pl.col("chars").sum())
    return {
        "rows": corpus.height,
        "kinds": _counted(corpus.rows["kind"].fill_null("unreadable")),
        "shapes": _counted(corpus.rows["shape"].drop_nulls()),
        "turns": main.height,
        "roles": _counted(main["role"].drop_nulls()),
        "chars": int(main["chars"].sum() or 0),
        "turns_per_row": _quantiles(rows["turns"]),
        "chars_per_row": _quantiles(rows["chars"]),
        "chars_per_answer": _quantiles(main.filter(pl.col("role") == "assistant")["chars"]),
    }


def _counted(values: pl.Series) -> dict[str, int]:
    counts = values.value_counts().sort(["count", values.name], descending=[True, False])
    return dict(counts.head(20).iter_rows())


def _quantiles(values: pl.Series) -> dict[str, float | None]:
    return {f"p{round(q * 100)}": values.quantile(q, "nearest") for q in QUANTILES}
