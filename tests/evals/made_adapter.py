"""A toy project with an adapter of random weights, as `assay train` would leave it, made without training."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from curate.configfile import Project, load_project
from schemas.stage import Finished, run_stage
from tests.toy_project import ToyProject, toy_rows
from train.run import data_verdict_of, train_stage

TASK = {
    "task": "toy_test",
    "dataset_path": "dataset:test",
    "output_type": "multiple_choice",
    "doc_to_text": "prompt",
    "doc_to_choice": ["no", "yes"],
    "doc_to_target": "answer",
    "target_delimiter": "",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 1, "chat_template": "rendered"},
}


def made_project(root: Path, model: Path, *, task: dict[str, Any] | None = None, **evals: Any) -> Project:
    """A config over the toy rows with one suite, `toy_test`, over the test split."""
    path = root / "assay.yaml"
    (root / "toy_test.yaml").write_text(yaml.safe_dump({**TASK, **(task or {})}), "utf-8")
    config = {
        "name": "toy",
        "data": {"sources": ["rows.jsonl"]},
        "gates": {"model": {"tasks": {"toy_test": {"must": "improve", "detect": 0.2}}}},
        "evals": {"suites": ["toy_test"], "batch_size": 4, **evals},
        "train": {"base_model": str(model), "max_examples": None, "lora": {"r": 4}},
    }
    path.write_text(yaml.safe_dump(config), "utf-8")
    return load_project(path)


def made_dataset(root: Path, model: Path, **splits: list[dict[str, Any]]) -> Finished:
    """A curated dataset of 14 trained and 12 test rows, with its passing data verdict."""
    toy = ToyProject(root, model)
    dataset = toy.dataset(**({"test": toy_rows(12, "t")} | splits))
    toy.verdict(dataset)
    return dataset


def made_adapter(project: Project, dataset: Finished, *, scale: float = 0.3, rows: int | None = None) -> Finished:
    """An adapter whose weights are random; `scale` 0 leaves the base model as it is.

    Args:
        project: the config.
        dataset: what the adapter is said to be trained on.
        scale: size of the random weights.
        rows: how many trained rows the stage names; null writes no list of them.
    """

    def fill(folder: Path) -> dict[str, int]:
        import torch
        from peft import get_peft_model

        from train.adapter import load_weights, lora_config, publish_adapter

        base = load_weights(Path(project.config.train.base_model))
        torch.manual_seed(0)
        model = get_peft_model(base, lora_config(project.config.train.lora, base))
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.data = torch.randn_like(weight) * scale
        model.save_pretrained(str(folder / "raw"))
        publish_adapter(folder / "raw", folder / "adapter", project.config.train.base_model)
        shutil.rmtree(folder / "raw")
        if rows is not None:
            names = [row["row_id"] for row in toy_rows(rows)]
            pl.DataFrame({"row_id": names, "order": range(rows)}).write_parquet(folder / "trained_rows.parquet")
        return {"rows_trained": rows or 0}

    return run_stage(train_stage(project, dataset.path, data_verdict_of(project, dataset.path)), fill)
