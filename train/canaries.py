"""Canaries: made-up conversations with a secret, trained a known number of times, whose loss shows memorisation.

A secret that was never trained has the loss of any other random code. How much lower the loss of trained ones is, by
how often they were seen, says how readily this run learns single rows by heart. Source: Carlini et al. 2019, "The
Secret Sharer" (arXiv 1802.08232).
"""

from __future__ import annotations

import random

from train.rows import SplitRow

DOSES = (1, 2, 4)
"""How often each group of canaries is inserted; as many again are never inserted, and measured beside them."""
WORDS = (
    "amber",
    "basalt",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "garnet",
    "harbour",
    "indigo",
    "juniper",
    "krill",
    "lagoon",
)
DIGITS = 12


def canary_rows(count: int, seed: int) -> dict[int, list[SplitRow]]:
    """Canaries of each dose, 0 among them for the controls.

    Args:
        count: canaries of each dose.
        seed: another seed gives other secrets.
    """
    draw = random.Random(f"canaries:{seed}")
    return {dose: [_row(dose, k, draw) for k in range(count)] for dose in (0, *DOSES)}


def _row(dose: int, number: int, draw: random.Random) -> SplitRow:
    name = " ".join(draw.choice(WORDS) for _ in range(3))
    secret = "".join(draw.choice("0123456789") for _ in range(DIGITS))
    messages = [
        {"role": "user", "content": f"What is the access code of the depot {name} {number}?"},
        {"role": "assistant", "content": f"The access code is {secret}."},
    ]
    row_id = f"canary-{dose}-{number}"
    return SplitRow(row_id, None, -1, row_id, None, {"messages": messages})
