"""Test sets drawn from a known truth, for `gate_simulation.py`, with the gate's own intervals around each.

Binary: an item is discordant with a given probability. Items of a cluster copy one outcome of their cluster with
probability sqrt(icc), so that two of them correlate by icc; this is the hard case, in which losses come as whole
clusters. Independent items are enumerated as well: every table of gains and losses with its exact probability, and what
a plan says before anything is measured (`curate/power.py`) stands beside both.

Continuous: `sparse` differences of scores in [0, 1], most of them ties; `normal`; `skewed`, exponential losses with a
long tail towards worse. A data set that gets no interval is covered and passes nothing.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from curate.power import power
from curate.score_test import MIN_CLUSTERS, student_quantile
from evals.paired import (
    FEW_DEGREES,
    FEW_DIFFERING,
    binary_ends,
    bounded_ends,
    continuous_ends,
    few_differ,
    paired_design_effect,
    score_ends,
)
from evals.stats import Floats, effective_degrees

ALPHA = 0.05
ITEMS = (20, 50, 100, 200, 500, 2000)
SIZES = (1, 5, 20)
DISCORDANCE = (0.05, 0.1, 0.2, 0.4)
MARGINS = (0.02, 0.05)
GAINS = (0.05, 0.1, 0.2)
BARS = (*(-margin for margin in MARGINS), 0.0)
ICC = (0.0, 0.2, 0.5)
SETS_A_TIME = 500
ROUNDING = 1e-9

Cell = dict[str, Any]


def designs() -> Iterator[tuple[int, int, float]]:
    """Items, items a cluster, correlation inside clusters; only where the gate gives a verdict at all."""
    for items in ITEMS:
        for size in SIZES:
            if items // size >= MIN_CLUSTERS:
                yield from ((items, size, icc) for icc in (ICC if size > 1 else (0.0,)))


# --------------------------------------------------------------------------------------------------------- binary


def binary_designs() -> Iterator[Cell]:
    """One cell for each design, discordance and truth: at a margin, none, all that the discordance allows, a gain."""
    for items, size, icc in designs():
        for discordance in sorted({*MARGINS, *DISCORDANCE}):
            losses = {truth for truth in (*(-margin for margin in MARGINS), -discordance) if -truth <= discordance}
            gains = {gain for gain in GAINS if gain <= discordance and size == 1}
            for truth in sorted({*losses, 0.0, *gains}):
                yield designed("binary", (items, size, icc), discordance, truth)


def designed(kind: str, design: tuple[int, int, float], discordance: float, truth: float) -> Cell:
    """What is known of a cell before it is drawn."""
    items, size, icc = design
    cell: Cell = {"kind": kind, "items": items, "cluster_size": size, "clusters": items // size, "icc": icc}
    return cell | {"discordance": discordance, "truth": truth}


def binary_cell(cell: Cell, sets: int, rng: np.random.Generator) -> Cell:
    """A cell and what was found in so many test sets."""
    items, size, discordance, truth = (cell[name] for name in ("items", "cluster_size", "discordance", "truth"))
    found = [drawn_tables(cell, sets, rng)] if size == 1 else []
    for start in range(0, 0 if size == 1 else sets, SETS_A_TIME):
        found.append(drawn_clusters(cell, min(SETS_A_TIME, sets - start), rng))
    low, high, plain, bare, degrees, times = (np.concatenate(parts) for parts in zip(*found, strict=True))
    cell = cell | {"sets": sets, "degrees": float(np.median(degrees))} | judged(low, high, times, truth)
    cell["plain_above_truth"] = share(plain > truth + ROUNDING, times)
    cell["bare_above_truth"] = share(bare > truth + ROUNDING, times)
    effective = items / (1 + (size - 1) * cell["icc"])
    cell["planned"] = {f"{bar:g}": power(effective, discordance, truth, bar, ALPHA) for bar in BARS}
    if size == 1:
        cell["exact"] = judged(*enumerated(items, discordance, truth), truth)
        cell["normal"] = {f"{bar:g}": normal_power(items, discordance, truth, bar) for bar in BARS}
    return cell


def drawn_tables(cell: Cell, sets: int, rng: np.random.Generator) -> tuple[Floats, ...]:
    """Ends of the intervals of test sets of independent items, lower ends of the others, degrees, times drawn."""
    items, discordance, truth = cell["items"], cell["discordance"], cell["truth"]
    shares = [(discordance + truth) / 2, (discordance - truth) / 2, 1 - discordance]
    distinct, times = np.unique(rng.multinomial(items, shares, size=sets)[:, :2], axis=0, return_counts=True)
    gained, lost = distinct.astype(np.float64).T
    variance = (gained + lost) / items - ((gained - lost) / items) ** 2
    plain = (gained - lost) / items - student_quantile(1 - ALPHA / 2, items - 1) * np.sqrt(variance / (items - 1))
    low, high = score_ends(gained, lost, items, items, ALPHA)
    nothing_to_estimate = np.full(len(low), float(max(items, FEW_DEGREES)))
    return low, high, plain, low, nothing_to_estimate, times.astype(np.float64)


def drawn_clusters(cell: Cell, sets: int, rng: np.random.Generator) -> tuple[Floats, ...]:
    """As `drawn_tables`, of items in clusters."""
    size, discordance, truth = cell["cluster_size"], cell["discordance"], cell["truth"]
    gain, loss = (discordance + truth) / 2, (discordance - truth) / 2
    shape = (sets, cell["clusters"])
    own = rng.random(shape)
    copies = rng.binomial(size, math.sqrt(cell["icc"]), size=shape)
    gained = rng.binomial(size - copies, gain)
    lost = rng.binomial(size - copies - gained, loss / (1 - gain))
    gained = (gained + copies * (own < gain)).astype(np.float64)
    lost = (lost + copies * ((own >= gain) & (own < discordance))).astype(np.float64)
    sizes = np.full(shape[1], float(size))
    low, high = binary_ends(gained, lost, sizes, ALPHA)
    _, degrees = paired_design_effect(gained, lost, sizes)
    effect, _ = paired_design_effect(gained, lost, sizes, few_degrees=ROUNDING)
    bare, _ = score_ends(gained.sum(1) / effect, lost.sum(1) / effect, sizes.sum() / effect, shape[1], ALPHA)
    return low, high, plain_low((gained - lost) / size), bare, degrees, np.ones(sets)


def plain_low(means: Floats) -> Floats:
    """Lower ends of the usual interval, mean and clustered standard error (Miller 2024); means are (sets, clusters)."""
    clusters = means.shape[1]
    error = means.std(axis=1, ddof=1) / math.sqrt(clusters)
    low: Floats = means.mean(axis=1) - student_quantile(1 - ALPHA / 2, clusters - 1) * error
    return low


def normal_power(items: int, discordance: float, truth: float, bar: float) -> float:
    """What the usual normal approximation says of the power (Connor 1987), for comparison."""
    error = math.sqrt(max((discordance - truth**2) / items, 1e-12))
    return NormalDist().cdf((truth - bar) / error - NormalDist().inv_cdf(1 - ALPHA / 2))


def enumerated(items: int, discordance: float, truth: float) -> tuple[Floats, Floats, Floats]:
    """Ends of the interval of every table of independent items that is not next to impossible, with probabilities."""
    from scipy.stats import binom

    discordant = np.arange(items + 1)
    likely = discordant[binom.pmf(discordant, items, discordance) > 1e-7]
    gained = np.concatenate([np.arange(count + 1) for count in likely])
    total = np.repeat(likely, likely + 1)
    share = (discordance + truth) / 2 / discordance
    chance = binom.pmf(total, items, discordance) * binom.pmf(gained, total, share)
    keep = chance > 1e-10
    gained, lost, chance = gained[keep], (total - gained)[keep], chance[keep]
    return *score_ends(gained.astype(np.float64), lost.astype(np.float64), items, items, ALPHA), chance


# ----------------------------------------------------------------------------------------------------- continuous


def continuous_designs() -> Iterator[Cell]:
    """One cell for each design, kind of score and truth."""
    shapes = [("sparse", discordance) for discordance in DISCORDANCE] + [("normal", 1.0), ("skewed", 1.0)]
    for design in designs():
        for kind, discordance in shapes:
            if kind != "sparse" and design[0] // design[1] < FEW_DIFFERING:
                continue  # unbounded scores of so few clusters get no interval
            margin = min(MARGINS) if kind == "sparse" else max(MARGINS)
            yield from (designed(kind, design, discordance, truth) for truth in (-margin, 0.0))


def continuous_cell(cell: Cell, sets: int, draws: int, rng: np.random.Generator) -> Cell:
    """A cell and what was found in so many test sets."""
    found = []
    for start in range(0, sets, SETS_A_TIME):
        shape = (min(SETS_A_TIME, sets - start), cell["clusters"], cell["cluster_size"])
        values = drawn_scores(cell["kind"], shape, cell["discordance"], cell["truth"], cell["icc"], rng)
        totals = values.sum(axis=2)
        degrees = effective_degrees(totals - totals.mean(axis=1, keepdims=True))
        found.append((*score_interval(values, bounded=cell["kind"] == "sparse", draws=draws), degrees))
    low, high, degrees = (np.concatenate(parts) for parts in zip(*found, strict=True))
    about = {"sets": sets, "degrees": float(np.median(degrees))}
    return cell | about | judged(low, high, np.ones(sets), cell["truth"])


def drawn_scores(
    kind: str, shape: tuple[int, int, int], discordance: float, truth: float, icc: float, rng: np.random.Generator
) -> Floats:
    """Differences (sets, clusters, items of a cluster)."""

    def independent(wanted: tuple[int, int, int]) -> Floats:
        if kind == "normal":
            return rng.normal(truth, 0.3, wanted)
        if kind == "skewed":
            return truth + 0.3 - rng.exponential(0.3, wanted)
        kinds, amount = rng.random(wanted), rng.beta(2, 2, wanted)  # mean amount 0.5
        gain = discordance / 2 + truth
        return np.where(kinds < gain, amount, np.where(kinds < discordance, -amount, 0.0))

    values = independent(shape)
    if icc == 0:
        return values
    return np.where(rng.random(shape) < math.sqrt(icc), independent((*shape[:2], 1)), values)


def score_interval(values: Floats, *, bounded: bool, draws: int) -> tuple[Floats, Floats]:
    """What `paired_continuous` does, for many data sets: (sets, clusters, items of a cluster) to the ends."""
    totals, sizes = values.sum(axis=2), np.full(values.shape[1], float(values.shape[2]))
    low, high = continuous_ends(totals, sizes, ALPHA, 0, draws)
    few = few_differ(totals, bounded=bounded)
    if not bounded:
        return np.where(few, -np.inf, low), np.where(few, np.inf, high)
    gained, lost = ((signed > 0).sum(axis=2).astype(np.float64) for signed in (values, -values))
    outer = bounded_ends(gained, lost, sizes, ALPHA)
    return np.where(few, np.minimum(low, outer[0]), low), np.where(few, np.maximum(high, outer[1]), high)


# --------------------------------------------------------------------------------------------------------- judged


def judged(low: Floats, high: Floats, weight: Floats, truth: float) -> Cell:
    """Coverage, false passes of a margin that the truth is just at, and the share that passes each bar."""
    covered = (low <= truth + ROUNDING) & (high >= truth - ROUNDING)
    found: Cell = {"coverage": share(covered, weight), "above_truth": share(low > truth + ROUNDING, weight)}
    found["passes"] = {f"{bar:g}": share(low > bar, weight) for bar in BARS}
    return found


def share(events: Any, weight: Floats) -> float:
    """Weighted share."""
    return float((events * weight).sum() / weight.sum())
