"""What each training method made is measured against its base model on its own kind of rows."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from curate.configfile import Project, load_project
from evals.run import evaluate
from schemas.errors import UserError
from schemas.progress import Progress
from schemas.stage import Finished
from tests.evals.made_adapter import TASK
from tests.toy_project import ToyProject, toy_kind
from train.monitor import SilentView
from train.run import train

TEXT_TASK = {
    "output_type": "generate_until",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4, "do_sample": False},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
GRPO = {"rewards": [{"use": "exact_match"}], "batch_size": 8, "max_new_tokens": 4}


def trained(root: Path, model: Path, method: str, **given: Any) -> tuple[Project, Finished]:
    """A toy project that trained with a method, and what it made."""
    toy = ToyProject(root, model)
    counts = {"train": 12, "validation": 4, "test": 12}
    dataset = toy.dataset(**{split: toy_kind(method, count, split[:2]) for split, count in counts.items()})
    toy.verdict(dataset)
    generated = {key: value for key, value in TASK.items() if key != "doc_to_choice"} | TEXT_TASK
    task = generated if method == "text" else TASK
    (root / "toy_test.yaml").write_text(yaml.safe_dump(task), "utf-8")
    settings = {"method": method, "lora": {"r": 2}, "batch_size": 4, "max_examples": None, "learning_rate": 5e-3}
    settings |= given
    config = {
        "name": "toy",
        "data": {"sources": ["rows.jsonl"]},
        "gates": {"model": {"tasks": {"toy_test": {"must": "improve", "detect": 0.2}}}},
        "evals": {"suites": ["toy_test"], "batch_size": 4},
        "train": {"base_model": str(model), **settings, **(GRPO if method == "grpo" else {})},
    }
    path = root / "assay.yaml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    project = load_project(path)
    return project, train(project, dataset.path, SilentView())


@pytest.mark.parametrize("method", ["full", "text", "dpo", "kto", "grpo"])
def test_base_and_tuned_are_measured_on_the_methods_own_rows(tiny_model_folder, tmp_path, method):
    project, made = trained(tmp_path, tiny_model_folder, method)
    result = evaluate(project, made.path, Progress(quiet=True))
    losses = pl.read_parquet(result.folder / "losses.parquet").pivot("model", index=["split", "row_id"], values="nll")
    rows = {"kto": 12}.get(method, 24)  # answers that are marked as bad are not to be learned
    assert len(losses) == rows
    base, tuned = losses["base"].to_numpy(), losses["tuned"].to_numpy()
    if method != "grpo":  # whose random answers may earn nothing
        assert (base != tuned).all()
    if method in ("full", "text", "dpo"):
        assert tuned.sum() < base.sum()
    scores = json.loads((result.folder / "results.json").read_bytes())["scores"]
    assert {score["model"] for score in scores} >= {"base", "tuned"}


def test_base_answers_are_the_same_beside_a_full_model(tiny_model_folder, tmp_path):
    folders = [tmp_path / method for method in ("sft", "full")]
    tables = []
    for folder in folders:
        folder.mkdir()
        project, made = trained(folder, tiny_model_folder, folder.name)
        result = evaluate(project, made.path, Progress(quiet=True))
        tables.append(pl.read_parquet(result.folder / "losses.parquet").filter(pl.col("model") == "base"))
    assert tables[0].equals(tables[1])


def test_a_reward_model_has_no_answers_to_be_measured(tiny_model_folder, tmp_path):
    project, made = trained(tmp_path, tiny_model_folder, "reward")
    with pytest.raises(UserError, match="gives scores and no answers"):
        evaluate(project, made.path, Progress(quiet=True))
