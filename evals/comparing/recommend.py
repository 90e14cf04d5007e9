"""Which arm serves the task: multiple comparisons with the best, on paired and clustered differences.

Nobody knows which arm is truly best, but it is one of them, and only its K - 1 comparisons matter: where they hold,
an arm that is beaten by another is not the best, and an arm whose intervals beside all others lie above -margin is less
than the margin below the best (Hsu 1984, Annals of Statistics 12:1136-1144; Hsu 1996, Multiple Comparisons, chapter 4).
So each interval has level 1 - alpha / K, by Bonferroni, in place of one over all K (K - 1) / 2 pairs. The K-th
comparison is that with the floor. An arm is wrong to name for being below the best by the margin, or for not being
above the floor; either way one interval must have failed at one end, which each does with alpha / (2 K) at most. So a
wrong arm is named with alpha / 2 at most, and all that is said of the best holds with 1 - alpha.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from curate.power import POWER, items_needed
from curate.score_test import MIN_CLUSTERS
from evals.comparison import Comparison
from evals.decide import deciding_items
from evals.stats import Floats

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Contest:
    """The arms that are compared, in one order: those that ran, and those that failed."""

    names: tuple[str, ...]
    ran: Flags
    """(arms,)"""
    means: Floats
    """(arms,) mean scores, answers that failed as 0."""
    totals: Floats
    """(arms,) cost at the volume; infinite where it is not known."""
    pairs: Mapping[tuple[int, int], Comparison]
    """First minus second, in both orders: failed answers count against the first."""
    above_floor: Sequence[Comparison]
    """Each arm minus the floor; empty without items."""
    alpha: float
    """Of each interval."""
    margin: float

    @property
    def low(self) -> Floats:
        """(arms, arms) lower ends, 0 for an arm beside itself; not a number where there is no interval."""
        ends = np.zeros((len(self.names), len(self.names)))
        for (first, second), comparison in self.pairs.items():
            ends[first, second] = comparison.interval.low
        return ends


@dataclass(frozen=True)
class Decision:
    """Places of arms in the contest."""

    arm: int | None
    good_enough: tuple[int, ...] = ()
    race: tuple[int, ...] = ()
    """Arms that may be the best."""
    out: tuple[int, ...] = ()
    """Arms that are not the best, and not shown to be good enough."""
    could_change: tuple[int, ...] = ()
    """Arms that failed and may be better than the named one by the margin or more."""
    open_and_cheaper: Mapping[int, int | None] = field(default_factory=dict)
    """Arms that cost less than the named one and are not settled -> items that would settle them."""
    needed: int | None = None
    """Items in all that would decide."""
    front_runner: int | None = None
    """The arm that so many items would show to be good enough."""
    shown_best: bool = False
    """No other arm can be as good as the named one, neither one that ran nor one that failed."""


def still_in_race(low: Floats) -> Flags:
    """Arms that no other is shown to beat.

    Args:
        low: (..., arms, arms) lower ends of row minus column, 0 on the diagonal.

    Returns:
        (..., arms).
    """
    return np.asarray(~(low > 0).any(axis=-2))


def good_enough(low: Floats, margin: float) -> Flags:
    """Arms that are shown to be less than the margin below every other.

    Args:
        low: as `still_in_race`.
        margin: > 0.
    """
    return np.asarray((low > -margin).all(axis=-1))


def named(good: Flags, above: Flags, totals: Floats, means: Floats) -> int | None:
    """The cheapest arm that is good enough and above the floor; of equally cheap ones the one with the best mean.

    Args:
        good: (arms,) see `good_enough`.
        above: (arms,) shown to be above the floor.
        totals: (arms,) costs.
        means: (arms,) scores.
    """
    fitting = np.flatnonzero(good & above)
    if not len(fitting):
        return None
    return int(min(fitting, key=lambda arm: (totals[arm], -means[arm], arm)))


def decide(contest: Contest) -> Decision:
    """What the intervals say; nothing is named where there are fewer than two arms or MIN_CLUSTERS clusters."""
    ran, low = np.flatnonzero(contest.ran), contest.low
    if len(ran) < 2 or not contest.above_floor:
        return Decision(None, race=_places(contest.ran))
    clusters = min(comparison.interval.clusters for comparison in contest.above_floor)
    if clusters < MIN_CLUSTERS:
        return Decision(None, race=_places(contest.ran), needed=_for_clusters(contest, clusters))
    among = low[np.ix_(ran, ran)]
    race = np.zeros(len(low), dtype=np.bool_)
    race[ran] = still_in_race(among)
    good = np.zeros_like(race)
    good[ran] = good_enough(among, contest.margin)
    above = np.array([comparison.interval.low > 0 for comparison in contest.above_floor])
    arm = named(good, above, contest.totals, contest.means)
    failed = np.flatnonzero(~contest.ran)
    leader = int(ran[np.argmax(contest.means[ran])]) if arm is None else arm
    plans = {int(place): _items(contest, int(place)) for place in ran} if arm is None else {}
    known = {place: items for place, items in plans.items() if items is not None}
    front = min(known, key=lambda place: (known[place], place), default=None)
    return Decision(
        arm,
        good_enough=_places(good),
        race=_places(race),
        out=_places(contest.ran & ~race & ~good),
        could_change=tuple(int(place) for place in failed if not low[leader, place] > -contest.margin),
        open_and_cheaper={} if arm is None else _open(contest, arm, good & above),
        needed=None if front is None else known[front],
        front_runner=front,
        shown_best=arm is not None and _places(race) == (arm,) and bool((low[arm, failed] > 0).all()),
    )


def _places(flags: Flags) -> tuple[int, ...]:
    return tuple(int(place) for place in np.flatnonzero(flags))


def _open(contest: Contest, arm: int, settled: Flags) -> dict[int, int | None]:
    """Cheaper arms that are neither shown to be good enough nor shown not to be, with the items that would tell."""
    found = {}
    for place in np.flatnonzero(contest.ran & ~settled & (contest.totals < contest.totals[arm])).tolist():
        highs = [pair.interval.high for (first, _), pair in contest.pairs.items() if first == place]
        if min(highs) > -contest.margin and contest.above_floor[place].interval.high > 0:
            found[place] = _items(contest, place)
    return found


def _items(contest: Contest, arm: int) -> int | None:
    """Items in all that would show an arm to be good enough and above the floor; null where none would.

    Taken as true: the measured differences, variances and design effects. Each comparison that is open gets a share of
    the risk to miss, so that all of them together are shown with power 0.8.
    """
    others = [int(other) for other in np.flatnonzero(contest.ran) if other != arm]
    asked = [(contest.pairs[arm, other], -contest.margin) for other in others] + [(contest.above_floor[arm], 0.0)]
    missing = [(comparison, bar) for comparison, bar in asked if not comparison.interval.low > bar]
    if not missing or any(comparison.interval.estimate <= bar for comparison, bar in missing):
        return None
    wanted = 1 - (1 - POWER) / len(missing)
    needed = [deciding_items(comparison, bar, contest.alpha, wanted) for comparison, bar in missing]
    known = [items for items in needed if items is not None]
    return max(known) if len(known) == len(needed) else None


def _for_clusters(contest: Contest, clusters: int) -> int | None:
    """Items with as many clusters as a verdict takes, if they come as large as those that were measured."""
    items = contest.above_floor[0].interval.items
    return math.ceil(items * MIN_CLUSTERS / clusters) if clusters else None


def least_items(margin: float, alpha: float, effect: float) -> int:
    """Items from which on two arms that give the same answers are shown to be within the margin.

    Args:
        margin: > 0.
        alpha: of the interval.
        effect: design effect of clusters.
    """
    return items_needed(0.0, -margin, 0.0, alpha, effect=effect)
