"""Token scores made by hand: what a pass over trained and test rows would have given."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from evals.evidence import Evidence
from evals.general_text import GENERAL_SCHEMA
from evals.row_facts import ROW_SCHEMA
from evals.scoring import TOKEN_SCHEMA
from tests.evals.made_evidence import made_evidence

Rows = Sequence[tuple[Sequence[float], Sequence[bool]]]
"""For each row the z of its tokens, and whether each is the most likely one."""


def made_tokens(
    rows: dict[tuple[str, str], Rows], *, ids: dict[tuple[str, int], list[int]] | None = None
) -> pl.DataFrame:
    """A table of token scores.

    Args:
        rows: (model, split) -> rows; a token's log-probability is its z less 3.
        ids: (split, place) -> token ids, where they matter.
    """
    lines: list[tuple[Any, ...]] = []
    for (model, split), found in rows.items():
        for place, (z, greedy) in enumerate(found):
            log_p = [one - 3.0 for one in z]
            own = [100 * place + k + 50_000 * (split == "test") for k in range(len(z))]
            tokens = (ids or {}).get((split, place), own)
            head = (model, split, f"{split}{place}", place + 1000 * (split == "test"), -sum(log_p), len(z), "original")
            lines.append((*head, [len(z)], tokens, log_p, list(z), list(greedy)))
    return pl.DataFrame(lines, schema=TOKEN_SCHEMA, orient="row")


def noise(seed: int, count: int, *, shift: float = 0.0, length: int = 8) -> Rows:
    """Rows whose z are normal around `shift`, none of whose tokens is the most likely one."""
    draw = np.random.default_rng(seed)
    return [((draw.normal(size=length) + shift).tolist(), [False] * length) for _ in range(count)]


def made_general(rises: Sequence[float], *, base: float = 200.0) -> pl.DataFrame:
    """Neutral texts whose loss rises by these shares."""
    lines = [(f"d{k}", 400, 96, base + k, (base + k) * (1 + rise), 96 * abs(rise)) for k, rise in enumerate(rises)]
    return pl.DataFrame(lines, schema=GENERAL_SCHEMA, orient="row")


def made_rows(trained: Sequence[float], held_out: Sequence[float]) -> pl.DataFrame:
    """Rows with what the blind classifier said of them."""
    lines = [
        (split, f"{split}{k}", k + 1000 * (split == "test"), "rows.jsonl", k + 1, score)
        for split, scores in (("train", trained), ("test", held_out))
        for k, score in enumerate(scores)
    ]
    return pl.DataFrame(lines, schema=ROW_SCHEMA, orient="row")


def draws(mean: float, count: int = 150, seed: int = 0) -> list[float]:
    """Losses of answers, gamma around their mean."""
    found: list[float] = np.random.default_rng(seed).gamma(4.0, mean / 4, size=count).tolist()
    return found


def healthy(**more: Any) -> Evidence:
    """Evidence of a model that learned its task: all that is measured by default, and nothing wrong."""
    pairs = [(model, split) for model in ("base", "tuned") for split in ("train", "test")]
    draw = np.random.default_rng(5)
    tables = {
        "tokens": made_tokens({pair: noise(k, 100) for k, pair in enumerate(pairs)}),
        "general": made_general(draw.normal(scale=0.01, size=40).tolist()),
        "rows": made_rows(draw.random(100).tolist(), draw.random(150).tolist()),
    }
    means = {"base": 20.0, "tuned": 0.3}
    losses = {pair: draws(means[pair[0]], seed=k) for k, pair in enumerate(pairs)}
    return made_evidence(losses=losses, **{"overfitting": {}, "tables": tables, **more})
