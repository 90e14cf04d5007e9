"""What each form of a judged model costs to export and to prove, and how far it parts from the model that was judged.

    python benchmarks/release_equivalence.py --results runs/evals/spam-triage-... --out benchmarks/results/release.json

Takes a finished evaluation with its adapter and base model (`make demo` leaves one), exports each target into a
temporary folder, and proves it with the default thresholds of `release`. With --wrong, a wrong export stands beside the
right ones: the adapter merged at a tenth less than its scale. --items takes the first items of each task only, on which
the margin decides nothing. Times are CPU seconds of this process; llama.cpp is another one.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import polars as pl

from evals.release.equivalence import prove
from evals.release.source import Source
from schemas.manifest import read_manifest
from schemas.progress import Progress
from schemas.release_config import ReleaseConfig
from train.adapter import load_weights

TARGETS = ("adapter", "merged", "gguf_f16", "gguf_q8_0", "gguf_q4_0")
WRONG = "merged at 0.9 of its scale"


def source_of(results: Path) -> Source:
    """The model behind an evaluation."""
    manifest = read_manifest(results)
    places = {ref.role: Path(os.path.normpath(results / ref.path)).parent for ref in manifest.inputs}
    return Source(manifest.name, places["base_model"], places["adapter"], manifest.config["evals"]["dtype"])


def export_scaled(source: Source, folder: Path, name: str) -> list[Path]:
    """A merge that forgets a tenth of the adapter."""
    from peft import PeftModel

    assert source.adapter is not None
    model: Any = PeftModel.from_pretrained(load_weights(source.base), str(source.adapter))
    for key, weight in model.named_parameters():
        if "lora_B" in key:
            weight.data *= 0.9
    model.merge_and_unload().save_pretrained(folder)
    for path in source.base.glob("*tokenizer*"):
        shutil.copyfile(path, folder / path.name)
    for path in source.base.glob("*generation_config.json"):
        shutil.copyfile(path, folder / path.name)
    return sorted(folder.iterdir())


def wrong_target() -> ModuleType:
    """A target whose export is another model, read back as the right one is."""
    load = importlib.import_module("evals.release.targets.merged").load
    made = SimpleNamespace(NAME=WRONG, FOLDER="merged", LOSSLESS=True, export=export_scaled, load=load)
    return cast(ModuleType, made)


def cut(results: Path, items: int | None, folder: Path) -> Path:
    """The evaluation with the first items of each task; itself where all are wanted."""
    if items is None:
        return results
    made = Path(shutil.copytree(results, folder / "results"))
    for path in (made / "tasks").glob("*.yaml"):
        asked = path.with_suffix(".jsonl")
        asked.write_text("".join(asked.read_text("utf-8").splitlines(keepends=True)[:items]), "utf-8")
    table = pl.read_parquet(made / "items.parquet")
    table.filter(pl.col("position") < items).write_parquet(made / "items.parquet")
    return made


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gave, CPU seconds, wall seconds."""
    cpu, wall = time.process_time(), time.monotonic()
    found = work()
    return found, round(time.process_time() - cpu, 1), round(time.monotonic() - wall, 1)


def measured(target: ModuleType, source: Source, results: Path, settings: ReleaseConfig) -> dict[str, Any]:
    """One row of the result."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files, export_cpu, export_wall = timed(lambda: target.export(source, folder, source.name))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        proof, cpu, wall = timed(lambda: prove(source, target, folder, results, settings, Progress()))
        row = {
            "target": target.NAME,
            "megabytes": round(sum(path.stat().st_size for path in files) / 1e6, 1),
            "export_cpu_s": export_cpu,
            "export_wall_s": export_wall,
            "peak_memory_mb_after_export": round(peak / 1e3),
            "prove_cpu_s": cpu,
            "prove_wall_s": wall,
            "proof": proof.model_dump(mode="json"),
        }
    print(
        target.NAME, proof.outcome.value, proof.max_log_p, proof.kl and proof.kl.estimate, export_cpu, cpu, flush=True
    )
    for check in proof.checks:
        print(f"  {check.outcome.value:15} {check.name}: {check.message}", flush=True)
    return row


def main() -> None:
    """Run all targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--targets", nargs="*", default=TARGETS)
    parser.add_argument("--sequences", type=int, default=ReleaseConfig().sequences)
    parser.add_argument("--items", type=int, help="of each task; all by default")
    parser.add_argument("--wrong", action="store_true", help="a merge of another scale too")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    source, settings = source_of(given.results), ReleaseConfig(sequences=given.sequences)
    targets = [importlib.import_module(f"evals.release.targets.{name}") for name in given.targets]
    targets += [wrong_target()] if given.wrong else []
    with tempfile.TemporaryDirectory() as place:
        results = cut(given.results, given.items, Path(place))
        rows = [measured(target, source, results, settings) for target in targets]
    if given.out:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(
            json.dumps(
                {"machine": machine, "items": given.items, "sequences": given.sequences, "targets": rows}, indent=1
            )
            + "\n",
            "utf-8",
        )


if __name__ == "__main__":
    main()
