"""How often a comparison names a wrong arm, how often none, and whether its intervals hold together, by simulation.

    python benchmarks/compare_simulation.py
    python benchmarks/compare_simulation.py --quick

Five arms of known quality, each dearer than the one before, answer the same items. A latent normal variable holds what
an item is worth to all arms (0.4 of its variance) and what a cluster of items is worth to one arm (0.3): items of a
cluster succeed or fail together, and not alike for all arms, which is the hard case. Label scores are 0 or 1; graded
scores have atoms at both and a beta distribution between, as token F1 has.

An arm that is named is wrong where it is truly below the best by the margin or more, or not above the floor. Intervals
and rule are the product's own; graded ones with 1,000 bootstrap replicates in place of 4,000.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evals.comparing.recommend import Contest, Decision, decide, good_enough, named
from evals.comparison import compare_scores
from evals.paired import binary_ends, bounded_ends, continuous_ends, few_differ
from evals.stats import Floats, clopper_pearson

ALPHA = 0.05
ITEMS = (40, 80, 160, 400)
SIZES = (1, 4)
ITEM_SHARE, CLUSTER_SHARE = 0.4, 0.3
GRID = 4001
DRAWS = 1000
ROUNDING = 1e-3
"""Truths this near to the margin count as at it: those of graded scores are means of a table."""


@dataclass(frozen=True)
class Truth:
    """What is true in a cell."""

    name: str
    qualities: tuple[float, ...]
    """Of the arms, the cheapest first."""
    margin: float
    floor: float = 0.5
    """Quality of the most frequent label; graded scores have a floor of 0."""


TRUTHS = (
    Truth("the dearest is 0.20 ahead", (0.60, 0.65, 0.65, 0.70, 0.90), 0.03),
    Truth("the dearest is 0.10 ahead", (0.60, 0.65, 0.65, 0.70, 0.80), 0.03),
    Truth("all are alike", (0.80,) * 5, 0.03),
    Truth("all are alike", (0.80,) * 5, 0.10),
    Truth("cheaper ones are 0.03 behind", (0.77,) * 4 + (0.80,), 0.03),
    Truth("cheaper ones are 0.10 behind", (0.70,) * 4 + (0.80,), 0.10),
    Truth("all are at the floor", (0.70,) * 5, 0.10, 0.70),
)


@dataclass(frozen=True)
class Cell:
    """What was found in the test sets of one truth and design."""

    kind: str
    truth: Truth
    items: int
    size: int
    sets: int
    wrong: int
    cheapest: int
    """The cheapest arm that is truly good enough was named."""
    covered: int
    """All comparisons with the truly best arm held."""
    unnamed: int

    @property
    def dearer(self) -> int:
        """An arm was named that is good enough, though not the cheapest such."""
        return self.sets - self.wrong - self.cheapest - self.unnamed


# ------------------------------------------------------------------------------------------------------------ drawing


def drawn(kind: str, truth: Truth, shape: tuple[int, int, int], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Scores (sets, clusters, items of a cluster, arms, and the floor's last) and the true means of the arms."""
    from scipy.special import ndtr

    qualities = (*truth.qualities, truth.floor)
    count = len(qualities)
    latent = math.sqrt(ITEM_SHARE) * rng.standard_normal((*shape, 1))
    latent = latent + math.sqrt(CLUSTER_SHARE) * rng.standard_normal((*shape[:2], 1, count))
    latent = latent + math.sqrt(1 - ITEM_SHARE - CLUSTER_SHARE) * rng.standard_normal((*shape, count))
    ranks = ndtr(latent)
    if kind == "label":
        return (ranks > 1 - np.array(qualities)).astype(np.float64), np.array(qualities)
    tables = [graded_table(quality) for quality in truth.qualities]
    tables.append(np.zeros(GRID))
    places = np.minimum((ranks * GRID).astype(np.int64), GRID - 1)
    scores = np.stack([table[places[..., arm]] for arm, table in enumerate(tables)], axis=-1)
    return scores, np.array([table.mean() for table in tables])


def graded_table(quality: float) -> Floats:
    """Quantiles of graded scores: 0 and 1 with half of the probability, beta between."""
    from scipy.special import betaincinv

    ranks = (np.arange(GRID) + 0.5) / GRID
    wrong, right = 0.5 * (1 - quality), 0.5 * quality
    inner = np.clip((ranks - wrong) / 0.5, 0.0, 1.0)
    found: Floats = np.where(
        ranks < wrong, 0.0, np.where(ranks > 1 - right, 1.0, betaincinv(4 * quality, 4 * (1 - quality), inner))
    )
    return found


# ---------------------------------------------------------------------------------------------------------- intervals


def ends(kind: str, difference: Floats, alpha: float, draws: int) -> tuple[Floats, Floats]:
    """Ends of the product's intervals for many test sets: differences (sets, clusters, items of a cluster)."""
    sizes = np.full(difference.shape[1], float(difference.shape[2]))
    gained, lost = ((signed > 0).sum(axis=2).astype(np.float64) for signed in (difference, -difference))
    if kind == "label":
        return binary_ends(gained, lost, sizes, alpha)
    totals = difference.sum(axis=2)
    low, high = continuous_ends(totals, sizes, alpha, 0, draws)
    few = few_differ(totals, bounded=True)
    outer = bounded_ends(gained, lost, sizes, alpha)
    return np.where(few, np.minimum(low, outer[0]), low), np.where(few, np.maximum(high, outer[1]), high)


def intervals(kind: str, scores: Floats, draws: int = DRAWS) -> tuple[Floats, Floats]:
    """Lower ends (sets, arms, arms) of row minus column, and (sets, arms) of arm minus floor."""
    arms = scores.shape[-1] - 1
    low = np.zeros((len(scores), arms, arms))
    for first, second in combinations(range(arms), 2):
        lower, upper = ends(kind, scores[..., first] - scores[..., second], ALPHA / arms, draws)
        low[:, first, second], low[:, second, first] = lower, -upper
    above = [ends(kind, scores[..., arm] - scores[..., -1], ALPHA / arms, draws)[0] for arm in range(arms)]
    return low, np.stack(above, axis=1)


# ------------------------------------------------------------------------------------------------------------- cells


def named_arms(low: Floats, above: Floats, means: Floats, margin: float) -> list[int | None]:
    """The arm that the product's rule names in each test set; arms cost more, the later they come."""
    good = good_enough(low, margin)
    costs = np.arange(low.shape[-1], dtype=np.float64)
    return [named(good[k], above[k] > 0, costs, means[k]) for k in range(len(low))]


def cell(kind: str, truth: Truth, items: int, size: int, sets: int, rng: np.random.Generator) -> Cell:
    """Draw test sets and judge them."""
    scores, means = drawn(kind, truth, (sets, items // size, size), rng)
    low, above = intervals(kind, scores)
    arms, floor = means[:-1], means[-1]
    best = int(np.argmax(arms))
    fine = (arms > arms.max() - truth.margin + ROUNDING) & (arms > floor + ROUNDING)
    chosen = named_arms(low, above, scores[..., :-1].mean(axis=(1, 2)), truth.margin)
    lead = arms[best] - arms
    covered = ((low[:, best] <= lead + 1e-9) & (-low[:, :, best] >= lead - 1e-9)).all(axis=1)
    cheapest = int(np.flatnonzero(fine)[0]) if fine.any() else None
    return Cell(
        kind,
        truth,
        items,
        size,
        sets,
        wrong=sum(arm is not None and not fine[arm] for arm in chosen),
        cheapest=sum(arm is not None and arm == cheapest for arm in chosen),
        covered=int(covered.sum()),
        unnamed=chosen.count(None),
    )


def cells(sets: dict[str, int], rng: np.random.Generator) -> Iterator[Cell]:
    """Every truth and design; a floor of 0 is no hard case, so graded scores have none at the floor."""
    for kind, count in sets.items():
        for truth in TRUTHS:
            if kind == "graded" and truth.floor in truth.qualities:
                continue
            for size in SIZES:
                yield from (cell(kind, truth, items, size, count, rng) for items in ITEMS)


# ---------------------------------------------------------------------------------------- items that would decide


def decision(scores: Floats, margin: float) -> Decision:
    """The product's decision on one test set (clusters, items of a cluster, arms and floor), with what it plans."""
    clusters, size, columns = scores.shape
    ids = [f"{number:06}" for number in range(clusters * size)]
    frame = pl.DataFrame({"item_id": ids, "position": range(len(ids)), "cluster": np.repeat(np.arange(clusters), size)})
    frame = frame.with_columns(run=pl.lit(0), sample=pl.lit(0))
    tables = [frame.with_columns(score=pl.Series(scores[..., column].ravel())) for column in range(columns)]
    *arms, floor = tables
    each = ALPHA / len(arms)
    pairs = {
        (i, j): compare_scores(arms[i], arms[j], higher=True, alpha=each, seed=0)
        for i, j in permutations(range(len(arms)), 2)
    }
    return decide(
        Contest(
            names=tuple(map(str, range(len(arms)))),
            ran=np.ones(len(arms), dtype=np.bool_),
            means=scores[..., :-1].mean(axis=(0, 1)),
            totals=np.arange(len(arms), dtype=np.float64),
            pairs=pairs,
            above_floor=[compare_scores(arm, floor, higher=True, alpha=each, seed=0) for arm in arms],
            alpha=each,
            margin=margin,
        )
    )


def planned(truth: Truth, items: int, sets: int, again: int, rng: np.random.Generator) -> tuple[list[int], float]:
    """Items that inconclusive test sets say would decide, and how often test sets of the median number do."""
    scores, _ = drawn("label", truth, (sets, items, 1), rng)
    found = [decision(scores[number], truth.margin) for number in range(sets)]
    needed = [one.needed for one in found if one.arm is None and one.needed is not None]
    low, *quartiles, high = (int(np.quantile(needed, share)) for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    more, _ = drawn("label", truth, (again, quartiles[1], 1), rng)
    chosen = named_arms(*intervals("label", more), more[..., :-1].mean(axis=(1, 2)), truth.margin)
    return [low, *quartiles, high], 1 - chosen.count(None) / again


# ------------------------------------------------------------------------------------------------------------ report


def share(count: int, of: int) -> str:
    """A share with its Clopper-Pearson interval."""
    low, high = clopper_pearson(count, of, ALPHA)
    return f"{100 * count / of:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def report(found: Sequence[Cell]) -> Iterator[str]:
    """The tables, in Markdown."""
    yield f"| scores | truth | margin | items a cluster | {' | '.join(f'{items} items' for items in ITEMS)} |"
    yield "|---|---|--:|--:|" + "--:|" * len(ITEMS)
    for start in range(0, len(found), len(ITEMS)):
        row = found[start : start + len(ITEMS)]
        first = row[0]
        said = [" / ".join(f"{100 * n / c.sets:.1f}" for n in (c.cheapest, c.dearer, c.unnamed, c.wrong)) for c in row]
        yield f"| {first.kind} | {first.truth.name} | {first.truth.margin:g} | {first.size} | {' | '.join(said)} |"
    yield ""
    yield "| scores | cells | sets a cell | wrong, mean | wrong, worst cell | held together, mean | worst cell |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for kind in dict.fromkeys(one.kind for one in found):
        own = [one for one in found if one.kind == kind]
        wrong, held = max(one.wrong for one in own), min(one.covered for one in own)
        sets = own[0].sets
        means = [100 * sum(getattr(one, name) for one in own) / sets / len(own) for name in ("wrong", "covered")]
        yield (
            f"| {kind} | {len(own)} | {sets:,} | {means[0]:.2f}% | {share(wrong, sets)} | {means[1]:.1f}% | "
            f"{share(held, sets)} |"
        )


def main() -> None:
    """Draw, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a tenth of the test sets")
    part = 10 if parser.parse_args().quick else 1
    began = time.process_time()
    rng = np.random.default_rng(0)
    for line in report(list(cells({"label": 2000 // part, "graded": 400 // part}, rng))):
        print(line)
    print("\n| truth | margin | items | items that would decide: least, quartiles, most | named with the median |")
    print("|---|--:|--:|---|--:|")
    for truth in (TRUTHS[0], TRUTHS[1], TRUTHS[3]):
        quantiles, decided = planned(truth, 40, 40 // part, 1000 // part, rng)
        numbers = ", ".join(f"{number:,}" for number in quantiles)
        print(f"| {truth.name} | {truth.margin:g} | 40 | {numbers} | {100 * decided:.0f}% |")
    print(f"\n{time.process_time() - began:.0f} s of processor time", file=sys.stderr)


if __name__ == "__main__":
    main()
