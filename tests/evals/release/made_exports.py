"""A judged tiny model with three kinds of tasks, and exports of it that are right or wrong on purpose."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import yaml

from curate.configfile import load_project
from evals.release.source import Loaded, Source
from evals.run import evaluate
from schemas.progress import Progress
from tests.evals.made_adapter import TASK, made_adapter, made_dataset, made_project

SAY = {
    "task": "toy_say",
    "dataset_path": "dataset:test",
    "output_type": "generate_until",
    "doc_to_text": "user",
    "doc_to_target": "answer",
    "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 6},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 1},
}
BITS = TASK | {
    "task": "toy_bits",
    "output_type": "loglikelihood",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
BITS.pop("doc_to_choice")


def made_judged(root: Path, model: Path) -> tuple[Source, Path]:
    """The judged model and the folder of its evaluation."""
    project = made_project(root, model)
    config = yaml.safe_load(project.path.read_text("utf-8"))
    config["evals"]["suites"] = ["toy_test", "toy_say", "toy_bits"]
    for task in (SAY, BITS):
        (root / f"{task['task']}.yaml").write_text(yaml.safe_dump(task), "utf-8")
    project.path.write_text(yaml.safe_dump(config), "utf-8")
    project = load_project(project.path)
    adapter = made_adapter(project, made_dataset(root, model), rows=11)
    result = evaluate(project, adapter.path, Progress(quiet=True))
    return Source("toy", model, adapter.folder, "float32"), result.folder


def merged(source: Source, *, scale: float = 1.0) -> Any:
    """The adapter merged into its base, its weights multiplied by a factor first."""
    from peft import PeftModel

    from train.adapter import load_weights

    assert source.adapter is not None
    model = PeftModel.from_pretrained(load_weights(source.base), str(source.adapter))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data *= scale
    return model.merge_and_unload()


def export(
    source: Source, folder: Path, change: Callable[[Any], Any] = lambda model: model, *, scale: float = 1.0
) -> Path:
    """A folder as `save_pretrained` leaves it, with the base's tokenizer; `change` makes another model of it."""
    model = change(merged(source, scale=scale))
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(source.base / name, folder / name)
    return folder


def plain_load(source: Source, folder: Path) -> Loaded:
    """By transformers alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return Loaded(model.eval(), AutoTokenizer.from_pretrained(folder))


def target(
    name: str = "merged", folder: str = "merged", *, lossless: bool = True, load: Any = plain_load
) -> ModuleType:
    """What a file of `evals.release.targets` has, without its export."""
    return cast(ModuleType, SimpleNamespace(NAME=name, FOLDER=folder, LOSSLESS=lossless, load=load))
