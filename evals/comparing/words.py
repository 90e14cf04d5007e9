"""A decision in plain words. Every sentence says what an interval shows, and no more."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curate.score_test import MIN_CLUSTERS
from evals.comparing.prices import SECONDS
from evals.comparing.recommend import Contest, Decision, least_items
from evals.stats import Interval

PROMPTS = ("zero_shot", "few_shot", "few_shot_retrieved")
BEST = {
    "classical": "A classical classifier serves this task best",
    **dict.fromkeys(PROMPTS, "A prompt serves this task best"),
    "rag": "Retrieval was the answer",
    "tuned": "Fine-tuning serves this task best",
    "full": "Full fine-tuning serves this task best",
    "tuned_rag": "Fine-tuning and retrieval together serve this task best",
    "endpoint": "The outside model serves this task best",
}
"""Arm -> what is said where every other arm is shown to be worse."""
ENOUGH = {
    "classical": "A classical classifier suffices",
    **dict.fromkeys(PROMPTS, "A prompt suffices"),
    "rag": "Retrieval suffices",
    "tuned": "Fine-tuning is good enough",
    "full": "Full fine-tuning is good enough",
    "tuned_rag": "Fine-tuning and retrieval together are good enough",
    "endpoint": "The outside model is good enough",
}
"""Arm -> what is said where it is only shown to be within the margin of the best."""

FAMILIES = {
    "is fine-tuned": ("tuned", "tuned_rag", "full"),
    "reads retrieved passages": ("rag", "tuned_rag"),
    "is a prompt to the base model": PROMPTS,
}
"""What is known of the best arm where all that may be the best are among some."""
FEW = 3
"""Arms that a headline names."""
REASON_CHARS = 150
"""What is said of a failure; compare.json has all of it."""


@dataclass(frozen=True)
class Story:
    """What sentences are made from."""

    contest: Contest
    decision: Decision
    titles: Sequence[str]
    """Of the arms of the contest."""
    reasons: Sequence[str]
    """Why an arm failed; empty for those that ran."""
    floor: str
    items: int
    clusters: int
    unit: str
    """Of costs: a currency, or seconds."""
    volume: int
    """Answers that costs are told for."""

    @property
    def ran(self) -> list[int]:
        """Arms that ran."""
        return [place for place, ran in enumerate(self.contest.ran) if ran]

    @property
    def comparable(self) -> bool:
        """Whether there are arms and items enough to compare anything."""
        return len(self.ran) > 1 and self.clusters >= MIN_CLUSTERS

    @property
    def useless(self) -> bool:
        """Whether every arm is shown to be worse than the floor."""
        return all(self.contest.above_floor[place].interval.high < 0 for place in self.ran)

    def best_of(self, places: Iterable[int]) -> int:
        """The arm with the best mean among some."""
        return max(places, key=lambda place: (self.contest.means[place], -place))

    def short_of_best(self, arm: int) -> float:
        """How far below the best an arm is at most."""
        return max(0.0, *(-self.contest.pairs[arm, other].interval.low for other in self.ran if other != arm))

    def named(self, places: Iterable[int]) -> str:
        """Titles in a row."""
        *first, last = (self.titles[place] for place in places)
        return f"{', '.join(first)} and {last}" if first else last


def difference(interval: Interval) -> str:
    """`+0.210 [+0.100, +0.310]`."""
    return f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


# ---------------------------------------------------------------------------------------------------- the headline


def headline(story: Story) -> str:
    """The outcome in one line."""
    decision, contest = story.decision, story.contest
    if decision.arm is None:
        return _inconclusive(story)
    name, title = contest.names[decision.arm], story.titles[decision.arm]
    if decision.could_change:
        return f"Inconclusive: {story.named(decision.could_change)} failed and may be better than {title}"
    if decision.shown_best:
        return f"{BEST.get(name, f'{title} serves this task best')}: {_lead(story, decision.arm)}"
    return f"{ENOUGH.get(name, f'{title} is good enough')}: less than {contest.margin:g} below every other arm"


def _lead(story: Story, arm: int) -> str:
    """By how much the best arm leads: over the best prompt where it is none itself, else over the next."""
    contest = story.contest
    others = [place for place in story.ran if place != arm]
    prompts = [place for place in others if contest.names[place] in PROMPTS]
    if contest.names[arm] not in PROMPTS and prompts:
        rival = story.best_of(prompts)
        return f"{difference(contest.pairs[arm, rival].interval)} over the best prompt ({story.titles[rival]})"
    rival = story.best_of(others)
    return f"{difference(contest.pairs[arm, rival].interval)} over the next ({story.titles[rival]})"


def _inconclusive(story: Story) -> str:
    if not story.items:
        return "Inconclusive: no item was answered"
    if len(story.ran) < 2:
        return "Inconclusive: a comparison takes at least two arms that ran"
    if story.clusters < MIN_CLUSTERS:
        return f"Inconclusive: {story.clusters} independent groups of items, at least {MIN_CLUSTERS} are needed"
    if story.useless:
        return f"No arm serves this task: each is shown to be worse than {story.floor}"
    if story.decision.needed is None:
        return "Inconclusive: at the measured differences, more items would not decide"
    race, more = story.decision.race, f"collect about {story.decision.needed - story.items:,} more items"
    return f"Inconclusive between {story.named(race)}: {more}" if 1 < len(race) <= FEW else f"Inconclusive: {more}"


# --------------------------------------------------------------------------------------------------- the sentences


def sentences(story: Story) -> tuple[str, ...]:
    """What the headline rests on, one sentence for each thing that is shown or open."""
    found: list[str] = []
    if story.comparable:
        found = [*(_why_not(story) if story.decision.arm is None else _why(story, story.decision.arm)), *_race(story)]
    elif story.decision.needed is not None:
        found = [f"about {story.decision.needed:,} items would have so many groups, if groups stay as large"]
    found += _failures(story)
    return tuple(f"{text[0].upper()}{text[1:]}." for text in found)


def _why(story: Story, arm: int) -> list[str]:
    decision, contest, title = story.decision, story.contest, story.titles[arm]
    among = " of the arms that ran" if len(story.ran) < len(contest.names) else ""
    rivals = [place for place in decision.race if place != arm]
    said = []
    if not rivals:
        said.append(f"{title} is shown to be the best{among}")
    else:
        short = f"{story.short_of_best(arm):.3f}"
        said.append(f"{title} is shown to be at most {short} below the best{among}; {contest.margin:g} may be given up")
    if len(rivals) == 1 and arm not in decision.race:
        lead = difference(contest.pairs[rivals[0], arm].interval)
        said.append(f"{story.titles[rivals[0]]} is shown to be the best{among}, by {lead}, less than may be given up")
    if len(decision.good_enough) > 1 and math.isfinite(contest.totals[arm]):
        least = "takes least time" if story.unit == SECONDS else "costs least"
        said.append(
            f"with what comes before the first and {story.volume:,} answers, it {least} of those of which so much is "
            f"shown: {story.named(decision.good_enough)}"
        )
    said.append(f"it is shown to be better than {story.floor}: {difference(contest.above_floor[arm].interval)}")
    less = "takes less time" if story.unit == SECONDS else "costs less"
    for place, items in decision.open_and_cheaper.items():
        would = f"about {items:,} items would tell" if items else "at the measured differences it is not"
        said.append(f"{story.titles[place]} {less}, and whether it is good enough is open: {would}")
    return said


def _why_not(story: Story) -> list[str]:
    decision, contest = story.decision, story.contest
    if story.useless:
        best = story.best_of(story.ran)
        return [f"the best of them, {story.titles[best]}: {difference(contest.above_floor[best].interval)}"]
    if decision.good_enough:
        best = story.best_of(decision.good_enough)
        above = difference(contest.above_floor[best].interval)
        said = [
            f"shown to be less than {contest.margin:g} below every other arm: {story.named(decision.good_enough)}",
            f"but not shown to be better than {story.floor}: {story.titles[best]} {above}",
        ]
    else:
        nearest = min(story.ran, key=story.short_of_best)
        short = f"{story.titles[nearest]} is shown to be at most {story.short_of_best(nearest):.3f} below the best"
        said = [f"no arm is shown to be less than {contest.margin:g} below every other; {short}"]
    if decision.needed is not None and decision.front_runner is not None:
        said.append(
            f"about {decision.needed:,} items in all would show it of {story.titles[decision.front_runner]} with "
            "probability 0.8, if the differences and variances that were measured are the true ones"
        )
    effect = max(contest.pairs[pair].design_effect for pair in contest.pairs)
    least = least_items(contest.margin, contest.alpha, effect)
    if len(decision.race) > 1 and story.items < least:
        said.append(
            f"{story.items:,} items cannot show that two arms are within {contest.margin:g} of each other, even where "
            f"they answer alike: that takes {least:,}, or a wider margin"
        )
    return said


def _race(story: Story) -> list[str]:
    decision = story.decision
    said = [f"may be the best: {story.named(decision.race)}"] if len(decision.race) > 1 else []
    names = {story.contest.names[place] for place in decision.race}
    if len(names) > 1:
        said += [f"whichever of them is, it {what}" for what, arms in FAMILIES.items() if names <= set(arms)]
    if decision.out:
        said.append(f"out, because another arm is shown to be better: {story.named(decision.out)}")
    return said


def _failures(story: Story) -> list[str]:
    decision, contest, said = story.decision, story.contest, []
    for place, name in enumerate(story.titles):
        if contest.ran[place]:
            continue
        failed = f"{name} failed ({textwrap.shorten(story.reasons[place], REASON_CHARS, placeholder='…')})"
        if place in decision.could_change or not story.comparable:
            said.append(f"{failed}; with its answers the outcome could be another")
        else:
            said.append(f"{failed}; right wherever it failed, it would still be less than {contest.margin:g} better")
    return said
