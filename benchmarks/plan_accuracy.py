"""What `assay plan` says of memory and time, against what training takes, for several configs.

    python benchmarks/plan_accuracy.py --out benchmarks/results/plan_accuracy.json
    python benchmarks/plan_accuracy.py --only tiny-sft --steps 8

Every config is trained in processes of its own, on rows of random tokens: one in which torch's profiler follows every
allocation (tensor bytes; on a GPU torch counts them itself), and one undisturbed (peak of the process, seconds). The
plan is made before, in a third process, from the same rows. The goals are 0.15 for tensor bytes, 0.3 for the peak of
the process and for seconds: relative errors. `--clock cpu` takes seconds of the process, not of the wall, which other
load on the machine disturbs less.
"""

import argparse
import gc
import importlib
import json
import multiprocessing
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig, LlamaForCausalLM

from curate.load_supervisor import load_supervisor
from curate.model_files import TOKENIZER_FILES
from curate.supervision import Supervised
from schemas.train_config import TrainConfig
from train.adapter import empty_model
from train.base_model import ensure_base_model
from train.calibration import Stopwatch, calibrate, run_time
from train.examples import Example
from train.prepare import Prepared
from train.resources import StepModel, run_memory, this_device
from train.rows import SplitRow
from train.trainer import Job
from train.training import train_model

GOALS = {"tensors": 0.15, "process": 0.3, "seconds": 0.3}
CONFIGS: dict[str, dict[str, Any]] = {
    "tiny-sft-2x64": {"method": "sft", "batch_size": 2, "max_length": 64},
    "tiny-sft-6x256": {"method": "sft", "batch_size": 6, "max_length": 256},
    "tiny-full-6x256": {"method": "full", "batch_size": 6, "max_length": 256},
    "tiny-dpo-6x256": {"method": "dpo", "batch_size": 6, "max_length": 256},
    "smollm2-sft-2x64": {"method": "sft", "batch_size": 2, "max_length": 64},
    "smollm2-sft-6x256": {"method": "sft", "batch_size": 6, "max_length": 256},
    "smollm2-sft-6x256-checkpointing": {
        "method": "sft", "batch_size": 6, "max_length": 256, "gradient_checkpointing": True,
    },
    "smollm2-full-2x64": {"method": "full", "batch_size": 2, "max_length": 64},
    "smollm2-full-6x256": {"method": "full", "batch_size": 6, "max_length": 256},
    "smollm2-dpo-2x64": {"method": "dpo", "batch_size": 2, "max_length": 64},
    "smollm2-dpo-2x256-checkpointing": {
        "method": "dpo", "batch_size": 2, "max_length": 256, "gradient_checkpointing": True,
    },
}  # fmt: skip
ANSWER = 8
PROFILED_STEPS = 3


def tiny_model(folder: Path) -> Path:
    """A Llama of three million random weights, with the tokenizer of the bundled model."""
    source = ensure_base_model("smollm2-135m-instruct")
    folder.mkdir(exist_ok=True)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def made_rows(settings: TrainConfig, model_folder: Path, steps: int) -> Prepared:
    """Rows of random tokens, between half of `max_length` and all of it, that make so many steps."""
    generator = np.random.default_rng(0)
    supervisor = load_supervisor(model_folder, settings.max_length)
    answers = 2 if settings.method == "dpo" else 1
    examples, rows = [], []
    for k in range(settings.batch_size * steps):
        length = int(generator.integers(settings.max_length // 2, settings.max_length + 1))
        sequences = []
        for _ in range(answers):
            ids = generator.integers(100, 40_000, length).tolist()
            sequences.append(Supervised(ids, [False] * (length - ANSWER) + [True] * ANSWER, 0, (), True))
        examples.append(Example(k, tuple(sequences)))
        rows.append(SplitRow(f"r{k}", None, k, "made", k + 1, {}))
    return Prepared(model_folder, supervisor, len(rows), rows, list(rows), examples, [], {})


class Watching(Stopwatch):
    """Notes what lives when training begins and, if asked, follows every allocation from there on."""

    def __init__(self, profiled: bool) -> None:
        super().__init__()
        self.before = 0
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True) if profiled else None

    def begin(self, step: int, steps: int, tokens_left: int) -> None:
        """Weights are loaded."""
        gc.collect()
        tensors = [one for one in gc.get_objects() if isinstance(one, torch.Tensor) and not one.is_meta]
        self.before = sum({one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in tensors}.values())
        del tensors
        if self._profile is not None:
            self._profile.__enter__()
        super().begin(step, steps, tokens_left)

    def end(self) -> None:
        """Training is over."""
        super().end()
        if self._profile is not None:
            self._profile.__exit__(None, None, None)

    def peak_of_tensors(self) -> int:
        """Bytes of tensors at the moment when most lived."""
        assert self._profile is not None
        profiler: Any = self._profile.profiler
        events = profiler.kineto_results.events()
        moves = sorted((one.start_ns(), k, one.nbytes()) for k, one in enumerate(events) if one.name() == "[memory]")
        return self.before + int(np.cumsum([size for _, _, size in moves]).max())


CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}


def made_job(settings: TrainConfig, prepared: Prepared) -> Job:
    """Training as `assay train` would start it, without measurements."""
    return Job(
        settings=settings,
        root=Path(),
        model_folder=prepared.model_folder,
        pad_token_id=prepared.supervisor.pad_token_id,
        rows=prepared.rows,
        examples=prepared.examples,
        unseen=[],
        samples={},
        watch_steps=frozenset(),
    )


def followed(settings: TrainConfig, model_folder: Path) -> dict[str, float]:
    """Bytes of tensors in the first steps, by torch's profiler."""
    watch = Watching(profiled=True)
    train_in_scratch(made_job(settings, made_rows(settings, model_folder, PROFILED_STEPS)), watch)
    return {"tensors": watch.peak_of_tensors()}


def measured(settings: TrainConfig, model_folder: Path, steps: int, clock: str) -> dict[str, float]:
    """Train, and say what it took."""
    job = made_job(settings, made_rows(settings, model_folder, steps))
    with_imports(settings, model_folder)
    started, read = CLOCKS[clock](), CLOCKS[clock]
    train_in_scratch(job, Watching(profiled=False))
    seconds = read() - started
    if torch.cuda.is_available():
        tensors, process = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        return {"seconds": seconds, "tensors": tensors, "process": process}
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    return {"seconds": seconds, "process": int(status["VmHWM"].split()[0]) * 1024}


def with_imports(settings: TrainConfig, model_folder: Path) -> None:
    """Import what training needs, so that it is in no time."""
    importlib.import_module(f"train.methods.{settings.method}")
    empty_model(model_folder)


def train_in_scratch(job: Job, watch: Stopwatch) -> None:
    """Train, and keep nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        train_model(job, Path(scratch) / "checkpoints", Path(scratch) / "metrics.jsonl", watch)


def planned(settings: TrainConfig, model_folder: Path, steps: int, clock: str) -> dict[str, Any]:
    """What the plan says of the same training; tensors of its first steps, where they are followed."""
    prepared, first = (made_rows(settings, model_folder, count) for count in (steps, PROFILED_STEPS))
    model = StepModel(model_folder, settings, this_device(settings))
    _, whole = run_memory(model, prepared.examples, settings)
    _, followed = (None, whole) if torch.cuda.is_available() else run_memory(model, first.examples, settings)
    with_imports(settings, model_folder)
    found = run_time(calibrate(prepared, settings, Path(), CLOCKS[clock]), prepared, settings)
    return {
        "tensors": followed.tensors,
        "parts": followed.parts,
        "process": whole.total,
        "seconds": found.total,
        "low": found.low,
        "high": found.high,
    }


def in_own_process(function: Any, *arguments: Any) -> dict[str, Any]:
    """Call in a fresh interpreter, and wait."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result: dict[str, Any] = pool.apply(function, arguments)
    return result


def compare(name: str, model_folder: Path, steps: int, clock: str) -> dict[str, Any]:
    """One config: planned, measured, relative errors."""
    settings = TrainConfig(**CONFIGS[name], checkpoint_steps=1 << 20, watch={"rows": 0}, guard={"spike": None})
    plan = in_own_process(planned, settings, model_folder, steps, clock)
    found = in_own_process(measured, settings, model_folder, steps, clock)
    if not torch.cuda.is_available():
        found |= in_own_process(followed, settings, model_folder)
    errors = {part: plan[part] / found[part] - 1 for part in GOALS}
    return {"config": name, "planned": plan, "measured": found, "errors": errors}


def shown(result: dict[str, Any]) -> str:
    """A line of the table."""
    plan, found, errors = result["planned"], result["measured"], result["errors"]
    cells = [f"{result['config']:<34}"]
    for part, unit in (("tensors", 1e6), ("process", 1e6), ("seconds", 1.0)):
        mark = " " if abs(errors[part]) <= GOALS[part] else "!"
        cells.append(f"{plan[part] / unit:>9.1f}{found[part] / unit:>9.1f}{errors[part]:>+8.3f}{mark}")
    return "".join(cells)


def main() -> int:
    """Measure, print, and write the result where asked; exit 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression: configs whose names begin so")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {os.cpu_count()} cores"
    machine = {"device": device, "platform": platform.platform(), "torch": torch.__version__}
    print(f"{machine}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    print(f"{'planned, measured, relative error':<34}{'tensors, MB':>27}{'process, MB':>27}{'seconds':>27}")
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        folders = {"tiny": tiny_model(Path(scratch) / "tiny"), "smollm2": ensure_base_model("smollm2-135m-instruct")}
        for name in CONFIGS:
            if re.match(args.only, name):
                results.append(compare(name, folders[name.split("-")[0]], args.steps, args.clock))
                print(shown(results[-1]), flush=True)
    missed = [one["config"] for one in results if any(abs(one["errors"][part]) > GOALS[part] for part in GOALS)]
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            {"machine": machine, "clock": args.clock, "load": os.getloadavg()[0], "goals": GOALS, "results": results},
            indent=1,
        )
        args.out.write_text(text + "\n", "utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
