"""Splits: whether a held-out row was trained, and whether one is nearly a trained one.

The rows that training says it read are compared with all rows of the test split by what they say, whatever their case
and white space; near-duplicates are those of the dataset's split proof. A held-out row that was trained is a fault by
itself, which no measurement on these rows can repair: it makes memory look like learning. So the check fails.
"""

from __future__ import annotations

from evals.evidence import Evidence
from schemas.terminal import printable
from schemas.verdict import Check, Outcome

NAME = "control:splits"
UNDERMINES = ("extraction", "gain_gap", "heldout", "membership", "perturbation")
SHOWN = 3


def judge(evidence: Evidence) -> Check:
    """The check `control:splits`."""
    facts = evidence.results.overfitting
    copies, proof = facts.get("held_out_rows_trained"), facts.get("split_proof")
    if not copies:
        return _check(
            Outcome.INCONCLUSIVE,
            "this evaluation does not say which rows were trained",
            {},
            "run `assay evals` again",
        )
    measured = {"held_out_rows_trained": copies, "split_proof": proof}
    listed = facts["trained_rows"]["listed"]
    owner = "" if listed else "; training left no list of its rows, so the whole train split was taken for them"
    owner += "; provenance unverified: which rows were trained is what their owner says" if facts["unverified"] else ""
    if copies["rows"]:
        shown = ", ".join(printable(f"{one['test']} is {one['train']}") for one in copies["shown"][:SHOWN])
        said = f"{copies['rows']:,} of {copies['of']:,} held-out rows were trained: {shown}{owner}"
        return _check(Outcome.FAIL, said, measured, "take them out of the train split, and train again")
    rows = facts["trained_rows"]
    if rows.get("comparable", rows["rows"]) < rows["rows"]:
        owner += f"; held-out rows are compared with the {rows['comparable']:,} trained rows that are like them in kind"
    said = f"none of {copies['of']:,} held-out rows is among the {facts['trained_rows']['rows']:,} that were trained"
    if proof is None:
        said += ", and the dataset has no proof that none is nearly one"
        return _check(Outcome.INCONCLUSIVE, said + owner, measured, "make the splits with `assay curate`")
    if proof["pairs"]:
        said += f", but {proof['pairs']:,} pairs of rows in different splits are nearly the same"
        return _check(Outcome.INCONCLUSIVE, said + owner, measured, "make the splits with `assay curate`")
    return _check(Outcome.PASS, f"{said}, and none is nearly one{owner}", measured, "")


def _check(outcome: Outcome, message: str, measured: dict[str, object], advice: str) -> Check:
    return Check(
        name=NAME, outcome=outcome, message=message, measured={**measured, "undermines": UNDERMINES}, help=advice
    )
