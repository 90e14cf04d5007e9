"""How often the model gate is wrong: false passes at the margin, power, and coverage of its intervals, by simulation.

    python benchmarks/gate_simulation.py --out gate_simulation.json
    python benchmarks/gate_simulation.py --quick

Each cell draws many test sets from a known truth and puts the gate's own intervals (`evals/paired.py`) around them. The
truth is a difference of minus the margin (a pass is false), of nothing (a pass is power), or all discordance lost.

Binary: an item is discordant with a given probability. Items of a cluster copy one outcome of their cluster with
probability sqrt(icc), so that two of them correlate by icc; this is the hard case, in which losses come as whole
clusters. Independent items are enumerated as well: every table of gains and losses with its exact probability.

Continuous: `sparse` differences of scores in [0, 1], most of them ties; `normal`; `skewed`, exponential losses with a
long tail towards worse. A data set that gets no interval is covered and passes nothing.

Beside the binary intervals stands the plain one, measured on the same test sets: mean and clustered standard error with
Student's t. Inner cells are those with items x discordance of at least 20 and 30 clusters or more.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from curate.score_test import MIN_CLUSTERS, student_quantile
from evals.paired import FEW_DIFFERING, binary_ends, bounded_ends, continuous_ends, few_differ, score_ends
from evals.stats import Floats

ALPHA = 0.05
ITEMS = (20, 50, 100, 200, 500, 2000)
SIZES = (1, 5, 20)
DISCORDANCE = (0.05, 0.1, 0.2, 0.4)
MARGINS = (0.02, 0.05)
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


def truths(discordance: float, margin: float) -> list[float]:
    """True differences of a cell: at the margin, none, and the most that this discordance allows."""
    return sorted({-margin, 0.0, -discordance})


# --------------------------------------------------------------------------------------------------------- binary


def binary_cells(sets: int, rng: np.random.Generator) -> Iterator[Cell]:
    """One cell for each design, discordance, margin and truth."""
    for items, size, icc in designs():
        for discordance in sorted({*MARGINS, *DISCORDANCE}):
            for truth in sorted({truth for margin in MARGINS for truth in truths(discordance, margin)}):
                if -truth > discordance:
                    continue
                low, high, plain, times = drawn_binary(items, size, icc, discordance, truth, sets, rng)
                cell: Cell = {"kind": "binary", "items": items, "cluster_size": size, "clusters": items // size}
                cell |= {"icc": icc, "discordance": discordance, "truth": truth, "sets": sets}
                cell |= judged(low, high, times / times.sum(), truth)
                cell["plain_above_truth"] = share(plain > truth + ROUNDING, times)
                if size == 1:
                    cell["exact"] = judged(*enumerated(items, discordance, truth), truth)
                yield cell


def drawn_binary(
    items: int, size: int, icc: float, discordance: float, truth: float, sets: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats, Floats]:
    """Ends of the intervals of drawn test sets, lower ends of the plain ones, and how often each set was drawn."""
    gain, loss = (discordance + truth) / 2, (discordance - truth) / 2
    if size == 1:
        tables = rng.multinomial(items, [gain, loss, 1 - discordance], size=sets)[:, :2]
        distinct, times = np.unique(tables, axis=0, return_counts=True)
        gained, lost = distinct.astype(np.float64).T
        variance = (gained + lost) / items - ((gained - lost) / items) ** 2
        plain = (gained - lost) / items - student_quantile(1 - ALPHA / 2, items - 1) * np.sqrt(variance / (items - 1))
        return *score_ends(gained, lost, items, items, ALPHA), plain, times.astype(np.float64)
    found = []
    for start in range(0, sets, SETS_A_TIME):
        shape = (min(SETS_A_TIME, sets - start), items // size)
        own = rng.random(shape)
        copies = rng.binomial(size, math.sqrt(icc), size=shape)
        gained = rng.binomial(size - copies, gain)
        lost = rng.binomial(size - copies - gained, loss / (1 - gain))
        gained = gained + copies * (own < gain)
        lost = lost + copies * ((own >= gain) & (own < discordance))
        sizes = np.full(shape[1], float(size))
        ends = binary_ends(gained.astype(np.float64), lost.astype(np.float64), sizes, ALPHA)
        found.append((*ends, plain_low((gained - lost) / size)))
    low, high, plain = (np.concatenate(ends) for ends in zip(*found, strict=True))
    return low, high, plain, np.ones(sets)


def plain_low(means: Floats) -> Floats:
    """Lower ends of the usual interval, mean and clustered standard error (Miller 2024); means are (sets, clusters)."""
    clusters = means.shape[1]
    error = means.std(axis=1, ddof=1) / math.sqrt(clusters)
    low: Floats = means.mean(axis=1) - student_quantile(1 - ALPHA / 2, clusters - 1) * error
    return low


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


def continuous_cells(sets: int, draws: int, rng: np.random.Generator) -> Iterator[Cell]:
    """One cell for each design, kind of score and truth."""
    shapes = [("sparse", discordance) for discordance in DISCORDANCE] + [("normal", 1.0), ("skewed", 1.0)]
    for items, size, icc in designs():
        for kind, discordance in shapes:
            if kind != "sparse" and items // size < FEW_DIFFERING:
                continue  # unbounded scores of so few clusters get no interval
            for truth in sorted({-max(MARGINS), 0.0} if kind != "sparse" else {-min(MARGINS), 0.0}):
                clusters = items // size
                found = []
                for start in range(0, sets, SETS_A_TIME):
                    count = min(SETS_A_TIME, sets - start)
                    values = drawn_scores(kind, (count, clusters, size), discordance, truth, icc, rng)
                    found.append(score_interval(values, bounded=kind == "sparse", draws=draws))
                low, high = (np.concatenate(ends) for ends in zip(*found, strict=True))
                cell: Cell = {"kind": kind, "items": items, "cluster_size": size, "clusters": clusters}
                cell |= {"icc": icc, "discordance": discordance, "truth": truth, "sets": sets}
                yield cell | judged(low, high, np.full(sets, 1 / sets), truth)


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


# -------------------------------------------------------------------------------------------------------- summary


def judged(low: Floats, high: Floats, weight: Floats, truth: float) -> Cell:
    """Coverage, and the share that passes for each margin that the truth is at or inside of."""
    covered = (low <= truth + ROUNDING) & (high >= truth - ROUNDING)
    found: Cell = {"coverage": share(covered, weight), "above_truth": share(low > truth + ROUNDING, weight)}
    found["passes"] = {f"{margin:g}": share(low > -margin, weight) for margin in MARGINS}
    return found


def share(events: Any, weight: Floats) -> float:
    """Weighted share."""
    return float((events * weight).sum() / weight.sum())


def summaries(cells: list[Cell]) -> Iterator[Cell]:
    """One line for each kind of score and size of clusters."""
    for kind in dict.fromkeys(cell["kind"] for cell in cells):
        for size in SIZES:
            chosen = [cell for cell in cells if (cell["kind"], cell["cluster_size"]) == (kind, size)]
            if chosen:
                yield {"kind": kind, "cluster_size": size} | summary(chosen)


def summary(cells: list[Cell]) -> Cell:
    """Worst and typical figures of cells, with the Monte Carlo error of one cell."""
    error = math.sqrt(ALPHA * (1 - ALPHA) / cells[0]["sets"])
    inner = [c for c in cells if c["items"] * c["discordance"] >= 20 and c["clusters"] >= 30]
    false = [false_pass(cell) for cell in cells]
    worst = min(cells, key=lambda cell: cell["coverage"])
    found: Cell = {
        "cells": len(cells),
        "monte_carlo_error": error,
        "false_pass_mean": float(np.mean(false)),
        "false_pass_worst": max(false),
        "false_pass_above_nominal": sum(one > ALPHA + 2 * error for one in false),
        "coverage_worst": worst["coverage"],
        "coverage_worst_at": {name: worst[name] for name in ("items", "icc", "discordance", "truth")},
        "coverage_low": sum(cell["coverage"] < 1 - ALPHA - 2 * error for cell in cells),
        "inner_cells": len(inner),
        "inner_below_94": sum(cell["coverage"] < 0.94 - 2 * error for cell in inner),
        "inner_above_96": sum(cell["coverage"] > 0.96 + 2 * error for cell in inner),
    }
    plain = [cell["plain_above_truth"] for cell in cells if "plain_above_truth" in cell]
    found["plain_false_pass_worst"] = max(plain, default=None)
    exact = [cell for cell in cells if "exact" in cell]
    if exact:
        gaps = [abs(cell["passes"][m] - cell["exact"]["passes"][m]) for cell in exact for m in cell["passes"]]
        found["power_gap_worst"] = max(gaps)
        found["power_gap_error"] = 0.5 / math.sqrt(cells[0]["sets"])
        found["exact_false_pass_worst"] = max(cell["exact"]["above_truth"] for cell in exact)
        found["exact_coverage_worst"] = min(cell["exact"]["coverage"] for cell in exact)
    return found


def false_pass(cell: Cell) -> float:
    """How often the lower end lies above the truth: the false passes of a margin that the truth is just at."""
    return float(cell["above_truth"])


def table(found: list[Cell]) -> str:
    """Markdown, as docs/statistics.md shows it."""
    lines = [
        "| scores | items a cluster | cells | false pass, mean | worst | worst of the plain interval "
        "| coverage, worst | below 95% - 2 SE | inner cells | below 94% | above 96% |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in found:
        plain = row["plain_false_pass_worst"]
        shown = "" if plain is None else f"{plain:.1%}"
        lines.append(
            f"| {row['kind']} | {row['cluster_size']} | {row['cells']} | {row['false_pass_mean']:.1%} "
            f"| {row['false_pass_worst']:.1%} | {shown} | {row['coverage_worst']:.1%} | {row['coverage_low']} "
            f"| {row['inner_cells']} | {row['inner_below_94']} | {row['inner_above_96']} |"
        )
    return "\n".join(lines)


def machine() -> str:
    """Processor and number of cores."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0].split(':')[1].strip() if names else platform.processor()}, {os.cpu_count()} cores"


def main() -> None:
    """Run the grid, print the table, write every cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=10_000, help="test sets a cell, binary scores")
    parser.add_argument("--score-sets", type=int, default=2_000, help="test sets a cell, continuous scores")
    parser.add_argument("--draws", type=int, default=1_000, help="bootstrap replicates")
    parser.add_argument("--quick", action="store_true", help="a tenth of the test sets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    part = 10 if given.quick else 1
    rng = np.random.default_rng(given.seed)
    started, used = time.perf_counter(), time.process_time()
    cells = list(binary_cells(given.sets // part, rng))
    cells += continuous_cells(given.score_sets // part, given.draws, rng)
    lines = list(summaries(cells))
    result = {
        "machine": machine(),
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "alpha": ALPHA,
        "summary": lines,
        "cells": cells,
    }
    print(table(lines))
    single = lines[0]
    print(f"\nindependent binary items: simulated and enumerated pass rates differ by {single['power_gap_worst']:.2%}")
    print(
        f"at most; enumerated coverage is at least {single['exact_coverage_worst']:.2%}, false pass at most "
        f"{single['exact_false_pass_worst']:.2%}"
    )
    print(f"{result['machine']}: {result['seconds']} s, {result['cpu_seconds']} s of processor time")
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
