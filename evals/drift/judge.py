"""From measurements to one outcome: fine, retraining recommended, or not enough rows to say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from types import ModuleType

from evals.discovery import modules
from evals.drift.sample import MIN_ROWS, Draw, Found, Sample
from evals.multiplicity import holm
from schemas.drift import DriftEffect, DriftMeasurement, DriftScore, Word
from schemas.drift_config import DriftConfig
from schemas.verdict import Outcome, combine

WORDS: dict[Outcome, Word] = {Outcome.PASS: "fine", Outcome.FAIL: "drifted", Outcome.INCONCLUSIVE: "open"}
CHANCE = {"classifier": 0.5}
"""What a measurement is without any difference, where that is not 0."""


def measured(sample: Sample, config: DriftConfig) -> tuple[DriftMeasurement, ...]:
    """Every measurement of a sample, judged.

    A difference is there where its p-value, adjusted for all measurements (Holm), is at most alpha, and the estimate
    reaches the bound; one is ruled out where the interval ends below the bound. To be fine, all must be ruled out,
    which needs no correction (Berger 1982, Technometrics 24:295-300).

    Args:
        sample: both sides.
        config: level and bounds.
    """
    parts = modules("evals.drift.measurements")
    draw = Draw(config.alpha, config.permutations, config.seed)
    reasons = {part.NAME: part.applies(sample) for part in parts}
    few = _too_few(sample)
    found: dict[str, Found] = {}
    if not few:
        bounds = config.bounds.model_dump()
        found = {part.NAME: part.measure(sample, bounds[part.NAME], draw) for part in parts if not reasons[part.NAME]}
    adjusted = holm({name: one.effect.p for name, one in found.items()})
    return tuple(_judged(part, reasons[part.NAME], few, found, adjusted, config.alpha) for part in parts)


def _too_few(sample: Sample) -> str:
    new, known = int(sample.new.sum()), int((~sample.new).sum())
    if new < MIN_ROWS:
        return f"{new} distinct new rows are too few to compare, {MIN_ROWS} are the least"
    if known < 2 * MIN_ROWS:
        return f"{known} distinct rows of the dataset are too few to compare with, {2 * MIN_ROWS} are the least"
    return ""


def _judged(
    part: ModuleType, reason: str, few: str, found: dict[str, Found], adjusted: dict[str, float], alpha: float
) -> DriftMeasurement:
    if reason:
        outcome = Outcome.NOT_APPLICABLE
        return DriftMeasurement(
            name=part.NAME, title=part.TITLE, outcome=outcome, word="not_applicable", message=reason
        )
    if few:
        outcome = Outcome.INCONCLUSIVE
        return DriftMeasurement(name=part.NAME, title=part.TITLE, outcome=outcome, word="open", message=few)
    one, p = found[part.NAME], adjusted[part.NAME]
    outcome = judged(one.effect, p, alpha)
    more = None
    if outcome is Outcome.INCONCLUSIVE:
        level = alpha / len(found)
        more = rows_to_decide(one.effect, CHANCE.get(part.NAME, 0.0), (one.new_rows, one.known_rows), (alpha, level))
    return DriftMeasurement(
        name=part.NAME,
        title=part.TITLE,
        outcome=outcome,
        word=WORDS[outcome],
        message=one.message,
        effect=_rounded(one.effect),
        p_adjusted=round(p, 6),
        new_rows=one.new_rows,
        known_rows=one.known_rows,
        rows_to_decide=more,
        facts=one.facts,
    )


def judged(effect: DriftEffect, p: float, alpha: float) -> Outcome:
    """What an effect says.

    Args:
        effect: with its interval and the bound.
        p: adjusted.
        alpha: level.
    """
    if p <= alpha and effect.estimate >= effect.bound:
        return Outcome.FAIL
    return Outcome.PASS if effect.high < effect.bound else Outcome.INCONCLUSIVE


def _rounded(effect: DriftEffect) -> DriftEffect:
    numbers = {name: round(getattr(effect, name), 6) for name in ("estimate", "low", "high", "p")}
    return effect.model_copy(update=numbers)


def rows_to_decide(
    effect: DriftEffect, chance: float, rows: tuple[int, int], levels: tuple[float, float]
) -> int | None:
    """Distinct new rows with which an effect of this size would about be decided; null where no number would do.

    Args:
        effect: that was not decided.
        chance: its value without any difference.
        rows: new rows and known rows that it rests on.
        levels: alpha, and the level that the smallest of all p-values must reach.
    """
    new, known = rows
    reach = effect.high - effect.estimate
    if reach <= 0:
        return None
    if effect.estimate < effect.bound:
        wanted = effect.bound - effect.estimate
    else:  # large enough, but not beyond chance yet
        quantiles = [NormalDist().inv_cdf(1 - level) for level in levels]
        wanted = (effect.estimate - chance) * quantiles[0] / quantiles[1]
    inverse = (wanted / reach) ** 2 * (1 / new + 1 / known) - 1 / known
    return max(new + 1, math.ceil(1 / inverse)) if inverse > 0 else None


# ---------------------------------------------------------------------------------------------------------- in words


def overall(measurements: Iterable[DriftMeasurement], score: DriftScore) -> Outcome:
    """The outcome of everything together."""
    return combine([*(one.outcome for one in measurements), score.outcome])


HEADLINES = {
    Outcome.PASS: "Fine: differences that would matter are ruled out",
    Outcome.FAIL: "Retrain: new rows are not like the rows of the dataset",
    Outcome.INCONCLUSIVE: "Inconclusive: there are too few rows to say",
}


def sentences(
    measurements: Sequence[DriftMeasurement], placebo: Sequence[DriftMeasurement], score: DriftScore
) -> list[str]:
    """What was found, and what to do, in plain words."""
    said = []
    for word, begins in (("drifted", "Beyond chance and beyond its bound"), ("open", "Neither shown nor ruled out")):
        names = [one.title.lower() for one in measurements if one.word == word]
        if names:
            said.append(f"{begins}: {', '.join(names)}.")
    undecided = [one for one in measurements if one.word == "open"]
    if undecided and not any(one.word == "drifted" for one in measurements):
        said.append(_how_many(undecided))
    if score.outcome is not Outcome.NOT_APPLICABLE:
        said.append(f"{score.message[0].upper()}{score.message[1:]}.")
    inside = [one.title.lower() for one in placebo if one.word == "drifted"]
    if inside:
        said.append(
            f"The dataset's own validation and test rows differ from its training rows as well: {', '.join(inside)}. "
            "A difference of new rows of that kind need not be new."
        )
    if any(one.word == "drifted" for one in measurements) or score.outcome is Outcome.FAIL:
        said.append("Look at the rows listed first, label them, and train again with them.")
    return said


def _how_many(undecided: Sequence[DriftMeasurement]) -> str:
    counts = [one.rows_to_decide for one in undecided]
    known = [count for count in counts if count is not None]
    if not known:
        return "No number of new rows alone would decide; the dataset has too few rows of its own."
    rest = "" if len(known) == len(counts) else "; for the rest, the dataset has too few rows of its own"
    return f"About {max(known):,} distinct new rows in all would decide{rest}."
