"""One planted model from rows to verdict, by the stages that a real run goes through, in this process."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal

import yaml
from pydantic import Field

from curate.configfile import Project, load_project
from curate.gate import gate_data
from curate.pipeline import curate
from evals.discovery import modules
from evals.gate import judge_results
from evals.imports import import_dataset
from evals.run import evaluate
from evals.selftest.case import GATE, SPLIT, Case
from evals.selftest.task import MadeRow, made_rows
from schemas.base import Strict
from schemas.errors import AssayError
from schemas.progress import SILENT
from schemas.stage import Finished
from schemas.verdict import Check, Outcome, Verdict

TASK = "made_test"
ALL_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TEXT_ITEMS = 100
"""Items of the task where the rows are plain texts, which ask nothing by themselves."""
OTHER_SEEDS = 1_000_000
"""Added to a seed where rows are needed that no split holds."""


class Effect(Strict):
    """What a measurement of overfitting found, and its bound."""

    estimate: float
    bound: float


class SeedResult(Strict):
    """What the gate said of one case and seed."""

    schema_: Literal["assay/selftest-seed/1"] = Field(default="assay/selftest-seed/1", alias="schema")
    case: str
    seed: int
    says: dict[str, Outcome]
    """Check -> outcome; the whole verdict under `gate`. Empty where the run ended in an error."""
    effects: dict[str, Effect] = Field(default_factory=dict)
    """Check and the name of the effect, with a space between -> what was found."""
    scores: dict[str, float]
    """Model -> score on the task."""
    error: str = ""
    """Why there is no verdict."""
    cpu_seconds: float

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}


def run_seed(case: Case, seed: int, base_model: Path, folder: Path) -> SeedResult:
    """Make rows, curate, train, evaluate and judge; everything that was made on the way is thrown away.

    Args:
        case: what is planted.
        seed: of the rows, of their split, of training and of what is sampled.
        base_model: folder of the model that is tuned.
        folder: scratch; it must not exist, and is gone afterwards.
    """
    started = time.process_time()
    folder.mkdir(parents=True)
    try:
        verdict, scores = _verdict(case, seed, base_model, folder)
        says = {GATE: verdict.outcome} | {check.name: check.outcome for check in verdict.checks}
        effects, error = effects_of(verdict.checks), ""
    except AssayError as failed:
        says, effects, scores, error = {}, {}, {}, str(failed)[:500]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.process_time() - started, 2)
    return SeedResult(
        case=case.name, seed=seed, says=says, effects=effects, scores=scores, error=error, cpu_seconds=seconds
    )


def effects_of(checks: Iterable[Check]) -> dict[str, Effect]:
    """Of each measurement of overfitting, the numbers that its thresholds bound.

    Args:
        checks: of a verdict; those that measured nothing have no effects.
    """
    known = {module.__name__.rpartition(".")[2].replace("_", "-"): module for module in modules("evals.overfitting")}
    found = {}
    for check in checks:
        kind, _, name = check.name.partition(":")
        for place, threshold in known[name].EFFECTS.items() if kind == "overfitting" else ():
            ends: Any = check.measured
            for step in place.split("."):
                ends = ends.get(step) if isinstance(ends, dict) else None
            if ends is not None and ends["estimate"] is not None:
                found[f"{check.name} {place}"] = Effect(estimate=ends["estimate"], bound=check.required[threshold])
    return found


def _verdict(case: Case, seed: int, base_model: Path, folder: Path) -> tuple[Verdict, dict[str, float]]:
    from train.monitor import SilentView
    from train.run import train

    project = _project(case, seed, base_model, folder)
    dataset = _dataset(case, seed, project, folder)
    if not case.leaked_share:
        gate_data(project, dataset.path)
    adapter = train(project, dataset.path, SilentView(), allow_ungated=bool(case.leaked_share))
    results = evaluate(project, adapter.path, SILENT)
    judged = judge_results(project, results.path)
    verdict = Verdict.model_validate_json((judged.folder / "verdict.json").read_bytes())
    scores = json.loads((results.folder / "results.json").read_bytes())["scores"]
    return verdict, {one["model"]: one["value"] for one in scores if one["task"] == TASK}


def _project(case: Case, seed: int, base_model: Path, folder: Path) -> Project:
    """A config like any other; what the gate measures has its default thresholds."""
    train = {
        "base_model": str(base_model.absolute()),
        "lora": {"r": 16, "lora_alpha": 32, "target_modules": list(ALL_LAYERS)},
        "learning_rate": 2e-3,
        "max_examples": None,
        "batch_size": 16,
        "max_length": 128,
        "checkpoint_steps": 1000,
        "seed": seed,
    }
    rows = case.measured
    config: dict[str, Any] = {
        "name": case.name.replace("_", "-"),
        "data": {"sources": ["rows.jsonl"]},
        "curate": {"steps": ["schema", "exact-duplicate", "contamination"], "split": {**SPLIT, "seed": seed}},
        "train": {**train, **case.train},
        "evals": {"suites": [TASK], "limit": rows, "trained_rows": rows, "test_rows": rows, "seed": seed},
        "gates": {
            "data": {"min_rows": 100},
            "model": {
                "tasks": {TASK: {"must": "improve", "detect": 0.25}},
                "overfitting": dict.fromkeys(case.named, "default"),
            },
        },
    }
    if case.form == "chat":
        config["curate"]["split"]["stratify_by"] = "label"
    write_rows(folder / "rows.jsonl", case.rows(seed), case)
    _write_task(case, seed, folder)
    (folder / "assay.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return load_project(folder / "assay.yaml")


def write_rows(path: Path, rows: Sequence[MadeRow], case: Case) -> None:
    """Rows as JSON Lines, in the form that the case trains."""
    records = [row.as_chat() if case.form == "chat" else row.as_text() for row in rows]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _write_task(case: Case, seed: int, folder: Path) -> None:
    """The answer counts as right where the model would give it word by word, which needs no generation."""
    task: dict[str, Any] = {
        "task": TASK,
        "output_type": "loglikelihood",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "target_delimiter": "",
    }
    if case.form == "chat":
        task |= {"dataset_path": "dataset:test", "doc_to_text": "prompt", "doc_to_target": "answer"}
        task["metadata"] = {"version": 1, "chat_template": "rendered"}
    else:
        task |= {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "items.jsonl"}}}
        task |= {"doc_to_text": "asked", "doc_to_target": "answer", "metadata": {"version": 1, "chat_template": "none"}}
        rows = made_rows(seed, TEXT_ITEMS, rows_seed=seed + OTHER_SEEDS)
        items = [{"asked": f"{row.question}\nanswer:", "answer": f" {row.answer}"} for row in rows]
        (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    (folder / f"{TASK}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")


def _dataset(case: Case, seed: int, project: Project, folder: Path) -> Finished:
    if not case.leaked_share:
        return curate(project)
    rows = case.rows(seed)
    cuts = [round(len(rows) * SPLIT["train"]), round(len(rows) * (SPLIT["train"] + SPLIT["validation"]))]
    train, validation, test = rows[: cuts[0]], rows[cuts[0] : cuts[1]], rows[cuts[1] :]
    leaked = Random(f"leak {seed}").sample(test, round(len(test) * case.leaked_share))
    parts = {"train": [*train[: len(leaked)], *leaked], "validation": validation, "test": test}
    for name, part in parts.items():
        write_rows(folder / f"{name}.jsonl", part, case)
    return import_dataset({name: (folder / f"{name}.jsonl",) for name in parts}, project.runs, project.config.name)
