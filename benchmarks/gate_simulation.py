"""How often the model gate is wrong: false passes at the margin, power, and coverage of its intervals, by simulation.

    python benchmarks/gate_simulation.py --out gate_simulation.json
    python benchmarks/gate_simulation.py --quick

Each cell draws many test sets from a known truth (`gate_draws.py`). The truth is a difference of minus the margin (a
pass is false), of nothing (a pass is power), all discordance lost, or, for independent items, a gain.

Beside the binary intervals stand two others, measured on the same test sets: `plain`, mean and clustered standard error
with Student's t, and `bare`, the gate's without the cluster that it adds where few clusters hold the spread.

Inner cells have items x discordance of at least 20 and 30 clusters or more. They are steady where the median of the
effective degrees of freedom of their test sets reaches FEW_DEGREES, so that the spread between clusters can be
estimated. A cell that lies outside a limit which it should keep is drawn again, anew and ten times as often, and the
second draw counts: among so many cells some lie outside by chance.
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

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.gate_draws import (
    ALPHA,
    BARS,
    GAINS,
    Cell,
    binary_cell,
    binary_designs,
    continuous_cell,
    continuous_designs,
    enumerated,
    share,
)
from curate.power import items_for_gain, items_for_margin
from curate.score_test import MIN_CLUSTERS
from evals.paired import FEW_DEGREES, paired_binary, paired_continuous

AGAIN = 10
MORE_TABLES = 4
"""So many times as many test sets of independent items: they are cheap, and compared with exact rates."""
LIMIT = 0.05
"""Most false passes; ALPHA / 2 is nominal."""


def error_of(cell: Cell) -> float:
    """Monte Carlo standard error of a coverage of 1 - ALPHA."""
    return math.sqrt(ALPHA * (1 - ALPHA) / cell["sets"])


def is_inner(cell: Cell) -> bool:
    """Enough discordant items and clusters for a coverage between 94% and 96% to be asked."""
    return bool(cell["items"] * cell["discordance"] >= 20 and cell["clusters"] >= 30)


def is_steady(cell: Cell) -> bool:
    """Inner, and the spread between clusters can be estimated."""
    return is_inner(cell) and bool(cell["degrees"] >= FEW_DEGREES)


def too_low(cell: Cell) -> bool:
    """Coverage below 95% by more than two Monte Carlo standard errors."""
    return bool(cell["coverage"] < 1 - ALPHA - 2 * error_of(cell))


def outside(cell: Cell) -> bool:
    """Outside 94% to 96% by more than two Monte Carlo standard errors."""
    return bool(abs(cell["coverage"] - (1 - ALPHA)) > 0.01 + 2 * error_of(cell))


def doubtful(cell: Cell) -> bool:
    """To be drawn again."""
    beyond = is_steady(cell) and abs(cell["coverage"] - (1 - ALPHA)) > 0.01
    return too_low(cell) or cell["above_truth"] > LIMIT or beyond


def summary(cells: list[Cell]) -> Cell:
    """Worst and typical figures of cells."""
    steady, few = [c for c in cells if is_steady(c)], [c for c in cells if is_inner(c) and not is_steady(c)]
    false, worst = max(cells, key=lambda c: c["above_truth"]), min(cells, key=lambda c: c["coverage"])
    covered = [cell["coverage"] for cell in steady]
    return {
        "cells": len(cells),
        "drawn_again": sum(cell["again"] for cell in cells),
        "false_pass_mean": float(np.mean([cell["above_truth"] for cell in cells])),
        "false_pass_worst": false["above_truth"],
        "false_pass_error": math.sqrt(false["above_truth"] * (1 - false["above_truth"]) / false["sets"]),
        "plain_false_pass_worst": max((c["plain_above_truth"] for c in cells if "planned" in c), default=None),
        "bare_false_pass_worst": max((c["bare_above_truth"] for c in cells if "planned" in c), default=None),
        "coverage_worst": worst["coverage"],
        "coverage_error": error_of(worst),
        "coverage_low": sum(map(too_low, cells)),
        "steady_cells": len(steady),
        "steady_coverage": [min(covered), max(covered)] if covered else None,
        "steady_outside": sum(map(outside, steady)),
        "few_cells": len(few),
        "few_below": sum(outside(cell) and cell["coverage"] < 1 - ALPHA for cell in few),
        "few_above": sum(outside(cell) and cell["coverage"] > 1 - ALPHA for cell in few),
        "few_bare_false_pass_worst": max((c["bare_above_truth"] for c in few if "planned" in c), default=0.0),
        "few_coverage_highest": max((cell["coverage"] for cell in few), default=None),
    }


def power_summary(cells: list[Cell]) -> Cell:
    """Largest differences of simulated, enumerated and planned pass rates, and what the planned items reach."""
    single = [cell for cell in cells if "exact" in cell]
    clustered = [c for c in cells if "planned" in c and "exact" not in c and c["truth"] == 0]

    def gaps(chosen: list[Cell], one: str, other: str) -> list[float]:
        return [abs(rates(c, one)[bar] - rates(c, other)[bar]) for c in chosen for bar in c["planned"]]

    reached = [exact_pass(items_for_gain(gain, ALPHA), gain, 0.0) for gain in (*GAINS, 0.3)]
    reached += [exact_pass(items_for_margin(margin, ALPHA), 0.0, -margin) for margin in (*GAINS, 0.3)]
    return {
        "rates": len(single) * len(BARS),
        "simulated_exact": max(gaps(single, "passes", "exact")),
        "simulated_error": 0.5 / math.sqrt(min(cell["sets"] for cell in single)),
        "planned_exact": max(gaps(single, "planned", "exact")),
        "normal_exact": max(gaps(single, "normal", "exact")),
        "exact_coverage": [min(c["exact"]["coverage"] for c in single), max(c["exact"]["coverage"] for c in single)],
        "exact_inner": [f(c["exact"]["coverage"] for c in single if is_inner(c)) for f in (min, max)],
        "exact_false_pass": max(cell["exact"]["above_truth"] for cell in single),
        "planned_items_reach": [min(reached), max(reached)],
        "clusters_steady": float(np.max(gaps([c for c in clustered if is_steady(c)], "planned", "passes"))),
        "clusters_mean": float(np.mean(gaps(clustered, "planned", "passes"))),
        "clusters_worst": float(np.max(gaps(clustered, "planned", "passes"))),
    }


def rates(cell: Cell, kind: str) -> dict[str, float]:
    """Pass rates of a cell by bar."""
    found: dict[str, float] = cell["exact"]["passes"] if kind == "exact" else cell[kind]
    return found


def exact_pass(items: int, truth: float, bar: float) -> float:
    """How often so many items pass a bar in the case that a plan takes, over all tables."""
    low, _, chance = enumerated(items, 0.5, truth)
    return share(low > bar, chance)


def few_clusters_are_inconclusive() -> bool:
    """Whether fewer clusters than MIN_CLUSTERS decide nothing, however clear they are."""
    ones = np.ones(3 * (MIN_CLUSTERS - 1))
    labels = np.repeat(np.arange(MIN_CLUSTERS - 1), 3)
    found = [paired_binary(ones, 0 * ones, labels, ALPHA)]
    found += [paired_continuous(0.5 * ones, labels, ALPHA, 0, bounded=bounded) for bounded in (True, False)]
    return not any(interval.is_evidence for interval in found)


def table(found: list[Cell]) -> str:
    """Markdown, as docs/statistics.md shows it."""
    heads = ["scores", "items a cluster", "cells", "false pass, mean", "worst", "plain", "bare", "coverage, worst"]
    heads += ["below 95% - 2 SE", "steady cells", "their coverage", "outside 94-96%", "few", "above 96%", "highest"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 1)]
    for row in found:
        low, high = row["steady_coverage"] or (None, None)
        cells = [row["kind"], row["cluster_size"], row["cells"], shown(row["false_pass_mean"])]
        cells += [shown(row[f"{name}false_pass_worst"]) for name in ("", "plain_", "bare_")]
        cells += [shown(row["coverage_worst"]), row["coverage_low"], row["steady_cells"]]
        cells += [f"{shown(low)} to {shown(high)}" if low else "", row["steady_outside"] if low else ""]
        cells += [row["few_cells"], row["few_above"], shown(row["few_coverage_highest"])]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def shown(value: float | None) -> str:
    """A share, or nothing."""
    return "" if value is None else f"{value:.1%}"


def asked(every: Cell, powers: Cell) -> Iterator[str]:
    """What was asked of the gate, what was found, and whether it is met."""

    def line(met: bool, said: str) -> str:
        return f"- {'met' if met else 'NOT MET'}: {said}"

    false, error = every["false_pass_worst"], every["false_pass_error"]
    yield line(
        false <= LIMIT, f"false pass at most {LIMIT:.0%}: worst of {every['cells']} cells {false:.2%} +- {error:.2%}"
    )
    yield line(
        max(powers["simulated_exact"], powers["planned_exact"]) <= 0.02,
        f"power within 2 points of enumeration ({powers['rates']} rates of independent items): simulated "
        f"{powers['simulated_exact']:.2%} (error up to {powers['simulated_error']:.2%}), planned "
        f"{powers['planned_exact']:.4%}, by the normal approximation {powers['normal_exact']:.1%}",
    )
    low, high = powers["planned_items_reach"]
    yield line(low >= 0.8 and high <= 0.82, f"planned items reach power 0.8: enumerated {low:.2%} to {high:.2%}")
    worst = f"worst {every['coverage_worst']:.2%} +- {every['coverage_error']:.2%}"
    yield line(not every["coverage_low"], f"coverage at least 95% - 2 SE: {every['coverage_low']} cells below, {worst}")
    steady = f"{every['steady_outside']} of {every['steady_cells']} steady inner cells"
    few = f"{every['few_above']} of {every['few_cells']} others are above, {every['few_below']} below"
    few += f"; without the added cluster a false pass in up to {every['few_bare_false_pass_worst']:.1%} of their test "
    few += f"sets, and in up to {every['bare_false_pass_worst']:.1%} of those of other cells"
    yield line(not every["steady_outside"], f"coverage 94% to 96%: {steady} lie outside by more than 2 SE")
    yield line(not every["few_above"] + every["few_below"], f"the same where the spread is not steady: {few}")
    yield line(few_clusters_are_inconclusive(), f"fewer than {MIN_CLUSTERS} clusters are inconclusive")
    yield (
        f"- independent items, enumerated: coverage {' to '.join(f'{c:.2%}' for c in powers['exact_coverage'])}, inner "
        f"cells {' to '.join(f'{c:.2%}' for c in powers['exact_inner'])}, false pass {powers['exact_false_pass']:.2%}"
    )
    yield (
        f"- clusters: planned with the true design effect and simulated power at no difference differ by at most "
        f"{powers['clusters_steady']:.1%} in steady cells; in all by {powers['clusters_mean']:.1%}, at most "
        f"{powers['clusters_worst']:.1%}"
    )


def machine() -> str:
    """Processor and number of cores."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0].split(':')[1].strip() if names else platform.processor()}, {os.cpu_count()} cores"


def measured(cell: Cell, sets: tuple[int, int], draws: int, seed: tuple[int, ...]) -> Cell:
    """A cell drawn from a seed of its own."""
    rng = np.random.default_rng(seed)
    if cell["kind"] == "binary":
        return binary_cell(cell, sets[0] * (MORE_TABLES if cell["cluster_size"] == 1 else 1), rng)
    return continuous_cell(cell, sets[1], draws, rng)


def main() -> None:
    """Run the grid, print what was found, write every cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=10_000, help="test sets a cell, binary scores")
    parser.add_argument("--score-sets", type=int, default=2_000, help="test sets a cell, continuous scores")
    parser.add_argument("--draws", type=int, default=1_000, help="bootstrap replicates")
    parser.add_argument("--quick", action="store_true", help="a tenth of the test sets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    part = 10 if given.quick else 1
    sets = (given.sets // part, given.score_sets // part)
    started, used = time.perf_counter(), time.process_time()
    cells = []
    for place, cell in enumerate([*binary_designs(), *continuous_designs()]):
        found = measured(cell, sets, given.draws, (given.seed, place))
        again = doubtful(found)
        if again:
            found = measured(cell, (AGAIN * sets[0], AGAIN * sets[1]), given.draws, (given.seed, place, 1))
        cells.append(found | {"again": again})
    kinds = dict.fromkeys((cell["kind"], cell["cluster_size"]) for cell in cells)
    lines: list[Cell] = []
    for kind, size in kinds:
        chosen = [cell for cell in cells if (cell["kind"], cell["cluster_size"]) == (kind, size)]
        lines.append({"kind": kind, "cluster_size": size} | summary(chosen))
    every, powers = summary(cells), power_summary(cells)
    result = {
        "machine": machine(),
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "alpha": ALPHA,
        "sets": sets,
        "every": every,
        "power": powers,
        "summary": lines,
        "cells": cells,
    }
    print(table(lines) + "\n")
    print("\n".join(asked(every, powers)))
    print(f"- {every['drawn_again']} cells were drawn again, {AGAIN} times as often")
    print(f"{result['machine']}: {result['seconds']} s, {result['cpu_seconds']} s of processor time")
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
