"""What the proofs of a release say together, in one outcome and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evals.release.judged import reasons
from schemas.base import fingerprint
from schemas.manifest import InputRef
from schemas.release import ReleasedTarget, SmokeTest
from schemas.verdict import Check, Outcome, combine

SMOKE = "smoke test"


def digests(inputs: Iterable[InputRef]) -> dict[str, str]:
    """Role -> sha256 of the inputs of a stage; several of one role are told by a digest of theirs."""
    found: dict[str, list[str]] = {}
    for ref in inputs:
        found.setdefault(ref.role, []).append(ref.identity)
    return {role: same[0] if len(same) == 1 else fingerprint(sorted(same)) for role, same in sorted(found.items())}


def parts(proven: Sequence[ReleasedTarget], tested: SmokeTest | None) -> dict[str, tuple[Outcome, tuple[Check, ...]]]:
    """Name -> outcome and checks of every proof: one for each target, and the smoke test."""
    found = {target.name: (target.equivalence.outcome, target.equivalence.checks) for target in proven}
    return found | ({} if tested is None else {SMOKE: (tested.outcome, tested.checks)})


def judge(proven: Sequence[ReleasedTarget], tested: SmokeTest | None) -> Outcome:
    """All proofs together; no target at all is inconclusive."""
    if not proven:
        return Outcome.INCONCLUSIVE
    return combine(outcome for outcome, _ in parts(proven, tested).values())


def summary(proven: Sequence[ReleasedTarget], tested: SmokeTest | None) -> str:
    """The outcome in one sentence without a full stop."""
    found = parts(proven, tested)
    failed = [name for name, (outcome, _) in found.items() if outcome is Outcome.FAIL]
    unsure = [name for name, (outcome, _) in found.items() if outcome not in (Outcome.FAIL, Outcome.PASS)]
    if failed:
        return f"{' and '.join(failed)} did not answer like the model that was judged"
    if unsure or not found:
        return f"{' and '.join(unsure) or 'nothing'} could not be proven to answer like the model that was judged"
    return f"{', '.join(found)}: proven to answer like the model that was judged"


def against(proven: Sequence[ReleasedTarget], tested: SmokeTest | None) -> list[str]:
    """A line for each check that keeps the release back, with the target that it is about."""
    found = parts(proven, tested)
    return [f"{name}: {line}" for name, (_, checks) in found.items() for line in reasons(checks)]


def advice(proven: Sequence[ReleasedTarget], tested: SmokeTest | None) -> str:
    """What a person can do about a release that is kept back."""
    found = parts(proven, tested)
    behind = [name for name, (outcome, _) in found.items() if outcome is not Outcome.PASS and name != SMOKE]
    unsure = any(outcome is Outcome.INCONCLUSIVE for outcome, _ in found.values())
    said = ["give it more evidence, with a larger evals.limit or release.sequences"] if unsure else []
    said += [f"take {' and '.join(behind)} out of release.targets"] if behind else []
    said += ["release without --smoke"] if not behind else []
    return f"{', or '.join(said)}; nothing was published, and the numbers are in the folder that is named above"
