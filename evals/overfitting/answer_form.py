"""Answer form: whether the candidate's own answers became much longer or shorter than they should be, or refuse.

Why: a model that forgot how long an answer is, or that refuses what it should answer, may still have a low loss. Judged
are the answers that a suite lets both models generate, against the expected ones: the mean of log(words of the answer /
words of the expected answer), and the share of refusals where no refusal was expected, beyond that of the base model.

Judged: fail where the tuned model's answers are longer or shorter than expected by more than `max_ratio` times and
farther from it than the base model's, or refusals rose by more than `max_refusals`, by the near end of an interval;
pass where both are within by the far end.

Known problems: refusals are recognised by their opening words, as the rule `refusal` of the audit does. Right answers
may be longer than expected ones.

Source: the interval of a length is that of `evals/stats.py`, that of refusals the one of `evals/paired.py`, which keeps
a width where nobody refuses: 40 answers without a refusal do not show a share below 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from curate.rules.refusal import REFUSES
from curate.score_test import MIN_CLUSTERS
from evals.evidence import Evidence
from evals.measuring import Ends, When, as_dict, check, outcome_of, p_above, words
from evals.paired import paired_binary
from evals.stats import Floats, clustered_mean
from schemas.verdict import Check, Outcome

DEFAULTS = {"max_ratio": 2.0, "max_refusals": 0.05}
"""Times longer or shorter than expected; share of answers."""
EFFECTS = {"refusals": "max_refusals"}
"""Where an effect stands among what was measured -> the threshold that bounds it."""
WHEN = When.QUIET
READS_LOSSES = False
HEAD_CHARS = 200
"""Characters from the beginning of an answer that are looked at for a refusal."""
ADVICE = {
    Outcome.FAIL: "look at the answers in the gate's page; mix general rows into training, or train for fewer epochs",
    Outcome.INCONCLUSIVE: "raise evals.limit, so that more answers can be compared",
}


def applies(evidence: Evidence) -> str:
    """Why it does not: no suite lets the models generate."""
    found = _answers(evidence)
    if found.height and found["cluster"].n_unique() >= MIN_CLUSTERS:
        return ""
    return f"no suite lets both models generate answers to {MIN_CLUSTERS} independent items"


def judge(evidence: Evidence, thresholds: Mapping[str, float]) -> Check:
    """The check `overfitting:answer-form`.

    Args:
        evidence: generated answers of base and tuned, with the expected ones.
        thresholds: `max_ratio` and `max_refusals`.
    """
    alpha, rows = evidence.conditions.alpha, _answers(evidence)
    clusters = rows["cluster"].to_numpy()
    tuned, base = (_log_ratios(rows, model) for model in ("tuned", "base"))
    sign = 1.0 if tuned.mean() >= 0 else -1.0
    ours, theirs = (_refusals(rows, model) for model in ("tuned", "base"))

    def length(level: float) -> Ends:
        found = clustered_mean(sign * tuned, clusters, level)
        return found.estimate, found.low, found.high

    def refused(level: float) -> Ends:
        found = paired_binary(ours, theirs, clusters, level)
        return found.estimate, found.low, found.high

    far = math.log(max(thresholds["max_ratio"], 1.0))
    nearer = abs(float(tuned.mean())) <= abs(float(base.mean()))  # it came closer to what is expected
    claims = [] if nearer else [(length, far)]
    claims.append((refused, thresholds["max_refusals"]))
    found = {outcome_of(interval(alpha), bound) for interval, bound in claims}
    outcome = next(one for one in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS) if one in found)
    ratios = {name: math.exp(float(one.mean())) for name, one in (("tuned", tuned), ("base", base))}
    measured: dict[str, Any] = {
        "ratio": {name: round(ratio, 6) for name, ratio in ratios.items()},
        "log_distance": as_dict(length(alpha)),
        "refusals": as_dict(refused(alpha)),
        "items": rows.height,
    }
    if outcome is Outcome.FAIL:
        measured["p"] = min(1.0, len(claims) * min(p_above(interval, bound) for interval, bound in claims))
    said = (
        f"the tuned model's {rows.height} answers are {ratios['tuned']:.2f} times as long as expected, the base's "
        f"{ratios['base']:.2f} times; refusals rose by {words(refused(alpha), '+.3f')}"
    )
    return check("answer_form", outcome, said, measured, {**thresholds, "alpha": alpha}, ADVICE.get(outcome, ""))


def _answers(evidence: Evidence) -> pl.DataFrame:
    """One line an item: cluster, target, what base and tuned generated."""
    tasks = [task for task, about in evidence.results.tasks.items() if about.get("output_type") == "generate_until"]
    rows = evidence.items.filter(pl.col("task").is_in(tasks) & (pl.col("run") == 0) & (pl.col("sample") == 0))
    usable = rows.filter(pl.col("score").is_not_null()).select(
        "task", "item_id", "cluster", "target", "model", "prediction"
    )
    sides = [usable.filter(pl.col("model") == model).drop("model") for model in ("base", "tuned")]
    keys = ["task", "item_id"]
    return sides[0].rename({"prediction": "base"}).join(sides[1].select(*keys, tuned="prediction"), on=keys).sort(keys)


def _log_ratios(rows: pl.DataFrame, model: str) -> Floats:
    """One more than the words of either side, so that an empty answer has a ratio."""
    pairs = rows.select(model, "target").fill_null("").iter_rows()
    return np.array([math.log((1 + len(said.split())) / (1 + len(wanted.split()))) for said, wanted in pairs])


def _refusals(rows: pl.DataFrame, model: str) -> Floats:
    """Whether each answer refuses where the expected one does not."""
    refuses = (pl.col(name).fill_null("").str.head(HEAD_CHARS).str.contains(REFUSES) for name in (model, "target"))
    said, wanted = refuses
    found: Floats = rows.select((said & ~wanted).cast(pl.Float64)).to_series().to_numpy()
    return found
