"""Artifact: whether what was measured is what training made.

An adapter that was trained on a base model in 4 bits (QLoRA) is measured on the base model in full precision. It was
trained around the errors of those bits, so a copy that ships in 4 bits, or that is merged and quantised again, may
answer otherwise. The verdict says so; it is no fault of the comparison, as both models are measured alike.
"""

from __future__ import annotations

from evals.evidence import Evidence
from schemas.verdict import Check, Outcome

NAME = "control:artifact"
UNDERMINES = ("answer_form", "drift", "extraction", "gain_gap", "heldout", "membership", "perturbation")


def judge(evidence: Evidence) -> Check:
    """The check `control:artifact`."""
    facts = evidence.results.overfitting.get("artifact")
    if not facts:
        said = "this evaluation does not say what training made"
        return Check(name=NAME, outcome=Outcome.NOT_APPLICABLE, message=said)
    measured = {**facts, "undermines": UNDERMINES}
    whole = "the model with all its weights" if facts["whole"] else "the adapter on its base model"
    said = f"measured was {whole}, as training published it"
    if facts["quantization"]:
        said = f"measured was {whole} in full precision, and it was trained on one in {facts['quantization']}: a copy "
        said += "that ships quantised, or merged and quantised, may answer otherwise"
    return Check(name=NAME, outcome=Outcome.PASS, message=said, measured=measured)
