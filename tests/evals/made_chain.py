"""A small finished chain, from raw rows to the model gate's verdict, made without training anything."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from schemas.manifest import InputRef, input_file, input_stage
from schemas.results import EvalResults, TaskScore
from schemas.stage import Finished, Stage, run_stage, stage_folder
from schemas.verdict import Check, Outcome, Verdict, combine

CODE = "c0de" * 16


@dataclass
class Chain:
    """Every stage of the chain, and the file it started from."""

    raw: Path
    base_model: Finished
    dataset: Finished
    data_verdict: Finished
    adapter: Finished
    results: Finished
    verdict: Finished

    def files(self) -> list[Path]:
        """Every file that the verdict rests on, manifests included."""
        folders = [vars(self)[name].folder for name in list(vars(self)) if name != "raw"]
        return [self.raw, *(path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())]


def make_chain(
    root: Path,
    outcome: Outcome = Outcome.PASS,
    notes: tuple[str, ...] = (),
    trained: dict[str, bytes | None] | None = None,
) -> Chain:
    """Build the chain below `root`: raw.jsonl, cache/ and runs/.

    `trained` replaces files of the train stage; null leaves one out.
    """
    root.mkdir(parents=True, exist_ok=True)
    raw = root / "raw.jsonl"
    raw.write_text(
        "".join(json.dumps({"messages": [{"role": "user", "content": f"mail {n}"}]}) + "\n" for n in range(9))
    )
    runs = root / "runs"
    base_model = _stage(root / "cache", "base-model", (), {"model.safetensors": b"weights" * 50, "config.json": b"{}"})
    place = stage_folder(runs, "any") / "any"
    source = input_file("source", raw, place)
    dataset = _stage(runs, "curate", (source,), _dataset(), {"rows_in": 9, "rows_kept": 6, "rows_dropped": 3})
    at_dataset = input_stage("dataset", dataset.path, place)
    data_verdict = _stage(runs, "gate-data", (at_dataset,), {"verdict.json": _data_verdict(at_dataset)}, {"checks": 2})
    at_base_model = input_stage("base_model", base_model.path, place)
    at_data_verdict = input_stage("data_verdict", data_verdict.path, place)
    trained_from = (at_dataset, at_data_verdict, at_base_model)
    files = {name: data for name, data in (_adapter() | (trained or {})).items() if data is not None}
    adapter = _stage(runs, "train", trained_from, files, {"rows": 3, "supervised_tokens": 9}, notes=notes)
    at_adapter = input_stage("adapter", adapter.path, place)
    scored = (at_adapter, at_dataset, at_base_model)
    results = _stage(runs, "evals", scored, {"results.json": _results()}, {"items": 300})
    judged = (input_stage("results", results.path, place), at_adapter, at_dataset, at_data_verdict)
    files = {"verdict.json": _model_verdict(outcome, judged)}
    verdict = _stage(runs, "gate-model", judged, files, {"checks": 3})
    return Chain(raw, base_model, dataset, data_verdict, adapter, results, verdict)


def _stage(
    runs: Path,
    stage: str,
    inputs: tuple[InputRef, ...],
    files: dict[str, bytes],
    counts: dict[str, int] | None = None,
    notes: tuple[str, ...] = (),
) -> Finished:
    def fill(folder: Path) -> dict[str, int]:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return counts or {}

    plan = Stage(stage, "made", {"stage": stage, "alpha": 0.05}, {}, inputs, CODE, runs, notes=notes)
    return run_stage(plan, fill)


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


ROWS = {
    "train": ["the red fox sleeps in the deep wood", "seven ships sail north at dawn", "bread is baked before six"],
    "validation": ["an old clock stopped at noon"],
    "test": ["rain falls on the quiet harbour", "my brother paints doors and windows"],
}


def _dataset() -> dict[str, bytes]:
    files = {}
    for split, texts in ROWS.items():
        messages = [[{"role": "user", "content": text}, {"role": "assistant", "content": "ham"}] for text in texts]
        lines = [json.dumps({"messages": row}) + "\n" for row in messages]
        files[f"data/{split}.jsonl"] = "".join(lines).encode()
        first = 10 * len(files)  # components of one split occur in no other
        units = {
            "group": [None] * len(texts),
            "time": [None] * len(texts),
            "component": range(first, first + len(texts)),
        }
        files[f"data/{split}.parquet"] = _parquet(
            pl.DataFrame(units, schema={"group": pl.String, "time": pl.String, "component": pl.Int64})
        )
    ledger = {
        "schema": "assay/ledger/1",
        "rows_in": 9,
        "rows_kept": 6,
        "rows_dropped": 3,
        "rows_changed": 2,
        "by_rule": {"DUP201": 2, "SCH101": 1},
        "steps": [{"name": "schema", "rows_in": 9, "rows_dropped": 1, "rows_changed": 0}],
        "splits": {split: len(texts) for split, texts in ROWS.items()},
    }
    proof = {
        "threshold": 0.7,
        "rows_at_a_higher_threshold": 0,
        "highest_threshold": 0.7,
        "cross_split_pairs": 0,
        "groups_across_splits": 0,
        "components_across_splits": 0,
    }
    dropped = {"code": ["DUP201", "DUP201", "SCH101"], "name": ["exact-duplicate", "exact-duplicate", "broken-line"]}
    return files | {
        "dropped.parquet": _parquet(pl.DataFrame(dropped)),
        "ledger.json": _json(ledger),
        "split_proof.json": _json(proof),
    }


def _adapter() -> dict[str, bytes | None]:
    metrics = [{"step": n, "loss": round(3.0 / n, 4), "tokens": 3, "seconds": float(n)} for n in range(1, 6)]
    return {
        "adapter/adapter_model.safetensors": b"lora" * 20,
        "adapter/adapter_config.json": _json({"r": 8}),
        "ledger.json": _json({"rows_in": 3, "rows_trained": 3, "supervised_tokens": 9}),
        "metrics.jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in metrics),
    }


def _results() -> bytes:
    values = {"base": (0.42, 0.36, 0.48), "tuned": (0.91, 0.87, 0.94), "majority": (0.69, 0.63, 0.74)}
    scores = tuple(
        TaskScore(
            task="spam_test",
            model=model,
            metric="acc",
            value=value,
            higher_is_better=True,
            items=300,
            low=low,
            high=high,
        )
        for model, (value, low, high) in values.items()
    )
    tasks = {"spam_test": {"file": "tasks/spam_test.yaml", "metric": "acc", "split": "test", "items": 300}}
    results = EvalResults(scores=scores, models={"base": {}, "tuned": {}}, tasks=tasks)
    return results.model_dump_json(indent=1).encode()


def _data_verdict(dataset: InputRef) -> bytes:
    checks = (
        Check(
            name="min-rows",
            outcome=Outcome.PASS,
            message="the training split has 3 rows",
            measured={"rows": 3},
            required={"min_rows": 3},
        ),
        Check(name="contamination", outcome=Outcome.NOT_APPLICABLE, message="no eval items are configured"),
    )
    return _verdict("data", {"dataset": dataset.sha256}, checks)


def _model_verdict(outcome: Outcome, inputs: tuple[InputRef, ...]) -> bytes:
    gain = {"estimate": 0.49, "low": 0.43, "high": 0.55, "items": 300, "clusters": 291, "method": "t"}
    gap = {
        "gap": {"estimate": 0.02, "low": -0.01, "high": 0.05},
        "loss": {"base": {"train": 2.1, "test": 2.05}, "tuned": {"train": 0.05, "test": 0.07}},
        "train_rows": 100,
        "test_rows": 100,
    }
    checks = (
        Check(
            name="spam_test:improve",
            outcome=Outcome.PASS,
            message="tuned scores 0.910, base 0.420 on 300 items",
            measured=gain | {"candidate": 0.91, "baseline": 0.42, "gained": 153, "lost": 6},
            required={"min_gain": 0.0, "alpha": 0.05},
        ),
        Check(
            name="overfitting:gain-gap",
            outcome=outcome,
            message="the gain in loss is about as large on held-out rows as on trained rows",
            measured=gap,
            required={"max_gap": 0.3, "alpha": 0.05},
            help="" if outcome is Outcome.PASS else "train on more rows, or for fewer epochs",
        ),
    )
    return _verdict("model", {ref.role: ref.sha256 for ref in inputs}, checks)


def _verdict(gate: Literal["data", "model"], subject: dict[str, str], checks: tuple[Check, ...]) -> bytes:
    outcome = combine(check.outcome for check in checks)
    summary = {Outcome.PASS: "It may go on.", Outcome.FAIL: "It must not go on."}.get(outcome, "Nobody can tell.")
    verdict = Verdict(gate=gate, outcome=outcome, subject=subject, checks=checks, summary=summary)
    return verdict.model_dump_json(indent=1).encode()
