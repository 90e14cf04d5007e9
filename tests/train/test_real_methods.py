"""Every method, and the variants of LoRA, two steps on the embedded base model: real shapes, template and tokenizer."""

import json
from typing import Any

import pytest

from tests.toy_project import ToyProject, toy_kind
from train.base_model import ensure_base_model
from train.monitor import SilentView
from train.run import train

pytestmark = pytest.mark.slow

GRPO = {"rewards": [{"use": "regex", "options": {"pattern": "e"}}], "generations": 2, "max_new_tokens": 4}
CASES: dict[str, dict[str, Any]] = {
    **{method: {"method": method} for method in ("sft", "text", "full", "dpo", "kto", "reward")},
    "grpo": {"method": "grpo", **GRPO},
    "rslora": {"lora": {"r": 2, "last_layers": 2, "use_rslora": True}},
    "dora": {"lora": {"r": 2, "last_layers": 2, "use_dora": True}},
}


@pytest.mark.parametrize("case", CASES)
def test_a_method_trains_the_embedded_model(tmp_path, case):
    toy = ToyProject(tmp_path, ensure_base_model("smollm2-135m-instruct"))
    given = {"batch_size": 2, "max_length": 128, "lora": {"r": 2, "last_layers": 2}, "learning_rate": 1e-4}
    given |= {"watch": {"rows": 2}, **CASES[case]}
    method = CASES[case].get("method", "sft")
    count = 2 if method == "grpo" else 4  # two steps
    splits = {"train": toy_kind(method, count), "validation": toy_kind(method, 2, "v")}
    dataset = toy.dataset(**splits)
    toy.verdict(dataset)
    finished = train(toy.project(**given), dataset.path, SilentView())
    records = [json.loads(line) for line in (finished.folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [0, 1, 2]
    assert records[1]["grad_norm"] > 0 or method == "grpo"  # whose answers may all be rewarded alike
    assert {"held_out_loss", "trained_loss"} <= set(records[-1])
    assert finished.manifest.counts["trainable_parameters"] == (134_515_008 if method == "full" else PARAMETERS[case])


ATTENTION = 2 * 2 * (4 * 576 + 192 + 192 + 576 + 576)
"""Weights of rank 2 in two layers: A and B of q and o, 576 by 576, and of k and v, 576 by 192."""
PARAMETERS = dict.fromkeys(CASES, ATTENTION) | {
    "reward": ATTENTION + 576,
    "dora": ATTENTION + 2 * (576 + 192 + 192 + 576),
}
