"""How often each overfitting measurement is wrong, by simulation from made losses, tokens and answers; no model runs.

    python benchmarks/overfitting_simulation.py --out overfitting_simulation.json
    python benchmarks/overfitting_simulation.py --draws 100

Every cell draws evidence of a known truth many times and asks one measurement with its default bounds. The truth is
`bound` (the effect is exactly as large as is allowed, so that each failure is false; half of alpha is nominal), `none`
(no effect: failures are false, and inconclusive ones say that the rows were too few) or `planted` (failures are right).
There are 100 trained and 300 held-out rows. The last cells ask the controls and the whole gate of a sound model.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evals.blind import blind_scores
from evals.controls import base_placebo, blind_classifier
from evals.evidence import Evidence
from evals.gates import overfitting
from evals.overfitting import (
    answer_form,
    canaries,
    contaminated_gap,
    drift,
    extraction,
    gain_gap,
    heldout,
    membership,
    perturbation,
    validation_curve,
)
from evals.stats import clopper_pearson
from schemas.verdict import Check, Outcome, combine
from tests.evals.made_evidence import made_evidence, scores_of
from tests.evals.made_tokens import Rows, made_general, made_rows, made_tokens

TRAINED, HELD_OUT = 100, 300
"""Rows of either kind: `evals.trained_rows` and `evals.test_rows` of the config."""
SLOW = ("gain_gap", "heldout", "perturbation", "the whole gate")
Draw = np.random.Generator


@dataclass(frozen=True)
class Cell:
    """One truth."""

    name: str
    truth: str
    judge: Callable[[Draw], Check]


def by_default(module: Any, evidence: Evidence) -> Check:
    """A measurement with its default bounds."""
    found: Check = module.judge(evidence, module.DEFAULTS)
    return found


def losses(draw: Draw, base: float, trained: float, held_out: float, *, skewed: bool = False) -> dict[Any, list[float]]:
    """Losses of answers whose means are as given.

    Args:
        draw: of the rows.
        base: mean under the base model.
        trained: mean of the tuned model on trained rows.
        held_out: mean of the tuned model on held-out rows.
        skewed: one answer in ten holds nearly all of the loss, as where labels are wrong; else half of the spread of
            the tuned model's losses is that of the base model's.
    """
    found = {}
    for split, mean, count in (("train", trained, TRAINED), ("test", held_out, HELD_OUT)):
        before = draw.gamma(4.0, 1 / 4, count)
        own = draw.gamma(2.0, 1 / 2, count)
        surprise = np.where(draw.random(count) < 0.1, 9.1, 0.1) * own
        found["base", split] = (base * before).tolist()
        found["tuned", split] = (mean * (surprise if skewed else (before + own) / 2)).tolist()
    return found


def gap_of(draw: Draw, trained: float, held_out: float, *, skewed: bool = False) -> Check:
    """The gain gap where the means of tuned losses are as given."""
    return by_default(gain_gap, made_evidence(losses=losses(draw, 20.0, trained, held_out, skewed=skewed)))


def rise_of(draw: Draw, rise: float) -> Check:
    """Held-out rows whose losses rise by so much on average, row by row by half of that loss more or less."""
    base = draw.gamma(4.0, 5.0, HELD_OUT)
    tuned = base * (1 + rise) * draw.gamma(25.0, 1 / 25, HELD_OUT)
    return by_default(
        heldout, made_evidence(losses={("base", "test"): base.tolist(), ("tuned", "test"): tuned.tolist()})
    )


def drift_of(draw: Draw, rise: float) -> Check:
    """40 neutral texts that rise by so much."""
    return by_default(
        drift, made_evidence(tables={"general": made_general((rise + draw.gamma(4.0, 0.05, 40) - 0.2).tolist())})
    )


def token_rows(draw: Draw, count: int, shift: float, length: int = 8) -> Rows:
    """Rows of tokens with normal scores around a shift."""
    return [((draw.normal(size=length) + shift).tolist(), [False] * length) for _ in range(count)]


def membership_of(draw: Draw, area: float) -> Check:
    """The area of the loss is as given under the tuned model, and one half under the base model."""
    from scipy.special import ndtri

    shift = float(ndtri(area)) * math.sqrt(2 / 8)
    rows = {
        (model, split): token_rows(draw, count, shift * ((model, split) == ("tuned", "train")))
        for model in ("base", "tuned")
        for split, count in (("train", TRAINED), ("test", HELD_OUT))
    }
    return by_default(membership, made_evidence(tables={"tokens": made_tokens(rows)}))


def extraction_of(draw: Draw, trained: float, held_out: float) -> Check:
    """Answers of 40 tokens, of which such shares are continued word for word."""
    rows: dict[tuple[str, str], Rows] = {}
    for split, share, count in (("train", trained, TRAINED), ("test", held_out, HELD_OUT)):
        hits = draw.random(count) < share
        rows["tuned", split] = [([0.0] * 40, [bool(hit)] * 40) for hit in hits]
        rows["base", split] = [([0.0] * 40, [False] * 40)] * count
    return by_default(extraction, made_evidence(tables={"tokens": made_tokens(rows)}))


def canaries_of(draw: Draw, area: float, count: int) -> Check:
    """Canaries that are better known than controls with a probability as given."""
    from scipy.special import ndtri

    shift = float(ndtri(area)) * math.sqrt(2 / 8)  # the gain is that of the tuned model: the base model knows none
    rows = {
        (model, f"canary_{dose}"): token_rows(draw, count, shift * (model == "tuned" and dose > 0))
        if model == "tuned"
        else [([0.0] * 8, [False] * 8)] * count
        for model in ("base", "tuned")
        for dose in (0, 1, 2, 4)
    }
    facts = {"count": count, "inserted": {"1": count, "2": count, "4": count}, "epochs": 1, "unproven": []}
    return by_default(canaries, made_evidence(tables={"tokens": made_tokens(rows)}, known={"canaries": facts}))


def contaminated_of(draw: Draw, seen: float, clean: float, counts: tuple[int, int] = (30, 150)) -> Check:
    """Such shares of the items of either kind are right with the tuned model and wrong with the base model."""
    gained = [int(draw.binomial(count, share)) for count, share in zip(counts, (seen, clean), strict=True)]
    tuned = [score for count, right in zip(counts, gained, strict=True) for score in scores_of(right, count - right)]
    marks = {"items": [{"item_id": f"item{k}", "grade": "question"} for k in range(counts[0])]}
    evidence = made_evidence({"base": [0.0] * sum(counts), "tuned": tuned}, facts={"contamination": marks})
    return by_default(contaminated_gap, evidence)


def curve_of(draw: Draw, excess: float, points: int = 10, rows: int = 16) -> Check:
    """All measurements but the published one have the same true loss."""
    own = draw.gamma(4.0, 1 / 4, rows)
    found = [own * (1 + excess * (point == points - 1)) * draw.gamma(100.0, 1 / 100, rows) for point in range(points)]
    curve = {
        "method": "sft",
        "published_step": points,
        "points": [[step + 1, float(one.mean())] for step, one in enumerate(found)],
        "rows": [[step + 1, one.tolist()] for step, one in enumerate(found)],
    }
    return by_default(validation_curve, made_evidence(known={"validation_curve": curve}))


def form_of(draw: Draw, ratio: float, refusals: float, items: int = 200) -> Check:
    """Answers that are so many times as long as expected, of which such a share refuses."""
    words = np.maximum(0, np.round(ratio * np.exp(draw.normal(scale=0.5, size=items)) * 21 - 1)).astype(int)
    refuses = draw.random(items) < refusals
    said = [
        "I'm sorry, but I can't help with that." if no else "word " * count
        for no, count in zip(refuses, words, strict=True)
    ]
    expected = " ".join(["word"] * 20)
    evidence = made_evidence({"base": [0.0] * items, "tuned": [0.0] * items}, facts={"output_type": "generate_until"})
    changed = evidence.items.with_columns(prediction=pl.Series([expected] * items + said), target=pl.lit(expected))
    return by_default(answer_form, Evidence(evidence.results, changed, evidence.losses, evidence.conditions))


def perturbation_of(draw: Draw, gap: float) -> Check:
    """Trained rows fall by so much more than held-out ones under the tuned model; falls are skewed."""
    tables = []
    for variant in ("original", "case"):
        rows: dict[tuple[str, str], Rows] = {}
        for model in ("base", "tuned"):
            for split, count in (("train", TRAINED), ("test", HELD_OUT)):
                more = gap * ((model, split) == ("tuned", "train"))
                fall = (draw.gamma(1.0, 1.0, count) + more) * (variant == "case")
                rows[model, split] = [([-one / 8] * 8, [False] * 8) for one in fall.tolist()]
        tables.append(made_tokens(rows).with_columns(variant=pl.lit(variant)))
    return by_default(perturbation, made_evidence(tables={"tokens": pl.concat(tables)}))


def blind_of(draw: Draw, rows: int = 100) -> Check:
    """Texts of both kinds by the same rule."""
    texts = [" ".join(f"w{word}" for word in draw.zipf(1.5, 12) % 500) for _ in range(2 * rows)]
    found = blind_scores(texts, [True] * rows + [False] * rows, list(range(2 * rows)), 0)
    return blind_classifier.judge(made_evidence(tables={"rows": made_rows(found[:rows], found[rows:])}))


def placebo_of(draw: Draw) -> Check:
    """A base model that knows neither kind."""
    rows = {("base", "train"): token_rows(draw, TRAINED, 0.0), ("base", "test"): token_rows(draw, HELD_OUT, 0.0)}
    return base_placebo.judge(made_evidence(tables={"tokens": made_tokens(rows)}))


def sound_gate(draw: Draw) -> Check:
    """All that is judged by default of a model that learned its task: the worst outcome."""
    pairs = [(model, split) for model in ("base", "tuned") for split in ("train", "test")]
    counts = {"train": TRAINED, "test": HELD_OUT}
    tables = {
        "tokens": made_tokens({pair: token_rows(draw, counts[pair[1]], 0.0) for pair in pairs}),
        "general": made_general(draw.normal(scale=0.02, size=40).tolist()),
        "rows": made_rows(draw.random(TRAINED).tolist(), draw.random(HELD_OUT).tolist()),
    }
    evidence = made_evidence(losses=losses(draw, 20.0, 4.0, 4.0), overfitting={}, tables=tables)
    return Check(name="gate", outcome=combine(check.outcome for check in overfitting.judge(evidence)), message="")


CELLS = (
    Cell("gain_gap, share of long answers", "bound", partial(gap_of, trained=4.0, held_out=8.0)),
    Cell("gain_gap, nats of short answers", "bound", partial(gap_of, trained=0.1, held_out=0.3)),
    Cell("gain_gap, one answer in ten surprises", "bound", partial(gap_of, trained=0.3, held_out=0.6, skewed=True)),
    Cell("gain_gap", "none", partial(gap_of, trained=4.0, held_out=4.0)),
    Cell("gain_gap, one answer in ten surprises", "none", partial(gap_of, trained=0.4, held_out=0.4, skewed=True)),
    Cell("gain_gap", "planted", partial(gap_of, trained=1.0, held_out=6.0)),
    Cell("heldout", "bound", partial(rise_of, rise=0.02)),
    Cell("heldout, a rise of nothing", "none", partial(rise_of, rise=0.0)),
    Cell("heldout, a fall of 5%", "none", partial(rise_of, rise=-0.05)),
    Cell("heldout, a rise of 10%", "planted", partial(rise_of, rise=0.1)),
    Cell("drift", "bound", partial(drift_of, rise=0.25)),
    Cell("drift", "none", partial(drift_of, rise=0.0)),
    Cell("drift, a rise of 40%", "planted", partial(drift_of, rise=0.4)),
    Cell("membership", "bound", partial(membership_of, area=0.7)),
    Cell("membership", "none", partial(membership_of, area=0.5)),
    Cell("membership, an area of 0.85", "planted", partial(membership_of, area=0.85)),
    Cell("extraction, nothing held out", "bound", partial(extraction_of, trained=0.05, held_out=0.0)),
    Cell("extraction, three in ten held out", "bound", partial(extraction_of, trained=0.35, held_out=0.3)),
    Cell("extraction", "none", partial(extraction_of, trained=0.0, held_out=0.0)),
    Cell("extraction, one in five", "planted", partial(extraction_of, trained=0.2, held_out=0.0)),
    *(Cell(f"canaries, {n} of each", "bound", partial(canaries_of, area=0.75, count=n)) for n in (4, 8, 16, 32)),
    *(Cell(f"canaries, {n} of each", "none", partial(canaries_of, area=0.5, count=n)) for n in (16, 32)),
    Cell("canaries, 16 of each, an area of 0.95", "planted", partial(canaries_of, area=0.95, count=16)),
    Cell("contaminated_gap", "bound", partial(contaminated_of, seen=0.1, clean=0.0)),
    Cell("contaminated_gap, in the middle", "bound", partial(contaminated_of, seen=0.4, clean=0.3)),
    Cell(
        "contaminated_gap, 10 items of either kind",
        "bound",
        partial(contaminated_of, seen=0.1, clean=0.0, counts=(10, 10)),
    ),
    Cell("contaminated_gap", "none", partial(contaminated_of, seen=0.3, clean=0.3)),
    Cell("contaminated_gap, a gap of 0.5", "planted", partial(contaminated_of, seen=0.7, clean=0.2)),
    Cell("validation_curve", "bound", partial(curve_of, excess=0.05)),
    Cell("validation_curve", "none", partial(curve_of, excess=0.0)),
    Cell("validation_curve, an excess of 20%", "planted", partial(curve_of, excess=0.2)),
    Cell("answer_form, length", "bound", partial(form_of, ratio=2.0, refusals=0.0)),
    Cell("answer_form, refusals", "bound", partial(form_of, ratio=1.0, refusals=0.05)),
    Cell("answer_form", "none", partial(form_of, ratio=1.0, refusals=0.0)),
    Cell("answer_form, one in five refused", "planted", partial(form_of, ratio=1.0, refusals=0.2)),
    Cell("perturbation", "bound", partial(perturbation_of, gap=0.5)),
    Cell("perturbation", "none", partial(perturbation_of, gap=0.0)),
    Cell("perturbation, 1.5 nats", "planted", partial(perturbation_of, gap=1.5)),
    Cell("control:blind-classifier", "none", blind_of),
    Cell("control:base-placebo", "none", placebo_of),
    Cell("the whole gate", "none", sound_gate),
)


def run_cell(number: int, draws: int) -> dict[str, Any]:
    """Outcomes of a cell; of one that resamples much, a fifth of the draws."""
    cell, started = CELLS[number], time.process_time()
    draws //= 1 + 4 * cell.name.startswith(SLOW)
    counts = Counter(cell.judge(np.random.default_rng([number, k])).outcome for k in range(draws))
    failed = counts[Outcome.FAIL]
    low, high = clopper_pearson(failed, draws, 0.05)
    return {
        "name": cell.name,
        "truth": cell.truth,
        "draws": draws,
        "failed": failed / draws,
        "failed_interval": [round(low, 4), round(high, 4)],
        "inconclusive": counts[Outcome.INCONCLUSIVE] / draws,
        "passed": counts[Outcome.PASS] / draws,
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def main() -> None:
    """Draw, print a table, and keep the numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", default="", help="cells whose name begins so")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    numbers = [number for number, cell in enumerate(CELLS) if cell.name.startswith(given.only)]
    print("| truth | measurement | failed | [95%] | inconclusive | passed | CPU s |\n|---|---|---|---|---|---|---|")
    found = []
    with ProcessPoolExecutor(given.processes) as pool:
        for one in pool.map(run_cell, numbers, [given.draws] * len(numbers)):
            found.append(one)
            low, high = one["failed_interval"]
            print(
                f"| {one['truth']} | {one['name']} | {one['failed']:.3f} | {low:.3f} to {high:.3f} "
                f"| {one['inconclusive']:.3f} | {one['passed']:.3f} | {one['cpu_seconds']} |",
                flush=True,
            )
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    worst = max(one["failed"] for one in found if one["truth"] != "planted")
    print(f"\nmost false failures: {worst:.3f}; asked: at most 0.05")


if __name__ == "__main__":
    main()
