"""Whether a comparison names the right arm where it is known which one is right, on tasks made for that.

    python benchmarks/compare_winners.py --seeds 5
    python benchmarks/compare_winners.py --tasks both --seeds 1

A row asks which word belongs to a name. That is told in a note of the question itself, or stands in documents alone;
and the answer is the word plainly, or in a house format that trained rows alone show: a code before it, which depends
on the word by a table of 24, and a closing word. That makes four tasks, each with one arm that serves it:

- neither, told and plain: a prompt suffices, and every arm that costs more is no better.
- documents, a quarter of the questions without a note, plain: retrieval.
- format, told and in house format: fine-tuning; four examples hold at most 4 of the 24 codes.
- both, a quarter without a note and in house format: fine-tuning and retrieval together.

Names and words are the same for all seeds; what belongs to whom, the table, the split and the training are a seed's
own. The base model is `reading_model.py`'s, which looks up what it is told, says `unknown` otherwise, and is made once.
Every run goes through the stages that a user's run goes through: curate, data gate, train, compare. Prices are given by
the token and for a training, so that no measured second decides. Exit 1: in a run, another arm was named than the right
one, or none.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.reading_model import ensure_reading_model, fact, question, words
from curate.configfile import Project, load_project
from curate.gate import gate_data
from curate.pipeline import curate
from evals.comparing.run import compare
from evals.selftest.chain import ALL_LAYERS
from evals.selftest.seeds import begin
from evals.stats import clopper_pearson
from schemas.compare import Compared
from schemas.progress import SILENT
from schemas.verdict import Outcome

ARMS = ("zero_shot", "few_shot", "few_shot_retrieved", "rag", "tuned", "tuned_rag")
ROWS = 500
"""Of a run; the other names stand in notes beside what is asked."""
SPLIT = {"train": 0.64, "validation": 0.04, "test": 0.32}
MARGIN = 0.1
PRICES = {"input_per_million": 1.0, "output_per_million": 4.0, "training": 1.0}
"""Of tokens and of a training, which costs more than 1,000 answers of any arm: the cheapest arm is the plainest one."""


@dataclass(frozen=True)
class Task:
    """One cell of where the facts stand and what the answers look like."""

    name: str
    told: float
    """Share of questions whose note tells the answer; where it is below 1, documents tell all of them."""
    formed: bool
    """Whether answers are in the house format."""
    right: str
    """The arm that serves it."""


TASKS = (
    Task("neither", 1.0, False, "zero_shot"),
    Task("documents", 0.75, False, "rag"),
    Task("format", 1.0, True, "tuned"),
    Task("both", 0.75, True, "tuned_rag"),
)


@dataclass(frozen=True)
class Made:
    """Rows of one task and seed, and the text of the documents, empty where it has none."""

    rows: list[dict[str, Any]]
    documents: str


@dataclass(frozen=True)
class Result:
    """What was recommended."""

    task: Task
    seed: int
    arm: str | None
    headline: str
    quality: dict[str, float | None]
    items: int
    clusters: int
    cpu_seconds: float

    @property
    def outcome(self) -> str:
        """right, wrong, or inconclusive where no arm was named."""
        return "inconclusive" if self.arm is None else "right" if self.arm == self.task.right else "wrong"


def made(task: Task, seed: int, rows: int = ROWS) -> Made:
    """Rows and documents of a seed, no two rows about one name."""
    drawn, known = Random(f"{task.name} {seed}"), words()
    names = drawn.sample(known.names, len(known.names))
    facts = {name: drawn.choice(known.values) for name in names}
    *codes, closing = drawn.sample(known.codes, len(known.values) + 1)
    table = dict(zip(known.values, codes, strict=True))
    asked, others = names[:rows], names[rows:]
    found = []
    for name in asked:
        value, notes = facts[name], []
        if drawn.random() < task.told:
            notes = [fact(one, facts[one]) for one in drawn.sample((name, drawn.choice(others)), 2)]
        answer = f"{table[value]} {value} {closing}" if task.formed else value
        turns = [{"role": "user", "content": question(name, notes)}, {"role": "assistant", "content": answer}]
        found.append({"messages": turns})
    told = [fact(name, facts[name]) for name in drawn.sample(asked, len(asked))] if task.told < 1 else []
    return Made(found, "\n\n".join(told))


def project_of(task: Task, seed: int, model: Path, folder: Path, rows: int = ROWS) -> Project:
    """Everything that a run starts from, written into a folder: rows, documents and config."""
    data = made(task, seed, rows)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data.rows), encoding="utf-8")
    if data.documents:
        (folder / "documents").mkdir()
        (folder / "documents" / "register.txt").write_text(data.documents + "\n", encoding="utf-8")
    config = {
        "name": f"{task.name}-{seed}",
        "data": {"sources": ["rows.jsonl"]},
        "curate": {"steps": ["schema", "exact-duplicate"], "split": {**SPLIT, "seed": seed}},
        "train": {
            "base_model": str(model.absolute()),
            "lora": {"r": 16, "lora_alpha": 32, "target_modules": list(ALL_LAYERS)},
            "learning_rate": 3e-3,
            "schedule": "linear",
            "max_examples": None,
            "epochs": 20,
            "batch_size": 32,
            "max_length": 128,
            "checkpoint_steps": 1000,
            "keep": "last",
            "watch": {"rows": 0, "general_texts": 0},
            "seed": seed,
        },
        "evals": {"suites": ["own_test"], "batch_size": 32},
        "gates": {"data": {"min_rows": 20}, "model": {"tasks": {"own_test": {"must": "improve", "detect": 0.2}}}},
        "compare": {
            "items": None,
            "arms": list(ARMS),
            "metric": "exact",
            "documents": "documents" if data.documents else None,
            "passage_words": 10,
            "paraphrases": 0,
            "latency_items": 1,
            "margin": MARGIN,
            "prices": PRICES,
            "seed": seed,
        },
    }
    (folder / "assay.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return load_project(folder / "assay.yaml")


def run(task: Task, seed: int, model: Path, folder: Path, rows: int = ROWS) -> Result:
    """Curate, gate, train and compare; everything that was made on the way is thrown away.

    Args:
        task: which of the four.
        seed: of rows, split, training and comparison.
        model: folder of the base model.
        folder: scratch; it must not exist, and is gone afterwards.
        rows: how many.
    """
    from train.monitor import SilentView
    from train.run import train

    started = time.process_time()
    folder.mkdir(parents=True)
    try:
        project = project_of(task, seed, model, folder, rows)
        dataset = curate(project)
        gate_data(project, dataset.path)
        adapter = train(project, dataset.path, SilentView())
        compared = compare(project, adapter.path, SILENT)
        judged = Compared.model_validate_json((compared.folder / "compare.json").read_bytes())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    named = judged.recommendation.arm if judged.outcome is Outcome.PASS else None
    quality = {arm.name: arm.quality.estimate if arm.quality else None for arm in judged.arms}
    seconds = round(time.process_time() - started, 1)
    counts = (judged.items, judged.clusters)
    return Result(task, seed, named, judged.recommendation.headline, quality, *counts, seconds)


def _job(task: Task, seed: int, model: Path, scratch: Path) -> Result:
    """In a worker of one thread."""
    import torch

    torch.set_num_threads(1)
    return run(task, seed, model, scratch / f"{task.name}-{seed}")


def runs(tasks: Sequence[Task], seeds: int, model: Path, processes: int) -> Iterator[Result]:
    """All tasks with the first seed, then with the next."""
    wanted = [(task, seed) for seed in range(seeds) for task in tasks]
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with tempfile.TemporaryDirectory() as scratch:
        pool = ProcessPoolExecutor(
            min(processes, len(wanted)), mp_context=context, initializer=begin, initargs=(os.getpid(),)
        )
        with pool:
            jobs = [pool.submit(_job, task, seed, model, Path(scratch)) for task, seed in wanted]
            for job in jobs:
                yield job.result()


def line(result: Result) -> str:
    """A row of the table."""
    quality = ["" if result.quality[arm] is None else f"{result.quality[arm]:.2f}" for arm in ARMS]
    said = (result.task.name, str(result.seed), result.task.right, result.arm or "none", result.outcome)
    return f"| {' | '.join((*said, *quality))} |"


def summary(results: Sequence[Result]) -> str:
    """How many were right, with the Clopper-Pearson interval at 95%."""
    outcomes = [result.outcome for result in results]
    right, count = outcomes.count("right"), len(outcomes)
    low, high = clopper_pearson(right, count, 0.05)
    return (
        f"{right} of {count} right [{low:.3f}, {high:.3f}], {outcomes.count('inconclusive')} inconclusive, "
        f"{outcomes.count('wrong')} wrong; {sum(result.cpu_seconds for result in results):.0f} s of processor time"
    )


def main() -> None:
    """Run, print, and say by the exit code whether all were right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", choices=[task.name for task in TASKS], default=None)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    tasks = [task for task in TASKS if task.name in (given.tasks or [task.name])]
    model = ensure_reading_model()
    print(f"| task | seed | right | recommended | outcome | {' | '.join(ARMS)} |")
    print("|---|--:|---|---|---|" + "--:|" * len(ARMS), flush=True)
    results = []
    for result in runs(tasks, given.seeds, model, given.processes):
        results.append(result)
        print(line(result), flush=True)
        if result.outcome != "right":
            print(f"{result.task.name} {result.seed}: {result.headline}", file=sys.stderr)
    print(f"\n{summary(results)}")
    sys.exit(any(result.outcome != "right" for result in results))


if __name__ == "__main__":
    main()
