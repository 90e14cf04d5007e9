"""A config, a curated dataset and its data verdict, written as the stages before training write them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from curate.configfile import Project, load_project
from schemas.manifest import input_stage
from schemas.stage import Finished, Stage, run_stage
from schemas.verdict import Outcome, Verdict

SCHEMA = {
    "row_id": pl.String,
    "label": pl.String,
    "component": pl.Int64,
    "path": pl.String,
    "line": pl.Int64,
}


def toy_rows(count: int, prefix: str = "r") -> list[dict[str, Any]]:
    """Rows of several lengths whose answer follows from the question; every third is a `no`."""
    rows = []
    for k in range(count):
        label = "no" if k % 3 == 0 else "yes"
        question = ("bad" if label == "no" else "good") + " x" * (1 + 5 * k % 17)
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": label}]
        rows.append({"row_id": f"{prefix}{k}", "label": label, "component": k, "line": k + 1, "messages": messages})
    return rows


def toy_kind(method: str, count: int, prefix: str = "r") -> list[dict[str, Any]]:
    """Rows of the kind that a training method takes, made of `toy_rows`."""
    rows = toy_rows(count, prefix)
    for k, row in enumerate(rows):
        prompt, answer = row["messages"][:1], row["messages"][1:]
        other = [{"role": "assistant", "content": "yes" if row["label"] == "no" else "no"}]
        records = {
            "text": {"text": f"{prompt[0]['content']} {answer[0]['content']}" * (1 + 4 * (k % 3))},
            "dpo": {"prompt": prompt, "chosen": answer, "rejected": other},
            "kto": {"prompt": prompt, "completion": answer if k % 2 else other, "label": bool(k % 2)},
            "grpo": {"prompt": prompt, "reference": answer[0]["content"]},
        }
        records["reward"] = records["dpo"]
        row["record"] = records.get(method, {"messages": row["messages"]})
    return rows


@dataclass
class ToyProject:
    """Makes the folders under `root/runs` that training needs."""

    root: Path
    model: Path

    def project(self, **train: Any) -> Project:
        config = {
            "name": "toy",
            "data": {"sources": ["rows.jsonl"]},
            "gates": {"model": {"tasks": {"t": {"must": "improve", "detect": 0.1}}}},
            "evals": {"suites": ["t"]},
            "train": {"base_model": str(self.model), "batch_size": 4, "max_examples": None, **train},
        }
        path = self.root / "assay.yaml"
        path.write_text(yaml.safe_dump(config), "utf-8")
        return load_project(path)

    def dataset(self, **splits: list[dict[str, Any]]) -> Finished:
        """Rows of other kinds than conversations have their fields under `record`; any may have `metadata`."""
        splits = {"train": toy_rows(14), "validation": toy_rows(5, "v"), "test": toy_rows(5, "t")} | splits

        def fill(folder: Path) -> dict[str, int]:
            (folder / "data").mkdir()
            for split, rows in splits.items():
                keys = {name: [row.get(name, "rows.jsonl") for row in rows] for name in SCHEMA}
                table = pl.DataFrame(keys, schema=SCHEMA)
                if any("metadata" in row for row in rows):
                    read = [json.dumps({"metadata": row.get("metadata")}) for row in rows]
                    table = table.with_columns(record=pl.Series(read))
                table.write_parquet(folder / "data" / f"{split}.parquet")
                lines = [json.dumps(row.get("record") or {"messages": row["messages"]}) + "\n" for row in rows]
                (folder / "data" / f"{split}.jsonl").write_text("".join(lines), "utf-8")
            return {}

        stage = Stage("curate", "toy", {"splits": sorted(splits)}, {}, (), "0", self.root / "runs")
        return run_stage(stage, fill)

    def verdict(self, dataset: Finished, outcome: Outcome = Outcome.PASS) -> Finished:
        root = self.root / "runs"
        inputs = (input_stage("dataset", dataset.path, root / "gate-data" / "toy"),)
        stage = Stage("gate-data", "toy", {"outcome": outcome.value}, {}, inputs, "0", root)
        verdict = Verdict(gate="data", outcome=outcome, subject={}, checks=(), summary=f"the data gate says {outcome}")

        def fill(folder: Path) -> dict[str, int]:
            (folder / "verdict.json").write_text(verdict.model_dump_json(by_alias=True), "utf-8")
            return {}

        return run_stage(stage, fill)
