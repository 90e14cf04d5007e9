"""Rows that a failing verdict points at: items that the candidate lost, and trained rows that hold an eval item."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.contamination.account import worst_items
from curate.contamination.verdicts import GATING
from curate.outputs.sarif import sarif
from evals.contaminated import TRAINED, read_contamination
from evals.evidence import Evidence
from evals.flips import Flip, find_flips
from schemas.base import canonical_json, digest
from schemas.finding import Finding, Severity, finding_fingerprint
from schemas.manifest import Manifest, manifest_path
from schemas.verdict import Outcome, Verdict

LOST, TRAINED_ON = "EVL001", "EVL002"
RULES = (
    (
        LOST,
        "lost-item",
        "An item that the baseline answered better than the candidate, in a task that failed.",
        "error",
    ),
    (TRAINED_ON, "trained-item", "A trained row that holds an eval item of a judged task.", "warning"),
)
"""Code, name, what it is, SARIF level."""


@dataclass(frozen=True)
class Place:
    """Where a row lies."""

    path: str
    line: int | None


def as_sarif(findings: list[Finding]) -> str:
    """The findings for code scanning."""
    rules = [
        {"id": code, "name": name, "shortDescription": {"text": text}, "defaultConfiguration": {"level": level}}
        for code, name, text, level in RULES
    ]
    return sarif(findings, rules)


def blamed(verdict: Verdict, evidence: Evidence, manifest: Manifest, folder: Path, root: Path) -> list[Finding]:
    """Findings for every lost item of every task with a failed check, and for every trained item of a judged task.

    Args:
        verdict: on the evaluation.
        evidence: its files.
        manifest: of the evals stage.
        folder: of the evals stage.
        root: the config's folder, from which paths start.
    """
    failed = {check.name.partition(":")[0] for check in verdict.checks if check.outcome is Outcome.FAIL}
    found: list[Finding] = []
    dataset = _dataset(manifest, folder)
    rows = _row_places(dataset, "*")
    trained = _trained_rows(dataset)
    files = _file_places(manifest, folder, root)
    for task in evidence.conditions.tasks:
        about = evidence.results.tasks.get(task)
        if about is None:
            continue
        places = rows if about.get("split") else files
        touched = {entry["item_id"] for entry in (about.get("contamination") or {}).get("items", ())}
        held = {item: trained[item.partition("-")[0]] for item in touched if item.partition("-")[0] in trained}
        if task in failed:
            found += _lost(task, find_flips(evidence, folder, task).lost, places, held)
        found += _held(task, held, places)
    return found


def _lost(task: str, flips: tuple[Flip, ...], places: dict[str, Place], held: dict[str, Place]) -> Iterator[Finding]:
    for flip in flips:
        place = places.get(flip.item_id.partition("-")[0]) or places.get(flip.item_id)
        if place is None:
            continue
        touched = {"twin": _twin(held[flip.item_id])} if flip.item_id in held else {}
        failed = ", on which it failed" if flip.failed else ""
        yield Finding(
            code=LOST,
            name="lost-item",
            severity=Severity.ERROR,
            path=place.path,
            line=place.line,
            row_id=flip.item_id,
            message=f"{task}: the candidate does worse on this item than its baseline{failed}",
            evidence={"task": task, "score": flip.score_now, "baseline_score": flip.score_before} | touched,
            fingerprint=finding_fingerprint(LOST, flip.item_id, None, task),
        )


def _held(task: str, held: dict[str, Place], places: dict[str, Place]) -> Iterator[Finding]:
    for item, place in sorted(held.items()):
        own = places.get(item.partition("-")[0])
        yield Finding(
            code=TRAINED_ON,
            name="trained-item",
            severity=Severity.WARNING,
            path=place.path,
            line=place.line,
            row_id=item,
            message=f"{task}: this trained row holds an eval item, so its score says little",
            evidence={"task": task} | ({"twin": _twin(own)} if own else {}),
            fingerprint=finding_fingerprint(TRAINED_ON, item, None, task),
        )


def _twin(place: Place) -> dict[str, Any]:
    return {"path": place.path, "line": place.line}


def _dataset(manifest: Manifest, folder: Path) -> Path:
    (ref,) = (ref for ref in manifest.inputs if ref.role == "dataset")
    return manifest_path(folder / ref.path).parent


def _row_places(dataset: Path, split: str) -> dict[str, Place]:
    """Row id -> where the row came from, for every row of a split, or of all of them."""
    files = sorted(dataset.glob(f"data/{split}.parquet"))
    tables = [pl.read_parquet(path, columns=["row_id", "path", "line"]) for path in files]
    return {row_id: Place(path, line) for table in tables for row_id, path, line in table.iter_rows()}


def _trained_rows(dataset: Path) -> dict[str, Place]:
    """Eval item -> a trained row that holds it, where the dataset names one."""
    marks = read_contamination(dataset)
    rows = _row_places(dataset, TRAINED) if marks else {}
    entries = marks["items"] if marks else []
    grades = worst_items(entries, TRAINED)
    held = [entry for entry in entries if grades.get(entry["item_id"]) in GATING and entry["row_id"] in rows]
    return {entry["item_id"]: rows[entry["row_id"]] for entry in held}


def _file_places(manifest: Manifest, folder: Path, root: Path) -> dict[str, Place]:
    """Item id -> its line, for tasks that bring JSON Lines of their own and whose files are still as they were."""
    found: dict[str, Place] = {}
    for ref in manifest.inputs:
        path = Path(os.path.normpath(folder / ref.path))
        if ref.role != "task" or path.suffix not in (".jsonl", ".ndjson") or not path.is_file():
            continue
        data = path.read_bytes()
        if digest(data) != ref.sha256:
            continue
        for number, line in enumerate(data.decode("utf-8").split("\n"), 1):
            if line.strip():
                name = digest(canonical_json(json.loads(line)))[:16]
                found.setdefault(name, Place(os.path.relpath(path, root), number))
    return found
