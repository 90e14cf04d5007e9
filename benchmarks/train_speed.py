"""Training speed against a plain TRL SFTTrainer, on the same rows, weights and LoRA settings, in one run.

    python benchmarks/train_speed.py --rows 96 --repeats 2 --out benchmarks/results/train_speed.json

Both train the same rows of the spam example for one epoch from the same start. The plain trainer is set up as well as
its settings allow: float32, no gradient checkpointing, tokens and labels made beforehand, batches padded to their
longest row, rows in random order. Blocks of the two alternate, so that other load on the machine meets both; the rate
is given per second of wall time and per second of CPU time, which such load disturbs less. A last block gives the plain
trainer our order of rows, to show that both learn the same: its loss is compared with ours step by step.
"""

import argparse
import dataclasses
import json
import platform
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from curate.load_supervisor import load_supervisor
from schemas.train_config import LoraSettings, TrainConfig
from train.adapter import load_weights, lora_config
from train.base_model import ensure_base_model
from train.batches import epoch_order, padded_tokens
from train.examples import supervise
from train.monitor import SilentView
from train.rows import SplitRow, choose_rows
from train.trainer import Job, settings_for, thread_count
from train.training import train_model

RAW = Path(__file__).parents[1] / "examples" / "spam" / "raw.jsonl"


class Losses(TrainerCallback):
    """Collects the loss of every step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Keep the loss of a step."""
        if logs and "loss" in logs:
            self.found.append(float(logs["loss"]))


class Quiet(SFTTrainer):
    """TRL's trainer as it is, but for the report of each run to its hub."""

    def _send_telemetry(self) -> None:
        """Report to nobody."""


def plain_epoch(job: Job, folder: Path, order: list[int] | None) -> tuple[list[float], float, float]:
    """One epoch with TRL's own trainer: its losses, wall seconds and CPU seconds.

    Args:
        job: rows, weights and settings.
        folder: for what the trainer writes.
        order: the order of rows; None lets the trainer draw one.
    """
    given = {"dataset_kwargs": {"skip_prepare_dataset": True}, "max_length": None}
    settings = settings_for(SFTConfig, job.settings, folder, **given)
    settings.save_strategy, settings.remove_unused_columns = "no", True
    if order is not None:
        settings.train_sampling_strategy = "sequential"
    rows = [example.sequences[0] for example in job.examples]
    rows = rows if order is None else [rows[k] for k in order]
    model = load_weights(job.model_folder, job.settings)
    losses = Losses()
    trainer = Quiet(
        model=model,
        args=settings,
        train_dataset=Dataset.from_dict({"input_ids": [r.input_ids for r in rows], "labels": [r.labels for r in rows]}),
        processing_class=AutoTokenizer.from_pretrained(job.model_folder),
        peft_config=lora_config(job.settings.lora, model),
        callbacks=[losses],
    )
    trainer.remove_callback(PrinterCallback)
    wall, cpu = time.perf_counter(), time.process_time()
    trainer.train()
    return losses.found, time.perf_counter() - wall, time.process_time() - cpu


class Clock(SilentView):
    """Times training from its first step on, as the plain trainer is timed."""

    def begin(self, step: int, steps: int, tokens_left: int) -> None:
        """Start."""
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """Stop."""
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu


def our_epoch(job: Job, folder: Path) -> tuple[list[float], float, float]:
    """One epoch with assay's trainer, checkpoints included: its losses, wall seconds and CPU seconds."""
    clock = Clock()
    train_model(job, folder / "checkpoints", folder / "metrics.jsonl", clock)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [record["loss"] for record in records], clock.wall, clock.cpu


def spam_job(count: int, model_folder: Path, config: TrainConfig) -> Job:
    """Rows of the spam example, to be trained; each block loads weights of its own."""
    records = [json.loads(line) for line in RAW.read_text("utf-8").splitlines()]
    rows = [
        SplitRow(r["metadata"]["id"], r["metadata"]["label"], 0, str(RAW), k, {"messages": r["messages"]})
        for k, r in enumerate(records)
    ]
    chosen = choose_rows(rows, count, seed=0)
    supervisor = load_supervisor(model_folder, config.max_length)
    examples = supervise(supervisor, chosen, config, "train")
    return Job(config, RAW.parent, model_folder, supervisor.pad_token_id, chosen, examples, [], {}, frozenset())


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All blocks, and what follows from them."""
    config = TrainConfig(batch_size=args.batch, lora=LoraSettings(last_layers=args.last_layers), checkpoint_steps=10)
    folder = ensure_base_model(config.base_model)
    job = spam_job(args.rows, folder, config)
    lengths = job.lengths
    tokens = sum(lengths)
    order = epoch_order(lengths, config.batch_size, config.seed, 0)
    torch.set_num_threads(thread_count())
    seconds: dict[str, list[tuple[float, float]]] = {"plain": [], "assay": []}
    ours: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        for repeat in range(args.repeats):
            for name in ("plain", "assay"):
                place = Path(scratch) / f"{name}{repeat}"
                place.mkdir()
                if name == "plain":
                    _, wall, cpu = plain_epoch(job, place, None)
                else:
                    ours, wall, cpu = our_epoch(job, place)
                seconds[name].append((wall, cpu))
                print(f"{name}: {tokens / wall:.0f} tokens/s, {tokens / cpu:.0f} tokens per CPU second", flush=True)
        theirs, _, _ = plain_epoch(job, Path(scratch) / "same-order", order)
    best = {name: [min(times) for times in zip(*found, strict=True)] for name, found in seconds.items()}
    return {
        "machine": {"cpu": platform.processor() or platform.machine(), "threads": torch.get_num_threads()},
        "settings": dataclasses.asdict(_Settings(args.rows, args.batch, args.last_layers, args.repeats)),
        "tokens": tokens,
        "padded_tokens_ours": padded_tokens(lengths, order, config.batch_size),
        "tokens_per_second": {name: round(tokens / wall, 1) for name, (wall, _) in best.items()},
        "tokens_per_cpu_second": {name: round(tokens / cpu, 1) for name, (_, cpu) in best.items()},
        "speedup_wall": round(best["plain"][0] / best["assay"][0], 3),
        "speedup_cpu": round(best["plain"][1] / best["assay"][1], 3),
        "largest_loss_difference": max(abs(a - b) for a, b in zip(ours, theirs, strict=True)),
    }


@dataclasses.dataclass(frozen=True)
class _Settings:
    rows: int
    batch: int
    last_layers: int
    repeats: int


def main() -> None:
    """Measure, print, and write the result where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--last-layers", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)
    result = measure(args)
    text = json.dumps(result, indent=1)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
