"""How many items a task will have: what `evals.limit` leaves of the test split or of the task's own file."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from curate.configfile import Project, suite_file
from curate.contamination.tasks import item_file
from curate.dataset import Dataset

OWN_DATASET = "dataset:"


@dataclass(frozen=True)
class PlannedItems:
    """Number of items of one task."""

    items: int
    assumed: bool
    """The task's file was not found or does not say; the limit is taken at its word."""


def task_items(project: Project, dataset: Dataset, name: str) -> PlannedItems:
    """Items that `assay evals` will score for a task.

    The task's file is looked up beside the config, then among those that ship with assay. A task over the curated
    dataset has the rows of its split; one with data files of its own has the lines of its test file.
    """
    limit = project.config.evals.limit
    path = suite_file(name, project.root)
    task = None if path is None else _task_file(path)
    available = None if path is None or task is None else _available(task, path.parent, dataset)
    if available is None:
        return PlannedItems(limit or 0, assumed=True)
    return PlannedItems(min(available, limit) if limit else available, assumed=False)


def _task_file(path: Path) -> dict[str, Any] | None:
    """The plain values of a task file; tags such as `!function` are read as text, and Python is read, not run."""
    if path.suffix == ".py":
        return _dataset_path(path)

    class Loader(yaml.SafeLoader):
        """Safe, and indifferent to tags."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: str(node.value))
    try:
        value = yaml.load(path.read_bytes(), Loader)
    except yaml.YAMLError:
        return None
    return value if isinstance(value, dict) else None


def _dataset_path(path: Path) -> dict[str, Any] | None:
    """The `dataset_path` that a suite in Python states, where it does."""
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError, RecursionError):
        return None
    stated = [
        value.value
        for node in nodes
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "dataset_path" and isinstance(value, ast.Constant)
    ]
    return {"dataset_path": stated[0]} if stated else None


def _available(task: dict[str, Any], root: Path, dataset: Dataset) -> int | None:
    source = str(task.get("dataset_path", ""))
    if source.startswith(OWN_DATASET):
        return int(dataset.rows.select((pl.col("split") == source.removeprefix(OWN_DATASET)).sum()).item())
    named = (task.get("dataset_kwargs") or {}).get("data_files")
    split = str(task.get("test_split") or "test")
    file = named.get(split) if isinstance(named, dict) else named
    if not isinstance(file, str) or not item_file(file, root).is_file():
        return None
    return sum(1 for line in item_file(file, root).read_bytes().split(b"\n") if line.strip())
