"""Membership: whether the tuned model tells the rows that it was trained on from rows that it was not.

Why: a model that does has kept something of single rows, even where the mean losses are close. Two scores are judged:
the loss of a token, and Min-K%++, the mean of a row's least token scores, each standardised over the vocabulary. What
counts is the area under the ROC curve of the tuned model beyond that of the base model on the same rows, so that rows
which differ in difficulty are no memory. Reported and not judged: the area of the loss calibrated by the base model's,
and the share of trained rows that are found with one false alarm in a hundred, beyond that of the base model, with a
percentile interval that resamples clusters; of fewer than 100 independent held-out rows no such rate is computed.

Judged: fail where one excess is above `max_excess` by the lower end of its interval; pass where both are below by the
upper end. Some excess is no fault: every fine-tuned model prefers its rows a little, and after several epochs more.

Known problems: rows of one cluster count as one where intervals are made, but not in the area. A rate at one false
alarm in a hundred rests on the few held-out rows that look most like trained ones. A quantised copy of the model may
show less than the weights do.

Source: Zhang et al. 2024, "Min-K%++" (arXiv 2404.02936); calibration by a reference: Watson et al. 2021 (arXiv
2111.08440); the rate at few false alarms: Carlini et al. 2021, "Membership Inference Attacks From First Principles"
(arXiv 2112.03570); intervals: Obuchowski 1997 (Biometrics 53:567-578).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import polars as pl

from curate.score_test import MIN_CLUSTERS
from evals.evidence import Evidence
from evals.measuring import FEWER_EPOCHS, MORE_ROWS, Ends, When, as_dict, check, outcome_of, p_above, words
from evals.membership_scores import SCORES, membership_samples
from evals.ranks import Area, Sample, area, rate_at, rate_excess_ends
from evals.scoring import ORIGINAL, SPLITS, has_details
from schemas.verdict import Check, Outcome

DEFAULTS = {"max_excess": 0.2}
"""Area beyond that of the base model: 0.7 where the base model tells nothing."""
EFFECTS = {f"{score}.excess": "max_excess" for score in SCORES}
"""Where an effect stands among what was measured -> the threshold that bounds it."""
WHEN = When.TOLD
READS_LOSSES = True
FALSE_ALARMS = 0.01


def applies(evidence: Evidence) -> str:
    """Why it does not; it does wherever rows have loss."""
    return ""


def judge(evidence: Evidence, thresholds: Mapping[str, float]) -> Check:
    """The check `overfitting:membership`.

    Args:
        evidence: token scores of base and tuned on trained and on test rows.
        thresholds: `max_excess`.
    """
    alpha, bound = evidence.conditions.alpha, thresholds["max_excess"]
    required = {**thresholds, "alpha": alpha, "min_clusters": MIN_CLUSTERS}
    shown = evidence.tokens if has_details(evidence.tokens) else evidence.tokens.clear()
    samples = {
        (model, score): membership_samples(shown, model, score) for model in ("base", "tuned") for score in SCORES
    }
    reason = _too_little(evidence, samples)
    if reason:
        said = f"it cannot be judged whether the model tells its rows from others: {reason}"
        return check("membership", Outcome.INCONCLUSIVE, said, {}, required, MORE_ROWS)
    areas = {key: area(*pair) for key, pair in samples.items()}
    excess = {score: partial(areas["tuned", score].excess, areas["base", score]) for score in SCORES}
    ends: dict[str, Ends] = {score: interval(alpha) for score, interval in excess.items()}
    found = {outcome_of(one, bound) for one in ends.values()}
    outcome = next(one for one in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS) if one in found)
    measured: dict[str, Any] = {
        score: {
            "excess": as_dict(ends[score]),
            "area": {model: round(areas[model, score].estimate, 6) for model in ("base", "tuned")},
            "found_at_one_false_alarm_in_100": _rates(samples, score, alpha, evidence.seed),
        }
        for score in SCORES
    }
    measured["calibrated_loss_area"] = as_dict(_calibrated(samples).interval(alpha))
    sizes = [len(sample.scores) for sample in samples["base", "loss"]]
    measured |= {"train_rows": sizes[0], "test_rows": sizes[1]}
    if outcome is Outcome.FAIL:
        measured["p"] = min(1.0, len(SCORES) * min(p_above(interval, bound) for interval in excess.values()))
    told = ", ".join(f"{SCORES[score]} {words(ends[score], '+.3f')}" for score in SCORES)
    said = f"telling trained from held-out rows, the area under the tuned model's curve exceeds the base's by: {told}"
    advice = {Outcome.FAIL: FEWER_EPOCHS, Outcome.INCONCLUSIVE: MORE_ROWS}.get(outcome, "")
    return check("membership", outcome, f"{said}{TAILS[outcome]}", measured, required, advice)


TAILS = {
    Outcome.PASS: "; single rows left little trace",
    Outcome.FAIL: "; it knows which rows it was trained on",
    Outcome.INCONCLUSIVE: "; these rows cannot tell whether that is too much",
}


def _too_little(evidence: Evidence, samples: Mapping[tuple[str, str], tuple[Sample, Sample]]) -> str:
    if evidence.tokens.is_empty():
        return "this evaluation kept no scores of tokens; run `assay evals` again"
    if not has_details(evidence.tokens):
        return "the backend gives losses of rows and no scores of tokens"
    for place, name in enumerate(("trained", "test")):
        rows = {tuple(pair[place].rows) for pair in samples.values()}
        asked = evidence.tokens.filter(
            pl.col("split") == SPLITS[place], pl.col("variant") == ORIGINAL, pl.col("tokens") > 0
        )
        if rows != {tuple(asked["row_id"].unique().sort())}:
            return f"some {name} rows have no loss for one of the models"
        clusters = len(set(samples["base", "loss"][place].clusters.tolist()))
        if clusters < MIN_CLUSTERS:
            return f"{clusters} independent {name} rows were scored, at least {MIN_CLUSTERS} are needed"
    return ""


def _rates(
    samples: Mapping[tuple[str, str], tuple[Sample, Sample]], score: str, alpha: float, seed: int
) -> dict[str, Any] | None:
    """Share of trained rows that each model finds, and the excess; null for too few held-out rows."""
    pairs = [samples[model, score] for model in ("base", "tuned")]
    shares = [rate_at(*pair, FALSE_ALARMS) for pair in pairs]
    if None in shares:
        return None
    low, high = rate_excess_ends(pairs[1], pairs[0], FALSE_ALARMS, alpha, seed)
    base, tuned = (float(share or 0.0) for share in shares)
    return {"base": round(base, 6), "tuned": round(tuned, 6), "excess": as_dict((tuned - base, low, high))}


def _calibrated(samples: Mapping[tuple[str, str], tuple[Sample, Sample]]) -> Area:
    """Of the gain over the base model; rows are in the same order for both."""
    pairs = zip(samples["tuned", "loss"], samples["base", "loss"], strict=True)
    trained, held_out = (Sample(tuned.scores - base.scores, tuned.clusters, tuned.rows) for tuned, base in pairs)
    return area(trained, held_out)
