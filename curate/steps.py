"""Running the rules of a curation one after the other, each on what the ones before it left."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.findings import one_per_row, to_finding
from curate.keep import Keeper
from curate.ledger import FINDINGS_NAMED, Ledger, Remaining, Step
from curate.rewriting import rewritten
from curate.rows import Corpus
from curate.rules.base import Action, Hit, Rule
from curate.rules.catalogue import select_rules
from curate.searches import search_account
from curate.sensitive import masker
from schemas.progress import SILENT, Progress

HITS_PER_BLOCK = 10_000
"""Hits that are Python objects at one time."""


class OutOfOrderError(Exception):
    """A rule gave its hits in another order than that of the rows."""


@dataclass
class Outcome:
    """What one rule found, and what follows from it."""

    found: int = 0
    spared: int = 0
    indexes: array[int] = field(default_factory=lambda: array("I"))
    """Rows to drop or to change."""
    drops: list[pl.DataFrame] = field(default_factory=list)
    remaining: Remaining = field(default_factory=Remaining)


def run_steps(
    whole: Corpus, rules: tuple[Rule, ...], progress: Progress = SILENT, keeper: Keeper | None = None
) -> tuple[Corpus, Ledger, dict[str, Remaining]]:
    """Run each rule on what the ones before it left; rows on the keep list are not dropped.

    Returns:
        (kept rows, ledger, what was found in rows that stayed as they are by rule code).
    """
    mask = masker(select_rules([]))
    ledger = Ledger(whole.height, spill=whole.spill)
    remaining: dict[str, Remaining] = {}
    corpus = whole
    for rule in rules:
        progress.begin(rule.name)
        rows_in, changed = corpus.height, 0
        missing = rule.idle_reason(corpus) or ""
        outcome = Outcome() if missing else _outcome(rule, corpus, mask, ledger, keeper)
        if parts := rule.searched(corpus):
            ledger.searches.append(search_account(rule, corpus.height, parts))
        if outcome.remaining.rows:
            remaining[rule.code] = outcome.remaining
        if rule.effective_action is Action.DROP:
            ledger.take(outcome.drops)
            corpus = corpus.without(outcome.indexes)
        elif outcome.indexes:
            corpus = rewritten(corpus, rule, pl.Series(outcome.indexes, dtype=pl.UInt32))
            changed = len(outcome.indexes)
        step = (rows_in, rows_in - corpus.height, changed, outcome.found, missing, outcome.spared)
        ledger.steps.append(Step(rule.code, rule.name, str(rule.effective_action), *step))
    return corpus, ledger, remaining


def rows_found(rule: Rule, corpus: Corpus) -> NDArray[np.int64]:
    """Indexes of the rows on which a rule fires, ascending."""
    return np.unique(np.fromiter((hit.index for hit in rule.find(corpus)), np.int64))


def as_published(corpus: Corpus, rules: Iterable[Rule]) -> Corpus:
    """The readable rows as they would be published: redacted and repaired by the rules that do so."""
    readable = corpus.without(corpus.rows.filter(pl.col("kind").is_null())["index"])
    for rule in rules:
        if rule.effective_action in (Action.REDACT, Action.FIX):
            found = rows_found(rule, readable)
            readable = rewritten(readable, rule, pl.Series(found, dtype=pl.UInt32)) if len(found) else readable
    return readable


def _outcome(rule: Rule, corpus: Corpus, mask: Callable[[str], str], ledger: Ledger, keeper: Keeper | None) -> Outcome:
    """Run one rule; its hits are collected only where the keep list must see them all, or they come out of order."""

    def gathered(blocks: Iterable[list[Hit]]) -> Outcome:
        return _gathered(blocks, rule, corpus, mask, ledger, keeper)

    if keeper is not None:
        return gathered([one_per_row(rule.find(corpus))])
    try:
        return gathered(_blocks(rule.find(corpus)))
    except OutOfOrderError:  # only now is it known that the blocks will not do
        return gathered([one_per_row(rule.find(corpus))])


def _blocks(hits: Iterable[Hit]) -> Iterator[list[Hit]]:
    """One hit a row, block by block, of hits in the order of the rows.

    Raises:
        OutOfOrderError: they are not in that order.
    """
    block: list[Hit] = []
    last = -1
    for hit in hits:
        if hit.index < last:
            raise OutOfOrderError
        if len(block) >= HITS_PER_BLOCK and hit.index > last:
            yield one_per_row(block)
            block = []
        last = hit.index
        block.append(hit)
    yield one_per_row(block)


def _gathered(
    blocks: Iterable[list[Hit]],
    rule: Rule,
    corpus: Corpus,
    mask: Callable[[str], str],
    ledger: Ledger,
    keeper: Keeper | None,
) -> Outcome:
    """What follows from hits, by the rule's action; nothing is noted in the ledger yet."""
    made, action = Outcome(), rule.effective_action
    for hits in blocks:
        made.found += len(hits)
        if action is Action.DROP:
            found = {hit.index: to_finding(rule, hit, corpus, mask) for hit in hits}
            spared = keeper.spared(found) if keeper else set()
            made.spared += len(spared)
            made.remaining.add([found.pop(index) for index in sorted(spared)])
            made.indexes.extend(found)
            made.drops.append(ledger.told(found))
        elif action in (Action.REDACT, Action.FIX):
            made.indexes.extend(hit.index for hit in hits)
        else:
            made.remaining.rows += len(hits)
            shown = hits[: FINDINGS_NAMED - len(made.remaining.first)]
            made.remaining.first += [to_finding(rule, hit, corpus, mask) for hit in shown]
    return made
