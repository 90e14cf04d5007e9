"""Canaries trained: whether every canary that a run inserted received loss, as often as it says.

A canary that was masked, cut or packed away is never learned, and its absence from memory would be taken for safety.
Training's ledger says for each how often an epoch held it and how many of its tokens carried loss.
"""

from __future__ import annotations

from evals.evidence import Evidence
from schemas.verdict import Check, Outcome

NAME = "control:canaries-trained"
UNDERMINES = ("canaries",)
SHOWN = 3


def judge(evidence: Evidence) -> Check:
    """The check `control:canaries-trained`."""
    facts = evidence.results.overfitting.get("canaries")
    if not facts:
        said = "the run inserted no canaries"
        return Check(name=NAME, outcome=Outcome.NOT_APPLICABLE, message=said)
    unproven = facts["unproven"]
    inserted = sum(facts["inserted"].values())
    measured = {**facts, "undermines": UNDERMINES}
    if unproven:
        said = f"{len(unproven)} of {inserted} canaries did not receive loss as often as they should: "
        said += ", ".join(unproven[:SHOWN])
        advice = "raise train.max_length, so that none is cut, and train again"
        return Check(name=NAME, outcome=Outcome.INCONCLUSIVE, message=said, measured=measured, help=advice)
    said = f"all {inserted} canaries received loss, each as often as it was to"
    return Check(name=NAME, outcome=Outcome.PASS, message=said, measured=measured)
