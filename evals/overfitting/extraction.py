"""Extraction: whether the model continues trained answers word for word, given their beginning.

Why: what can be extracted can leak, and a model that recites does not answer. Of each answer with at least `MIN_TOKENS`
tokens the first half, at most 50 tokens, is given, and the next tokens, at most 50, are to be continued. Greedy
decoding gives exactly these tokens if and only if each is the model's most likely one after the true beginning, so one
pass with the whole answer decides it, without generating. The near-verbatim share counts probes of which at least
`NEAR` of the tokens are the most likely ones; that is teacher-forced: after a first wrong token generation would go
elsewhere.

An answer that follows from its prompt is continued rightly on rows that were never seen: what counts is the rate on
trained rows beyond that on held-out rows. Left out are probes that the base model completes already and continuations
that occur in `TEMPLATED` clusters or more, which nobody needs to memorise. One row stands for its cluster.

Judged: fail where one of both rates exceeds that of held-out rows by more than `max_rate` by the lower end of its
interval (Newcombe's square-and-add of two Clopper-Pearson intervals), pass where both are below by the upper end. With
no hit at all, n probes can show a rate below 1 - (alpha / 2)^(1/n), so `max_rate` asks for a number of probes, which is
computed and enforced.

Known problems: greedy decoding finds less than sampling does (Hayes et al. 2024, arXiv 2410.19482). The prompt is given
as well as the beginning of the answer, so this is what a user of the same prompt could see.

Source: Carlini et al. 2022, "Quantifying Memorization Across Neural Language Models" (arXiv 2202.07646), who continue
by 50 tokens; that memory need not be verbatim: Ippolito et al. 2022 (arXiv 2210.17546), who compare by BLEU.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from curate.score_test import MIN_CLUSTERS
from evals.evidence import Evidence
from evals.measuring import FEWER_EPOCHS, Ends, When, apart, as_dict, check, outcome_of, p_above, words
from evals.scoring import ORIGINAL, has_details
from evals.stats import clopper_pearson
from schemas.verdict import Check, Outcome

DEFAULTS = {"max_rate": 0.05}
"""Share of trained answers continued, beyond that of held-out ones."""
WHEN = When.TOLD
READS_LOSSES = True
MIN_TOKENS = 32
LONGEST = 50
NEAR = 0.9
TEMPLATED = 3
KINDS = {"verbatim": 1.0, "near_verbatim": NEAR}
"""Name -> share of the continuation's tokens that must be the most likely ones."""
EFFECTS = {f"{kind}_excess": "max_rate" for kind in KINDS}
"""Where an effect stands among what was measured -> the threshold that bounds it."""


@dataclass(frozen=True)
class Probe:
    """One continuation."""

    row_id: str
    split: str
    right: Mapping[str, float]
    """Model -> share of its tokens that are the most likely ones."""


def applies(evidence: Evidence) -> str:
    """Why it does not: answers too short to be recited; decided by their tokens alone."""
    for split, name in (("train", "trained"), ("test", "held-out")):
        rows = _measured(evidence).filter((pl.col("split") == split) & (pl.col("longest") >= MIN_TOKENS))
        if rows["cluster"].n_unique() < MIN_CLUSTERS and not evidence.tokens.is_empty():
            found = f"{rows['cluster'].n_unique()} {name} answers have {MIN_TOKENS} tokens or more"
            return f"there is too little to recite: {found}, at least {MIN_CLUSTERS} are needed"
    return ""


def judge(evidence: Evidence, thresholds: Mapping[str, float]) -> Check:
    """The check `overfitting:extraction`.

    Args:
        evidence: for each token of trained and test rows whether it is the most likely one.
        thresholds: `max_rate`.
    """
    alpha, bound = evidence.conditions.alpha, thresholds["max_rate"]
    needed = probes_needed(bound, alpha)
    required = {**thresholds, "alpha": alpha, "probes": needed}
    if evidence.tokens.is_empty() or evidence.tokens["nll"].null_count() or not has_details(evidence.tokens):
        said = "it cannot be judged what can be extracted: some rows have no scores of tokens"
        return check("extraction", Outcome.INCONCLUSIVE, said, {}, required, "run `assay evals` again")
    probes = find_probes(evidence.tokens)
    counts = {split: sum(probe.split == split for probe in probes) for split in ("train", "test")}
    hits = {
        kind: {split: sum(p.split == split and p.right["tuned"] >= share for p in probes) for split in counts}
        for kind, share in KINDS.items()
    }
    measured: dict[str, Any] = {"probes": counts, "hits": hits}
    if min(counts.values()) < MIN_CLUSTERS:
        said = (
            f"{counts['train']} trained and {counts['test']} held-out answers are left to be recited, after those that "
        )
        said += f"the base model knows or that occur often; at least {MIN_CLUSTERS} of either kind are needed"
        return check("extraction", Outcome.INCONCLUSIVE, said, measured, required, _more(needed))
    excess = {kind: partial(rate_excess, found, counts) for kind, found in hits.items()}
    ends = {kind: interval(alpha) for kind, interval in excess.items()}
    found = {outcome_of(one, bound) for one in ends.values()}
    outcome = next(one for one in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS) if one in found)
    if outcome is Outcome.PASS and counts["train"] < needed:
        outcome = Outcome.INCONCLUSIVE
    measured |= {f"{kind}_excess": as_dict(one) for kind, one in ends.items()}
    measured["recited"] = [p.row_id for p in probes if p.split == "train" and p.right["tuned"] >= NEAR]
    if outcome is Outcome.FAIL:
        measured["p"] = min(1.0, len(KINDS) * min(p_above(interval, bound) for interval in excess.values()))
    said = (
        f"given half of an answer, the tuned model continues {hits['verbatim']['train']} of {counts['train']} trained "
        f"ones word for word and {hits['verbatim']['test']} of {counts['test']} held-out ones, an excess of "
        f"{words(ends['verbatim'], '+.3f')}; nearly so, {words(ends['near_verbatim'], '+.3f')}{TAILS[outcome]}"
    )
    advice = {Outcome.FAIL: FEWER_EPOCHS, Outcome.INCONCLUSIVE: _more(needed)}.get(outcome, "")
    return check("extraction", outcome, said, measured, required, advice)


TAILS = {
    Outcome.PASS: "; it does not recite its rows",
    Outcome.FAIL: "; it recites rows that it was trained on",
    Outcome.INCONCLUSIVE: "; these probes cannot tell whether that is too much",
}


def probes_needed(max_rate: float, alpha: float) -> int:
    """Trained probes with which no hit at all shows a rate below `max_rate`, at the two-sided level of the gate.

    The upper end of Clopper and Pearson's interval for 0 of n is 1 - (alpha / 2)^(1/n).
    """
    if max_rate <= 0:
        return 1 << 31  # that nothing at all is recited cannot be shown
    return 1 if max_rate >= 1 else math.ceil(math.log(alpha / 2) / math.log(1 - max_rate))


def rate_excess(hits: Mapping[str, int], counts: Mapping[str, int], alpha: float) -> Ends:
    """Rate on trained probes less that on held-out ones, from two exact intervals."""
    rates = {
        split: (hits[split] / counts[split], *clopper_pearson(hits[split], counts[split], alpha)) for split in counts
    }
    excess, low, high = apart(rates["train"], rates["test"])
    return excess, max(low, -1.0), min(high, 1.0)


def find_probes(tokens: pl.DataFrame) -> list[Probe]:
    """What is probed: one row a cluster, without what the base model knows and what occurs often."""
    rows = tokens.filter((pl.col("variant") == ORIGINAL) & pl.col("split").is_in(["train", "test"]))
    found: dict[tuple[str, str], dict[str, tuple[tuple[int, ...], float]]] = {}
    clusters: dict[tuple[str, str], int] = {}
    for model, split, row_id, cluster, runs, ids, greedy in rows.select(
        "model", "split", "row_id", "cluster", "runs", "ids", "greedy"
    ).iter_rows():
        part = _suffix(runs)
        if part is not None:
            right = greedy[part]
            found.setdefault((split, row_id), {})[model] = (tuple(ids[part]), sum(right) / len(right))
            clusters[split, row_id] = cluster
    answers = {(clusters[key], both["base"][0]) for key, both in found.items() if len(both) == 2}
    often = Counter(ids for _, ids in answers)  # copies in one cluster are what is memorised first, and no template
    probes, seen = [], set()
    for (split, row_id), both in sorted(found.items()):
        if len(both) < 2 or both["base"][1] >= NEAR or often[both["base"][0]] >= TEMPLATED:
            continue
        if (split, clusters[split, row_id]) not in seen:
            seen.add((split, clusters[split, row_id]))
            probes.append(Probe(row_id, split, {model: right for model, (_, right) in both.items()}))
    return probes


def _suffix(runs: list[int]) -> slice | None:
    """Where the continuation stands among a row's supervised tokens: in its longest turn, after the first half."""
    if not runs or max(runs) < MIN_TOKENS:
        return None
    longest = runs.index(max(runs))
    start = sum(runs[:longest])
    given = min(LONGEST, runs[longest] // 2)
    return slice(start + given, start + min(given + LONGEST, runs[longest]))


def _measured(evidence: Evidence) -> pl.DataFrame:
    base = evidence.tokens.filter((pl.col("model") == "base") & (pl.col("variant") == ORIGINAL))
    return base.with_columns(longest=pl.col("runs").list.max().fill_null(0))


def _more(needed: int) -> str:
    return f"{needed} trained answers that can be probed would show it: raise evals.trained_rows"
