"""Perturbation: whether trained rows lose more than held-out ones when their prompts are written in another way.

Why: a model that learned the task answers a question whatever its case, spacing, frame, order of options or numbers;
one that learned its rows knows their very words. The fall is the rise of an answer's loss from the row as it is to the
row written otherwise (`evals/variants.py`), averaged over the ways that apply to a row. The gap is the fall of trained
rows less that of held-out rows under the tuned model, less the same under the base model: what any model loses by odd
spelling cancels.

Judged: fail where the gap is above `max_gap` by the lower end of its interval, pass where it is below by the upper end.
It costs a pass for each row and way, so it is judged only where the config names it.

Known problems: rules do not paraphrase as people do. Where case or spacing carry meaning (code), both models lose.

Source: changed values in known problems: Mirzadeh et al. 2024, "GSM-Symbolic" (arXiv 2410.05229); new problems of the
same kind: Zhang et al. 2024, "A Careful Examination of Large Language Model Performance on Grade School Arithmetic"
(arXiv 2405.00332).
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
from evals.scoring import ORIGINAL
from evals.stats import Floats, cluster_totals
from schemas.verdict import Check, Outcome

DEFAULTS = {"max_gap": 0.5}
"""Nats an answer."""
EFFECTS = {"gap": "max_gap"}
"""Where an effect stands among what was measured -> the threshold that bounds it."""
WHEN = When.NAMED
READS_LOSSES = True


def applies(evidence: Evidence) -> str:
    """Why it does not: no row was written in another way."""
    if not evidence.tokens.is_empty() and (evidence.tokens["variant"] == ORIGINAL).all():
        return "no row was read in another way: no prompt could be changed, or this evaluation did not ask for it"
    return ""


def judge(evidence: Evidence, thresholds: Mapping[str, float]) -> Check:
    """The check `overfitting:perturbation`.

    Args:
        evidence: losses of base and tuned on rows as they are and written otherwise.
        thresholds: `max_gap`.
    """
    alpha, bound = evidence.conditions.alpha, thresholds["max_gap"]
    required = {**thresholds, "alpha": alpha, "min_clusters": MIN_CLUSTERS}
    if evidence.tokens.is_empty():
        said = "it cannot be judged whether trained rows are known by their words: no scores of tokens were kept"
        return check("perturbation", Outcome.INCONCLUSIVE, said, {}, required, "run `assay evals` again")
    rows, broken = _falls(evidence.tokens)
    samples = [rows.filter(pl.col("split") == split) for split in ("train", "test")]
    fewest = min(sample["cluster"].n_unique() for sample in samples)
    if broken or fewest < MIN_CLUSTERS:
        reason = f"{broken} rows have no loss" if broken else f"{fewest} independent rows of a kind could be changed"
        said = f"it cannot be judged whether trained rows are known by their words: {reason}"
        return check("perturbation", Outcome.INCONCLUSIVE, said, {}, required, MORE_ROWS)
    strata = [_totals(sample) for sample in samples]

    def gap(level: float) -> Ends:
        return bca(strata, _gap, level, evidence.seed)

    ends = gap(alpha)
    outcome = outcome_of(ends, bound)
    measured: dict[str, Any] = {
        "gap": as_dict(ends),
        "fall": {
            model: {
                split: round(float(np.mean(sample[model].to_numpy())), 6)
                for split, sample in zip(("train", "test"), samples, strict=True)
            }
            for model in ("base", "tuned")
        },
        "rows": [sample.height for sample in samples],
        "ways": dict(evidence.tokens.filter(pl.col("model") == "tuned")["variant"].value_counts(sort=True).iter_rows()),
    }
    if outcome is Outcome.FAIL:
        measured["p"] = p_above(gap, bound)
    fall = measured["fall"]["tuned"]
    said = (
        f"written otherwise, a trained answer loses {fall['train']:.3f} nats and a held-out one {fall['test']:.3f}; "
        f"beyond what the base model loses, the gap is {words(ends, '+.3f')}{TAILS[outcome]}"
    )
    advice = {Outcome.FAIL: FEWER_EPOCHS, Outcome.INCONCLUSIVE: MORE_ROWS}.get(outcome, "")
    return check("perturbation", outcome, said, measured, required, advice)


TAILS = {
    Outcome.PASS: "; it knows what its rows say and not how they say it",
    Outcome.FAIL: "; it knows its rows by their very words",
    Outcome.INCONCLUSIVE: "; these rows cannot tell whether that is too much",
}


def _falls(tokens: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """One line a row that was changed: split, cluster, mean fall under base and tuned; and how many have no loss."""
    keys = ["model", "split", "row_id"]
    changed = tokens.filter(pl.col("variant") != ORIGINAL)
    plain = tokens.filter(pl.col("variant") == ORIGINAL).select(*keys, plain="nll")
    both = changed.join(plain, on=keys, how="left").with_columns(fall=pl.col("nll") - pl.col("plain"))
    broken = both.height - int(both["fall"].is_finite().sum())
    means = both.group_by(*keys, "cluster").agg(pl.col("fall").mean())
    wide = means.pivot("model", index=["split", "row_id", "cluster"], values="fall").sort("split", "row_id")
    return wide, broken


def _totals(sample: pl.DataFrame) -> Floats:
    """(clusters, 3): summed falls of base and of tuned, rows."""
    columns = sample.select("base", "tuned", rows=pl.lit(1.0)).to_numpy().astype(np.float64)
    return cluster_totals(columns, sample["cluster"].to_numpy())[1]


def _gap(sums: Sequence[Floats]) -> Floats:
    train, test = ((one[..., 1] - one[..., 0]) / one[..., 2] for one in sums)
    gap: Floats = train - test
    return gap
