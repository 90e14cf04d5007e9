"""What a train stage records of a run that learned by heart, went back once and published an earlier step."""

import json
import math
from typing import Any

METHODS: dict[str, dict[str, float]] = {
    "sft": {"accuracy": 0.9},
    "dpo": {"rewards_accuracies": 0.8, "rewards_margins": 1.5},
    "kto": {"rewards_margins": 0.4, "kl": 0.1},
    "reward": {"accuracy": 0.75, "margin": 2.0},
    "grpo": {"reward": 0.6},
}
"""Method -> what it measures beside the loss, at the end."""
PUBLISHED, STEPS, WATCHED = 20, 60, (0, 10, 20, 30, 40, 50, 60)


def made_training(method: str = "sft", *, canaries: bool = False, steps: int = STEPS) -> dict[str, bytes | None]:
    """`metrics.jsonl` and `ledger.json`."""
    records = [_record(step, method, canaries) for step in range(steps + 1)]
    ledger = {
        "schema": "assay/train-ledger/2",
        "method": method,
        "rows_in": 3,
        "rows_trained": 3,
        "steps": steps,
        "published_step": PUBLISHED,
        "rollbacks": [{"step": 35, "back_to": 20, "found": "a loss of 9 where the median of 20 steps was 0.5"}],
    }
    return {
        "metrics.jsonl": b"".join(json.dumps(record).encode() + b"\n" for record in records),
        "ledger.json": json.dumps(ledger).encode(),
    }


def _record(step: int, method: str, canaries: bool) -> dict[str, Any]:
    learned = math.exp(-step / 12)
    record: dict[str, Any] = {"step": step}
    if step:
        record |= {"loss": 0.02 + 2.0 * learned * (1 + 0.3 * math.sin(7 * step)), "reward": 0.6 - 0.5 * learned}
    if step in WATCHED:
        held_out = 0.4 + 1.7 * learned + 0.012 * max(step - PUBLISHED, 0)
        record |= {"trained_loss": 0.01 + 2.0 * learned, "held_out_loss": held_out}
        record["gain_gap"] = (2.01 - record["trained_loss"]) - (2.1 - held_out)
        for name, end in METHODS[method].items():
            record |= {f"trained_{name}": end * (1 - learned), f"held_out_{name}": 0.8 * end * (1 - learned)}
        if canaries:
            record |= {f"canary_{times}_loss": 2.5 - times * (1 - learned) / 4 for times in (0, 1, 2, 4)}
    return record
