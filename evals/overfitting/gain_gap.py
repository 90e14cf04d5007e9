"""Gain gap: how much better the model answers rows that it was trained on than rows that it was not.

Why: training on a row lowers its loss for two reasons, the task was learned and the row was. Rows that were held out
show the first alone. The gap is the tuned model's mean loss of an answer on test rows less that on trained rows, after
what the base model's loss on the same rows explains: each side is corrected by `slope` times its mean base loss. A
slope of 1 is the difference in differences of the gain over the base model, a slope of 0 no correction. The slope is
that of the regression of tuned on base loss within the two samples, kept in [0, 1]: where the base model's losses say
little about the tuned model's, as in classification by a word that the base model never says, subtracting them whole
would add nothing but noise. Losses are in nats for a whole answer, in evaluation mode, with the template, mask and
truncation of training; intervals resample whole clusters of near-duplicates.

Judged twice, because one number misleads at either end. `max_gap` bounds the gap itself, in nats an answer: below it a
trained answer is hardly more probable than a new one (0.2 is a factor of 1.22). `max_share` bounds the gap as a share
of the loss that is left on test rows: long answers add up to large gaps that are small beside their loss, and where
most of the loss on new rows is the gap, most of what the model knows, it knows about its own rows. Fail: both are above
their bounds, each by the lower end of its interval. Pass: one of them is below its bound by the upper end. Whether new
rows became worse is judged by `heldout`. Reported and not judged: the plain difference in differences in nats a token,
and the transfer ratio (gain on test rows / gain on trained rows), which learning to answer in the right form dominates.

Known problems: near-duplicates of trained rows in the test split make the gap look small (the split proof rules that
out); trained rows that differ in kind from test rows make it look large (here both come from one split).

Source: Lin 2013 (Annals of Applied Statistics 7:295-318) on regression adjustment in comparisons of random samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from curate.score_test import MIN_CLUSTERS
from evals.bootstrap import bca
from evals.evidence import Evidence
from evals.measuring import FEWER_EPOCHS, MORE_ROWS, Ends, When, as_dict, check, outcome_of, p_above, words
from evals.stats import Floats, cluster_totals
from schemas.verdict import Check, Outcome

DEFAULTS = {"max_gap": 0.2, "max_share": 0.5}
"""Nats an answer; share of the tuned model's loss on test rows."""

SPLITS = ("train", "test")
BASE, TUNED, TOKENS, ROWS = range(4)
"""Columns of the sums over a cluster."""
MODELS = (("base", BASE), ("tuned", TUNED))

EFFECTS = {"gap": "max_gap", "share": "max_share"}
"""Where an effect stands among what was measured -> the threshold that bounds it."""
WHEN = When.ALWAYS
READS_LOSSES = True
ADVICE = {Outcome.FAIL: FEWER_EPOCHS, Outcome.INCONCLUSIVE: MORE_ROWS}


def applies(evidence: Evidence) -> str:
    """Why it does not; it always does."""
    return ""


def judge(evidence: Evidence, thresholds: Mapping[str, float]) -> Check:
    """The check `overfitting:gain-gap`.

    Args:
        evidence: losses of base and tuned on samples of the trained and of the test rows.
        thresholds: `max_gap` and `max_share`.
    """
    alpha, seed = evidence.conditions.alpha, evidence.seed
    required = {**thresholds, "alpha": alpha, "min_clusters": MIN_CLUSTERS}
    rows = paired(evidence.losses)
    broken = rows.filter(~(pl.col("base").is_finite() & pl.col("tuned").is_finite()).fill_null(False)).height
    samples = {split: rows.filter(pl.col("split") == split) for split in SPLITS}
    counts = {f"{split}_rows": sample.height for split, sample in samples.items()}
    counts |= {f"{split}_clusters": sample["cluster"].n_unique() for split, sample in samples.items()}
    reason = _too_little(counts, broken)
    if reason:
        said = f"it cannot be judged whether the model learned its rows by heart: {reason}"
        return check("gain_gap", Outcome.INCONCLUSIVE, said, counts, required, MORE_ROWS)
    strata = [_totals(samples[split]) for split in SPLITS]
    slope = explained_slope(rows)

    def gap(level: float) -> Ends:
        return bca(strata, lambda sums: _gap(sums, slope), level, seed)

    def share(level: float) -> Ends:
        return bca(strata, lambda sums: _gap(sums, slope) / _mean(sums[1], TUNED), level, seed)

    ends = {
        "gap": gap(alpha),
        "share": share(alpha),
        "test_gain": bca(strata[1:], lambda sums: _mean(sums[0], BASE) - _mean(sums[0], TUNED), alpha, seed),
        "gain_difference_per_token": bca(strata, lambda sums: _gain(sums[0]) - _gain(sums[1]), alpha, seed),
    }
    outcome = _outcome(ends["gap"], ends["share"], thresholds)
    sums = dict(zip(SPLITS, (stratum.sum(axis=0) for stratum in strata), strict=True))
    gains = {split: float(_gain(total)) for split, total in sums.items()}
    measured: dict[str, Any] = {name: as_dict(values) for name, values in ends.items()}
    measured |= {
        "slope": round(slope, 6),
        "transfer_ratio": round(gains["test"] / gains["train"], 6) if gains["train"] > 0 else None,
        "loss_per_answer": {name: _losses(sums, column, ROWS) for name, column in MODELS},
        "loss": {name: _losses(sums, column, TOKENS) for name, column in MODELS},  # nats a token
        **counts,
    }
    if outcome is Outcome.FAIL:  # both bounds must be passed, so the weaker claim decides
        measured["p"] = max(p_above(gap, thresholds["max_gap"]), p_above(share, thresholds["max_share"]))
    said = _message(outcome, measured, thresholds, alpha)
    return check("gain_gap", outcome, said, measured, required, ADVICE.get(outcome, ""))


def paired(losses: pl.DataFrame) -> pl.DataFrame:
    """One line a row: split, row_id, cluster, tokens, loss of base and of tuned (nats, summed over the answer)."""
    keys = ["split", "row_id"]
    sides = [
        losses.filter(pl.col("model") == model).select(*keys, "cluster", "tokens", pl.col("nll").alias(model))
        for model in ("base", "tuned")
    ]
    return sides[0].join(sides[1].select(*keys, "tuned"), on=keys, how="left").filter(pl.col("tokens") > 0)


def explained_slope(rows: pl.DataFrame) -> float:
    """How far the base model's loss of a row predicts the tuned model's, within the samples: a slope in [0, 1]."""
    centred = rows.select(
        (pl.col("base") - pl.col("base").mean().over("split")).alias("base"),
        (pl.col("tuned") - pl.col("tuned").mean().over("split")).alias("tuned"),
    )
    base, tuned = centred["base"].to_numpy(), centred["tuned"].to_numpy()
    spread = float(base @ base)
    return min(max(float(base @ tuned) / spread, 0.0), 1.0) if spread > 0 else 0.0


def _too_little(counts: Mapping[str, int], broken: int) -> str:
    for split, name in (("train", "trained"), ("test", "test")):
        found = counts[f"{split}_clusters"]
        if found < MIN_CLUSTERS:
            return f"{found} independent {name} rows were scored, at least {MIN_CLUSTERS} are needed"
    return f"{broken} rows have no loss for one of the models" if broken else ""


def _totals(sample: pl.DataFrame) -> Floats:
    """(clusters, 4): summed loss of base, of tuned, supervised tokens, rows."""
    columns = sample.select("base", "tuned", pl.col("tokens").cast(pl.Float64), rows=pl.lit(1.0))
    return cluster_totals(columns.to_numpy().astype(np.float64), sample["cluster"].to_numpy())[1]


def _mean(sums: Floats, column: int) -> Floats:
    """Nats an answer."""
    mean: Floats = np.maximum(sums[..., column], 1e-9) / sums[..., ROWS]
    return mean


def _gain(sums: Floats) -> Floats:
    """Gain over the base, nats a token."""
    gain: Floats = (sums[..., BASE] - sums[..., TUNED]) / sums[..., TOKENS]
    return gain


def _gap(sums: Sequence[Floats], slope: float) -> Floats:
    train, test = sums
    gap: Floats = _mean(test, TUNED) - _mean(train, TUNED) - slope * (_mean(test, BASE) - _mean(train, BASE))
    return gap


def _outcome(gap: Ends, share: Ends, thresholds: Mapping[str, float]) -> Outcome:
    found = {outcome_of(gap, thresholds["max_gap"]), outcome_of(share, thresholds["max_share"])}
    if Outcome.PASS in found:
        return Outcome.PASS
    return Outcome.INCONCLUSIVE if Outcome.INCONCLUSIVE in found else Outcome.FAIL


def _message(outcome: Outcome, measured: Mapping[str, Any], thresholds: Mapping[str, float], alpha: float) -> str:
    tuned, gap, share = measured["loss_per_answer"]["tuned"], measured["gap"], measured["share"]
    said = (
        f"a trained answer costs the tuned model {tuned['train']:.3f} nats, one that was not {tuned['test']:.3f}; "
        f"the gap beyond what the base model explains is {words(gap, '+.3f')} ({1 - alpha:.0%} interval), "
        f"{words(share, '.2f')} of the loss on new rows"
    )
    if outcome is Outcome.FAIL:
        return f"{said}; most of what it knows, it knows about its own rows"
    if outcome is Outcome.PASS:
        return f"{said}; what it learned carries over to rows that it never saw"
    bounds = f"{thresholds['max_gap']:g} nats and {thresholds['max_share']:g} of the loss"
    return f"{said}; these rows cannot tell whether it is above both {bounds}"


def _losses(sums: Mapping[str, Floats], column: int, unit: int) -> dict[str, float]:
    return {split: round(float(total[column] / total[unit]), 6) for split, total in sums.items()}
