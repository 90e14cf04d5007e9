"""Drift: how far training moved the model on text that has nothing to do with the task.

Why: what is not in the rows is not practised, and fine-tuning forgets some of it. The rise is the change of bits per
byte on neutral text, as a share of the base model's; bytes are the same for every tokenizer, which perplexity's tokens
are not. The mean KL(base || tuned) of a token says how far the two distributions part even where the loss stays. Both
models read each text once, in turn, and no distribution is kept. Intervals resample documents.

Judged: fail where the rise is above `max_rise` by the lower end of its interval, pass where it is below by the upper
end. The divergence is reported and not judged: a model may well speak otherwise without knowing less.

Known problems: neutral text shows forgetting of language, not of one skill; a suite with `must: not_regress` shows
that. The default text is English prose about a programming language; `evals.general_text` takes files of your own.

Source: LoRA forgets less than full fine-tuning and more than nothing: Biderman et al. 2024, "LoRA Learns Less and
Forgets Less" (arXiv 2405.09673).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from curate.score_test import MIN_CLUSTERS
from evals.bootstrap import bca
from evals.evidence import Evidence
from evals.measuring import Ends, When, as_dict, check, outcome_of, p_above, words
from schemas.verdict import Check, Outcome

DEFAULTS = {"max_rise": 0.25}
"""Share of the base model's bits per byte. A model for one task drifts; lower it for an assistant."""
EFFECTS = {"rise": "max_rise"}
"""Where an effect stands among what was measured -> the threshold that bounds it."""
WHEN = When.ALWAYS
READS_LOSSES = True
ADVICE = {
    Outcome.FAIL: "mix general rows into training, train for fewer epochs, or lower the learning rate or the rank",
    Outcome.INCONCLUSIVE: "give more text in evals.general_text: each paragraph is a document",
}


def applies(evidence: Evidence) -> str:
    """Why it does not; it always does."""
    return ""


def judge(evidence: Evidence, thresholds: Mapping[str, float]) -> Check:
    """The check `overfitting:drift`.

    Args:
        evidence: losses and divergence on neutral text.
        thresholds: `max_rise`.
    """
    alpha = evidence.conditions.alpha
    required = {**thresholds, "alpha": alpha, "min_clusters": MIN_CLUSTERS}
    usable = evidence.general.filter(pl.all_horizontal(pl.col("base", "tuned", "kl").is_finite().fill_null(False)))
    counts = {"documents": evidence.general.height, "failed": evidence.general.height - usable.height}
    if usable.height < MIN_CLUSTERS or counts["failed"]:
        few = f"{usable.height} documents were scored, at least {MIN_CLUSTERS} are needed"
        few += "" if counts["documents"] else "; a backend does not show whole distributions"
        reason = f"a model failed on {counts['failed']} documents" if counts["failed"] else few
        said = f"it cannot be judged what was forgotten: {reason}"
        return check("drift", Outcome.INCONCLUSIVE, said, counts, required, "run `assay evals` again")
    columns = usable.select("base", "tuned", "kl", "tokens", "bytes").to_numpy().astype(np.float64)

    def rise(level: float) -> Ends:
        return bca([columns], lambda sums: sums[0][..., 1] / sums[0][..., 0] - 1, level, evidence.seed)

    ends = rise(alpha)
    kl = bca([columns], lambda sums: sums[0][..., 2] / sums[0][..., 3], alpha, evidence.seed)
    total = columns.sum(axis=0)
    bits = {name: float(total[place] / total[4] / math.log(2)) for place, name in enumerate(("base", "tuned"))}
    outcome = outcome_of(ends, thresholds["max_rise"])
    measured: dict[str, Any] = {
        "rise": as_dict(ends),
        "kl_per_token": as_dict(kl),
        "bits_per_byte": {name: round(value, 6) for name, value in bits.items()},
        **counts,
    }
    if outcome is Outcome.FAIL:
        measured["p"] = p_above(rise, thresholds["max_rise"])
    said = (
        f"on neutral text the base model needs {bits['base']:.3f} bits a byte, the tuned model {bits['tuned']:.3f}: a "
        f"change of {words(ends, '+.1%')}; their next words differ by {kl[0]:.3f} nats a token"
    )
    return check("drift", outcome, f"{said}{TAILS[outcome]}", measured, required, ADVICE.get(outcome, ""))


TAILS = {
    Outcome.PASS: "; it still knows what it knew",
    Outcome.FAIL: "; it forgot a part of what it knew",
    Outcome.INCONCLUSIVE: "; this text cannot tell whether that is too much",
}
