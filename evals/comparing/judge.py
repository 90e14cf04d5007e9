"""From what a comparison wrote down to its judgement: the arms measured, priced, compared, and one of them named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from evals.comparing import probes
from evals.comparing.prices import TRAINED, USUAL_VOLUME, Use, break_even, costs, on_front
from evals.comparing.recommend import Contest, Decision, decide
from evals.comparing.words import Story, headline, sentences
from evals.comparing.written import Written, read_written
from evals.comparison import Comparison, compare_scores
from schemas.compare import ArmJudged, BreakEven, Compared, Cost, PairDifference, Recommendation
from schemas.compare_config import Prices
from schemas.verdict import Outcome

BASE = "zero_shot"
"""The arm that all are shown beside."""
FEW_TIMED = 20
"""Timed answers below which the 95th percentile lies beyond all but one of them."""


def judge_compare(folder: Path, *, alpha: float, margin: float, prices: Prices, seed: int = 0) -> Compared:
    """Judge what a comparison wrote into a folder.

    Args:
        folder: with `evals/comparing/written.py`'s files.
        alpha: of all comparisons with the arm that is truly best and with the floor together, two-sided.
        margin: quality that may be given up for a cheaper arm, above 0.
        prices: of answers and trainings.
        seed: of resampling.

    Raises:
        UserError: the files cannot be read or do not fit each other.
    """
    written = read_written(folder)
    unit, spent, why_seconds = _spent(written, prices)
    items, clusters = (written.answers[name].n_unique() for name in ("item_id", "cluster"))
    contest = _contest(written, spent, alpha, margin, seed)
    decision = decide(contest)
    floor, floor_answers = written.floor
    titles, reasons = ([str(arm[name]) for arm in written.asked] for name in ("title", "reason"))
    volume = prices.answers or USUAL_VOLUME
    story = Story(contest, decision, titles, reasons, floor, items, clusters, unit, volume)
    named = decision.arm is not None and not decision.could_change
    return Compared(
        outcome=Outcome.PASS if named else Outcome.INCONCLUSIVE,
        recommendation=_recommendation(story),
        metric=written.about["metric"],
        items=items,
        clusters=clusters,
        alpha=alpha,
        level=round(1 - contest.alpha, 6),
        margin=margin,
        floor=floor,
        floor_quality=probes.quality(floor_answers, alpha),
        unit=unit,
        volume=volume,
        prices=prices,
        arms=_judged(written, contest, decision, spent, alpha),
        differences=tuple(
            _difference(contest, first, second)
            for first, second in contest.pairs
            if first < second and contest.ran[first] and contest.ran[second]
        ),
        break_even=tuple(_break_even(written, spent, prices)),
        retrieval=written.about.get("retrieval") or {},
        notes=tuple(_notes(written, why_seconds, spent)),
    )


# ---------------------------------------------------------------------------------------------------------- costs


def _spent(written: Written, prices: Prices) -> tuple[str, dict[str, Cost], str]:
    """Unit, cost of each arm that ran, and why it is not money."""
    ran = [arm for arm in written.asked if arm["status"] == "ran"]
    unit, found, why = costs([_use(written, arm) for arm in ran], prices)
    return unit, {arm["name"]: cost for arm, cost in zip(ran, found, strict=True)}, why


def _use(written: Written, arm: Mapping[str, Any]) -> Use:
    answers = written.of(arm["name"])
    timed = probes.latency(written.latency.filter(pl.col("arm") == arm["name"]))
    return Use(
        model=arm["model"],
        price=arm.get("price"),
        seconds=timed.mean if timed else None,
        tokens_in=probes.mean(answers, "tokens_in"),
        tokens_out=probes.mean(answers, "tokens_out"),
        fixed_seconds=float(arm.get("fixed_seconds") or 0.0),
    )


def _break_even(written: Written, spent: Mapping[str, Cost], prices: Prices) -> list[BreakEven]:
    """Each arm that was trained beside each other arm that ran."""
    trained = [arm["name"] for arm in written.asked if arm["model"] in TRAINED and arm["name"] in spent]
    return [
        break_even(name, spent[name], other, spent[other], prices)
        for name in trained
        for other in spent
        if other != name
    ]


# ----------------------------------------------------------------------------------------------------- comparisons


def _contest(written: Written, spent: Mapping[str, Cost], alpha: float, margin: float, seed: int) -> Contest:
    names = [str(arm["name"]) for arm in written.asked]
    tables = [_scores(written.of(name)) for name in names]
    floor = _scores(written.floor[1])
    each, items = alpha / max(len(names), 1), written.answers.height > 0

    def compared(candidate: pl.DataFrame, baseline: pl.DataFrame) -> Comparison:
        return compare_scores(candidate, baseline, higher=True, alpha=each, seed=seed)

    totals = [spent[name].total if name in spent else None for name in names]
    return Contest(
        names=tuple(names),
        ran=np.array([arm["status"] == "ran" for arm in written.asked]),
        means=np.array([probes.mean(table.fill_null(0.0), "score") or 0.0 for table in tables]),
        totals=np.array([math.inf if total is None else total for total in totals]),
        pairs={(i, j): compared(tables[i], tables[j]) for i, j in permutations(range(len(names)), 2) if items},
        above_floor=[compared(table, floor) for table in tables if items],
        alpha=each,
        margin=margin,
    )


def _scores(answers: pl.DataFrame) -> pl.DataFrame:
    """Answers of an arm as `compare_scores` takes them."""
    return answers.select("item_id", "position", "cluster", "score", run=pl.lit(0), sample=pl.lit(0))


def _difference(contest: Contest, first: int, second: int) -> PairDifference:
    found = contest.pairs[first, second]
    names = {"arm": contest.names[first], "other": contest.names[second]}
    return PairDifference(**found.interval.as_dict(), **names, gained=found.gained, lost=found.lost)


# ---------------------------------------------------------------------------------------------------------- results


def _recommendation(story: Story) -> Recommendation:
    decision, names = story.decision, story.contest.names

    def named(places: Sequence[int]) -> tuple[str, ...]:
        return tuple(names[place] for place in places)

    return Recommendation(
        arm=None if decision.arm is None else names[decision.arm],
        headline=headline(story),
        sentences=sentences(story),
        shown_best=decision.shown_best,
        good_enough=named(decision.good_enough),
        in_the_race=named(decision.race),
        out=named(decision.out),
        could_change=named(decision.could_change),
        open_and_cheaper=named(list(decision.open_and_cheaper)),
        items_needed=decision.needed,
        more_items=None if decision.needed is None else decision.needed - story.items,
    )


def _judged(
    written: Written, contest: Contest, decision: Decision, spent: Mapping[str, Cost], alpha: float
) -> tuple[ArmJudged, ...]:
    ran = [name for name, ran in zip(contest.names, contest.ran, strict=True) if ran]
    places = {name: place for place, name in enumerate(contest.names)}
    leader = decision.arm
    if leader is None and ran:
        leader = max((places[name] for name in ran), key=lambda place: (contest.means[place], -place))
    priced = {name: cost.per_answer for name, cost in spent.items() if cost.per_answer is not None and name in places}
    fronts = on_front([(cost, float(contest.means[places[name]])) for name, cost in priced.items()])
    front = {name for name, best in zip(priced, fronts, strict=True) if best}
    found = []
    for arm in written.about["arms"]:
        name, known = arm["name"], {}
        if name in ran:
            known = _measured(written, name, alpha) | {"cost": spent[name], "on_front": name in front}
            for field, other in (("to_base", places.get(BASE)), ("to_leader", leader)):
                if other is not None and contest.ran[other] and (places[name], other) in contest.pairs:
                    known[field] = _difference(contest, places[name], other)
        about = {field: arm[field] for field in ("name", "title", "status", "reason", "model", "facts")}
        found.append(ArmJudged(**about, **known, standing=_standing(arm, places, decision)))
    return tuple(found)


def _standing(arm: Mapping[str, Any], places: Mapping[str, int], decision: Decision) -> str:
    if arm["status"] != "ran":
        return str(arm["status"])
    place = places.get(arm["name"])
    if place is not None and place == decision.arm:
        return "recommended"
    if place in decision.good_enough:
        return "good_enough"
    return "out" if place in decision.out else "in_the_race"


def _measured(written: Written, name: str, alpha: float) -> dict[str, Any]:
    answers = written.of(name)
    same, timed = (table.filter(pl.col("arm") == name) for table in (written.agreement, written.latency))
    fresh, others = probes.fresh_apart(answers, alpha)
    grounded, grounded_items = probes.grounding(answers)
    return {
        "quality": probes.quality(answers, alpha),
        "failed_answers": answers["score"].null_count(),
        "formatted": probes.form_adherence(answers, alpha),
        "fresh": fresh,
        "not_fresh": others,
        "agreement": probes.agreement(same, answers, alpha),
        "latency": probes.latency(timed),
        "tokens_in": probes.mean(answers, "tokens_in"),
        "tokens_out": probes.mean(answers, "tokens_out"),
        "grounded": grounded,
        "grounded_items": grounded_items,
        "cut": int(answers["cut"].fill_null(False).sum()),
    }


def _notes(written: Written, why_seconds: str, spent: Mapping[str, Cost]) -> list[str]:
    """What limits the comparison."""
    found = [f"costs are measured seconds: {why_seconds}"] if why_seconds else []
    unpriced = [name for name, cost in spent.items() if cost.total is None]
    if unpriced:
        found.append(f"no cost is known of {', '.join(unpriced)}: taken as the dearest")
    timed = written.latency.group_by("arm").len()["len"].max()
    if isinstance(timed, int) and timed < FEW_TIMED:
        found.append(f"at most {timed} answers of an arm were timed: the 95th percentile is near their maximum")
    if written.about["metric"] == "label" and not written.about.get("floor"):
        found.append("the most frequent trained label was not scored: arms are only held against a quality of 0")
    for arm in written.asked:
        cost = spent.get(arm["name"])
        if cost is not None and cost.fixed == 0 and arm["model"] in TRAINED and not arm.get("fixed_seconds"):
            found.append(f"{arm['title']}: what its training took is not known, and taken as nothing")
        answers = written.of(arm["name"])
        failed, cut = answers["score"].null_count(), int(answers["cut"].fill_null(False).sum())
        if failed and arm["status"] == "ran":
            found.append(
                f"{arm['title']} gave no answer to {failed} of {answers.height} items: wrong where it is held against "
                "another, right where another is held against it"
            )
        if cut:
            found.append(f"{arm['title']}: the context of {cut} of {answers.height} items was truncated")
    return found
