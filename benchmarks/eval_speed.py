"""Scoring base and tuned model on the same items, beside two plain lm-eval runs in the same process.

    python benchmarks/eval_speed.py --items 500 --out benchmarks/results/eval_speed.json

Three tasks over mail of the spam example and sums made here: a choice of two labels, a choice of four numbers, and a
label that is generated. The adapter is trained here first, on other mail. Ours loads the base model once and switches
the adapter on and off, with an empty store of answers; plain lm-eval is asked as its command line would be, once for
the base model and once with the adapter, in float32 with the same batch size. Both load their models inside the timed
part. Scores must be equal item by item, log-likelihoods within 1e-4 nats.
"""

import argparse
import json
import platform
import random
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
import torch
import yaml
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from numpy.typing import NDArray

from curate.load_supervisor import load_supervisor
from evals.harness import TaskRun, quiet, run_task, shared_lm
from evals.models import load_models
from evals.responses import Responses
from evals.tasks import file_items, find_task, write_task
from evals.token_scores import TokenScorer
from schemas.train_config import LoraSettings, TrainConfig
from train.adapter import publish_adapter
from train.base_model import ensure_base_model
from train.examples import supervise
from train.monitor import SilentView
from train.rows import SplitRow
from train.trainer import Job, thread_count
from train.training import train_model

RAW = Path(__file__).parents[1] / "examples" / "spam" / "raw.jsonl"
AGREEMENT = 1e-4
Seconds = NDArray[np.float64]
"""Of the wall clock, and of this process on its processors."""
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def mail(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows to train on and rows to ask, no text in both."""
    records = [json.loads(line) for line in RAW.read_text("utf-8").splitlines()]
    distinct = list({record["messages"][-2]["content"][:400]: record for record in records}.values())
    random.Random(0).shuffle(distinct)
    return distinct[:60], distinct[60 : 60 + count]


def sums(count: int) -> list[dict[str, Any]]:
    """Additions with four answers to choose from."""
    draw = random.Random(1)
    rows = []
    for _ in range(count):
        left, right = draw.randrange(10, 90), draw.randrange(10, 90)
        wrong = draw.sample([left + right + k for k in (-20, -10, -2, -1, 1, 2, 10, 20)], 3)
        choices = [str(number) for number in sorted((left + right, *wrong))]
        rows.append({"prompt": f"{left} + {right} =", "choices": choices, "answer": choices.index(str(left + right))})
    return rows


def write_tasks(folder: Path, asked: list[dict[str, Any]], supervisor: Any, count: int) -> list[str]:
    """The three tasks as lm-eval reads them."""
    rows = [
        {"prompt": supervisor.prompt(one["messages"][:-1]), "answer": one["messages"][-1]["content"]} for one in asked
    ]
    labels = sorted({row["answer"] for row in rows})
    shared = {"test_split": "test", "doc_to_text": "{{prompt}}", "num_fewshot": 0, "target_delimiter": ""}
    accuracy = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
    exact = [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
    tasks: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
        "labels": (rows, {"output_type": "multiple_choice", "doc_to_choice": labels, "metric_list": accuracy}),
        "sums": (
            sums(count),
            {"output_type": "multiple_choice", "doc_to_choice": "choices", "metric_list": accuracy}
            | {"target_delimiter": " "},
        ),
        "generated": (
            rows,
            {"output_type": "generate_until", "metric_list": exact}
            | {"generation_kwargs": {"until": ["<|im_end|>", "\n"], "max_gen_toks": 8, "do_sample": False}},
        ),
    }
    for name, (items, config) in tasks.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items), "utf-8")
        files = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}}}
        task = {"task": name, **shared, **files, "doc_to_target": "{{answer}}", **config}
        task["doc_to_target"] = "answer" if name == "sums" else "{{answer}}"
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(task), "utf-8")
        found = find_task(name, folder)
        write_task(found, file_items(found, None, 0), folder / "tasks", "")
    return list(tasks)


def make_adapter(folder: Path, base: Path, trained: list[dict[str, Any]]) -> Path:
    """A stage-like folder with an adapter trained on mail."""
    config = TrainConfig(lora=LoraSettings(last_layers=15), checkpoint_steps=100, keep="last")
    supervisor = load_supervisor(base, config.max_length)
    rows = [SplitRow(str(k), None, k, str(RAW), k, {"messages": r["messages"]}) for k, r in enumerate(trained)]
    examples = supervise(supervisor, rows, config, "train")
    job = Job(config, folder, base, supervisor.pad_token_id, rows, examples, [], {}, frozenset())
    checkpoint = train_model(job, folder / "checkpoints", folder / "metrics.jsonl", SilentView())
    publish_adapter(checkpoint, folder / "adapter", str(base))
    return folder


def now() -> Seconds:
    """Both clocks."""
    return np.array([time.perf_counter(), time.process_time()])


def ours(base: Path, adapter: Path, tasks: Path, names: list[str], batch: int) -> dict[tuple[str, str], Any]:
    """Both models on every task: (model, task) -> result and seconds; loading counts to the first."""
    start = now()
    loaded = load_models(base, adapter)
    scorer = TokenScorer(loaded.model, batch, loaded.max_length)
    lm = shared_lm(scorer, loaded.tokenizer)
    found: dict[tuple[str, str], Any] = {}
    with tempfile.TemporaryDirectory() as empty:
        for model in ("base", "tuned"):
            scorer.forget()
            scorer.store = Responses(Path(empty), {"model": model})
            with loaded.acting_as(model):
                for name in names:
                    run = run_task(lm, tasks, name, chat_template=False)
                    found[model, name] = run, now() - start
                    start = now()
    return found


def plain(base: Path, adapter: Path, tasks: Path, names: list[str], batch: int) -> dict[tuple[str, str], Any]:
    """The same by lm-eval alone, the model loaded anew for each model."""
    found: dict[tuple[str, str], Any] = {}
    for model in ("base", "tuned"):
        peft = str(adapter / "adapter") if model == "tuned" else None
        start = now()
        with quiet():
            lm = HFLM(pretrained=str(base), peft=peft, dtype="float32", batch_size=batch, device=DEVICE)
        for name in names:
            with quiet():
                manager = TaskManager(include_path=str(tasks), include_defaults=False)
                result = lm_eval.simple_evaluate(lm, tasks=[name], task_manager=manager, bootstrap_iters=0)
            samples = sorted(result["samples"][name], key=lambda sample: sample["doc_id"])
            found[model, name] = samples, now() - start
            start = now()
    return found


def compare(run: TaskRun, samples: list[dict[str, Any]]) -> dict[str, float]:
    """Items whose score differs, and the largest difference of log-likelihoods."""
    metric = "acc" if run.output_type == "multiple_choice" else "exact_match"
    differing = sum(float(sample[metric]) != item.score for sample, item in zip(samples, run.items, strict=True))
    largest = 0.0
    if run.output_type == "multiple_choice":
        for sample, item in zip(samples, run.items, strict=True):
            theirs = [float(response[0][0]) for response in sample["resps"]]
            pairs = zip(json.loads(item.detail)["log_likelihoods"], theirs, strict=True)
            largest = max(largest, *(abs(a - b) for a, b in pairs))
    score = sum(item.score or 0.0 for item in run.items) / len(run.items)
    return {"items": len(run.items), "score": score, "differing_scores": differing, "largest_difference_nats": largest}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Both ways, task by task."""
    torch.set_num_threads(thread_count())
    base = ensure_base_model("smollm2-135m-instruct")
    trained, asked = mail(args.items)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names = write_tasks(folder, asked, load_supervisor(base, 256), args.items)
        adapter = make_adapter(folder, base, trained)
        mine = ours(base, adapter, folder / "tasks", names, args.batch)
        theirs = plain(base, adapter, folder / "tasks", names, args.batch)
    tasks = {}
    for name in names:
        taken = {
            who: sum(found[model, name][1] for model in ("base", "tuned"))
            for who, found in (("assay", mine), ("lm_eval", theirs))
        }
        clocks = {
            clock: {who: float(seconds[place]) for who, seconds in taken.items()}
            | {"ratio": float(taken["lm_eval"][place] / taken["assay"][place])}
            for place, clock in enumerate(("wall_seconds", "cpu_seconds"))
        }
        agreed = {m: compare(mine[m, name][0], theirs[m, name][0]) for m in ("base", "tuned")}
        tasks[name] = {**clocks, **agreed}
    return {
        "machine": {"cpu": platform.processor() or platform.machine(), "threads": torch.get_num_threads()},
        "settings": {"items": args.items, "batch": args.batch},
        "tasks": tasks,
        "agrees": all(
            found["differing_scores"] == 0 and found["largest_difference_nats"] <= AGREEMENT
            for task in tasks.values()
            for found in (task["base"], task["tuned"])
        ),
    }


def main() -> None:
    """Measure, print, and write the result where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    text = json.dumps(measure(args), indent=1)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
