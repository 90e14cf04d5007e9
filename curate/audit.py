"""The audit: every rule over every row, nothing changed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from curate.contamination.account import searched_sets, uncompared
from curate.findings import findings_of, without_echoes
from curate.labels import label_counts
from curate.language import language_counts
from curate.row_tokens import estimated_tokens, row_tokens
from curate.rows import Corpus
from curate.rules.base import Rule
from curate.rules.catalogue import select_rules
from curate.sensitive import masker
from curate.set_aside import NOTHING, SetAside
from schemas.errors import AssayError, ConfigError, ExitCode, UserError
from schemas.finding import Finding, Severity
from schemas.progress import SILENT, Progress

WAITING = 2
"""Rules that may wait for what another one computes for all of them, beside those that keep the cores busy."""
QUANTILES = (0.05, 0.5, 0.95)
NAME_CHARS = 60
"""Of a label, a source or a role that a row gives."""


@dataclass(frozen=True)
class FromShards:
    """What is known of rows that were looked at in shards, and are not all in one corpus."""

    shapes: tuple[dict[str, int], ...]
    """Of each source, as `shapes_of` gives them."""
    eval_sets: dict[str, Any]
    unread: tuple[UserError, ...]
    """Shards that could not be read."""


@dataclass(frozen=True)
class Audit:
    """What the audit found."""

    corpus: Corpus
    """The rows; of rows that were looked at in shards only those that are shown."""
    rules: tuple[Rule, ...]
    findings: tuple[Finding, ...]
    """By path in reading order, then line, then code."""
    mask: Callable[[str], str]
    """Hides personal data and secrets; everything of a row that is shown goes through it."""
    not_run: dict[str, str]
    """Rule code -> why it was not run, or came to no end."""
    failures: tuple[tuple[Rule, BaseException], ...] = ()
    """Rules that raised, and what."""
    aside: SetAside = NOTHING
    """How many findings do not count, and why; `findings` holds the others."""
    shards: FromShards | None = None
    """Null where all rows are in the corpus."""

    @property
    def rows(self) -> int:
        """Rows that were read, broken ones included."""
        return sum(source.rows for source in self.corpus.sources)

    @property
    def shapes(self) -> tuple[dict[str, int], ...]:
        """Of each source how many rows have which shape, most frequent first."""
        return shapes_of(self.corpus) if self.shards is None else self.shards.shapes

    @property
    def counts(self) -> dict[str, int]:
        """Rule code -> number of findings."""
        return dict(sorted(Counter(finding.code for finding in self.findings).items()))

    @property
    def eval_sets(self) -> dict[str, Any]:
        """What was found of each eval set, and how many records of eval files could not be read; empty without any."""
        return searched_sets(self.corpus) if self.shards is None else self.shards.eval_sets

    @property
    def statistics(self) -> dict[str, Any]:
        """Numbers of the rows, as they may be shown."""
        return audit_statistics(self.corpus, self.mask)

    def exit_code(self, fail_on: str) -> ExitCode:
        """No rows is inconclusive; findings at or above `fail_on` fail; `never` passes with any finding.

        Where nothing fails, eval items that could not be compared leave it inconclusive.
        """
        if not self.rows:
            return ExitCode.INCONCLUSIVE
        if fail_on == "never":
            return ExitCode.PASS
        rank = Severity(fail_on).rank
        if any(finding.severity.rank <= rank for finding in self.findings):
            return ExitCode.FAIL
        told = self.eval_sets
        return ExitCode.INCONCLUSIVE if told and uncompared(told["eval_sets"]) else ExitCode.PASS

    def raise_failure(self) -> None:
        """Say what stopped the first rule that failed, once everything else is said.

        Raises:
            RuleFailedError: a bug in that rule, which it names.
            AssayError: the rule cannot be run on these rows, or shards could not be read.
        """
        ours = [(rule, error) for rule, error in self.failures if not isinstance(error, AssayError)]
        for rule, error in ours:
            raise RuleFailedError(f"rule {rule.code} {rule.name}: {type(error).__name__}: {error}") from error
        for _, error in self.failures:
            raise error
        if self.shards is not None and self.shards.unread:
            problems = [problem for error in self.shards.unread for problem in error.problems]
            raise UnreadShards(problems)


class RuleFailedError(Exception):
    """A rule raised what no rule should: a bug of ours."""


class UnreadShards(ConfigError):
    """Shards that could not be read, each with its reason; what the others hold was looked at."""


def shapes_of(corpus: Corpus) -> tuple[dict[str, int], ...]:
    """Of each source how many rows have which shape, most frequent first; without a known one, `unreadable`."""
    counts: tuple[dict[str, int], ...] = tuple({} for _ in corpus.sources)
    shapes = corpus.rows.group_by("source", pl.col("shape").fill_null("unreadable")).len()
    for source, shape, count in shapes.sort("source", "len", "shape", descending=[False, True, False]).iter_rows():
        counts[source][shape] = count
    return counts


def audit_corpus(
    corpus: Corpus,
    rules: Sequence[Rule],
    progress: Progress = SILENT,
    workers: int | None = None,
    *,
    with_statistics: bool = False,
) -> Audit:
    """Run the rules over a corpus, several at a time; what is found does not depend on how many.

    A rule that fails costs only its own findings: it is named in `not_run`, and `Audit.raise_failure` says why.

    Args:
        corpus: what was read.
        rules: configured rules; those that say why they have nothing to go by are not run.
        progress: shows each rule, and how far it is.
        workers: threads; null for some more than there are cores, since a rule may wait for what another one computes.
        with_statistics: compute `Audit.statistics` beside the rules, because somebody will ask for them.
    """
    mask = mask_for(rules)
    corpus = replace(corpus, progress=progress)
    order = {source.path: number for number, source in enumerate(corpus.sources)}
    not_run = {rule.code: why for rule in rules if (why := rule.idle_reason(corpus))}
    findings: list[Finding] = []
    failures: list[tuple[Rule, BaseException]] = []

    def run(rule: Rule) -> list[Finding]:
        progress.begin(rule.name)
        return findings_of(rule, replace(corpus, progress=progress.beside(rule.name)), mask)

    with ThreadPoolExecutor(workers or (os.cpu_count() or 1) + WAITING) as pool:
        # What takes longest begins first, so that no core waits for it in the end.
        asked = (rule for rule in rules if rule.code not in not_run)
        begun = sorted(asked, key=lambda rule: (not rule.takes_long, rule.waits))
        running = {rule.code: pool.submit(run, rule) for rule in begun}
        if with_statistics:
            pool.submit(audit_statistics, corpus, mask)
        try:
            for rule in (rule for rule in rules if rule.code in running):
                if (error := running[rule.code].exception()) is None:
                    findings += running[rule.code].result()
                else:
                    failures.append((rule, error))
                    not_run[rule.code] = f"it failed: {type(error).__name__}"
        except BaseException:  # interrupted: what has not begun yet is given up
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    findings = without_echoes(findings, rules)
    findings.sort(key=lambda f: (order[f.path], f.row if f.row is not None else -1, f.line or 0, f.code))
    return Audit(corpus, tuple(rules), tuple(findings), mask, not_run, tuple(failures))


def mask_for(rules: Sequence[Rule]) -> Callable[[str], str]:
    """What hides personal data and secrets, even if their rules were not selected.

    Args:
        rules: that were, with their options.
    """
    return masker([*rules, *(rule for rule in select_rules([]) if rule.code not in {r.code for r in rules})])


def audit_statistics(corpus: Corpus, mask: Callable[[str], str]) -> dict[str, Any]:
    """`statistics`, computed once for a corpus."""
    return corpus.remembered("statistics", lambda: statistics(corpus, mask))


def statistics(corpus: Corpus, mask: Callable[[str], str] | None = None) -> dict[str, Any]:
    """Numbers of the rows: single ones, and mappings of names or quantiles to numbers.

    Args:
        corpus: what was read.
        mask: hides personal data in labels, sources and roles; null takes every rule's.
    """
    mask = mask or masker(select_rules([]))

    def sizes(part: Corpus) -> pl.DataFrame:
        turns = part.turns.filter(pl.col("part") != "rejected")
        return turns.select("index", "role", chars=pl.col("content").str.len_chars())

    main = corpus.in_parts(sizes)
    rows = replace(corpus, turns=main, memo={}).in_parts(
        lambda part: part.turns.group_by("index").agg(turns=pl.len(), chars=pl.col("chars").sum())
    )
    spoken, read = language_counts(corpus.turns["content"])
    return {
        "rows": corpus.height,
        "files": len(corpus.sources),
        "kinds": _counted(corpus.rows["kind"], mask, "unreadable"),
        "shapes": _counted(corpus.rows["shape"], mask),
        "turns": main.height,
        "roles": _counted(main["role"], mask),
        "chars": int(main["chars"].sum() or 0),
        "turns_per_row": _quantiles(rows["turns"]),
        "chars_per_row": _quantiles(rows["chars"]),
        "chars_per_turn": _quantiles(main["chars"]),
        "chars_per_answer": _quantiles(main["chars"].filter(main["role"] == "assistant")),
        "languages": spoken,
        "turns_read_for_languages": read,
        "labels": _named(label_counts(_answers(corpus)), mask),
        "origins": _counted(_origins(corpus), mask),
    } | _token_statistics(corpus)


def _token_statistics(corpus: Corpus) -> dict[str, Any]:
    """Tokens of rows and their supervised part with the model's tokenizer; an estimate of the former without one."""
    settings = corpus.token_settings
    if settings is None or settings.supervisor is None:
        return {"tokens_per_row": _quantiles(estimated_tokens(corpus)["tokens"]), "tokens_estimated": True}
    counts = row_tokens(corpus)
    return {
        "tokens_per_row": _quantiles(counts["tokens"].drop_nulls()),
        "supervised_tokens_per_row": _quantiles(counts["supervised"].drop_nulls()),
        "tokens_estimated": False,
    }


def _answers(corpus: Corpus) -> pl.Series:
    """What the assistant says last in each row."""

    def compute(part: Corpus) -> pl.DataFrame:
        said = part.turns.lazy().filter((pl.col("part") != "rejected") & (pl.col("role") == "assistant"))
        last = (pl.col("index") != pl.col("index").shift(-1)).fill_null(True)
        return said.select("index", "content").filter(last).select("content").drop_nulls().collect()

    return corpus.in_parts(compute)["content"]


def _origins(corpus: Corpus) -> pl.Series:
    """The field `source` of the rows' metadata, where it is there."""

    def compute(part: Corpus) -> pl.DataFrame:
        held = part.rows.lazy().select("metadata").filter(pl.col("metadata").str.contains('"source":', literal=True))
        return held.select(pl.col("metadata").str.json_path_match("$.source")).drop_nulls().collect()

    return corpus.in_parts(compute)["metadata"]


def _counted(values: pl.Series, mask: Callable[[str], str], missing: str | None = None) -> dict[str, int]:
    counts = values.value_counts().with_columns(pl.col(values.name).fill_null(pl.lit(missing, pl.String))).drop_nulls()
    counts = counts.sort(["count", values.name], descending=[True, False])
    return _named(dict(counts.head(20).iter_rows()), mask)


def _named(counts: dict[str, int], mask: Callable[[str], str]) -> dict[str, int]:
    """Counts under names that may be shown; names that are one once masked and cut are added up."""
    named: Counter[str] = Counter()
    for name, count in counts.items():
        shown = mask(name[: 4 * NAME_CHARS])
        named[shown if len(shown) <= NAME_CHARS else shown[: NAME_CHARS - 1] + "…"] += count
    return dict(named)


def _quantiles(values: pl.Series) -> dict[str, float | None]:
    return {f"p{round(q * 100)}": values.quantile(q, "nearest") for q in QUANTILES}
