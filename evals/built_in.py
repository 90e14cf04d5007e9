"""lm-eval's own tasks as suites: their fields and items, taken out of the package and resolved like any other task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.documents import plain_documents
from evals.tasks import Items, Reference, Task, check_task, named_items, read_yaml

TASKS = "lm_eval.tasks"
GONE = ("class", "custom_dataset", "dataset_kwargs", "dataset_name", "dataset_path", "group", "include", "process_docs",
        "tag", "test_split", "training_split", "validation_split", "fewshot_split")  # fmt: skip
"""Fields that say where items are and what becomes of them; the items are taken as they are after that."""


def built_in_items(task: Task, limit: int | None, seed: int, *, network: bool) -> tuple[Task, Items]:
    """A task of lm-eval's own with all its fields, and its items.

    Args:
        task: as `find_task` gives it.
        limit: most items; null takes all.
        seed: of the choice.
        network: whether its data may be downloaded.

    Raises:
        UserError: its data cannot be reached, or are nothing that a file of items can hold.
    """
    from evals.harness import TASK_FOLDER, built_in_documents

    found = built_in_documents(task.name, network)
    splits = {name: plain_documents(documents, task.path) for name, documents in found.items()}
    config = {key: value for key, value in _whole(task.path, TASK_FOLDER).items() if key not in GONE}
    config |= {"task": task.name, "dataset_path": "json", "test_split": "test"}
    if "fewshot" in splits:
        config["fewshot_split"] = "fewshot"
        shots = {k: v for k, v in (config.get("fewshot_config") or {}).items() if k not in ("split", "process_docs")}
        config["fewshot_config"] = shots
    whole = replace(task, config=config)
    check_task(whole)
    return whole, named_items(splits.pop("test"), limit, seed, splits)


def _whole(path: Path, home: Path) -> dict[str, Any]:
    """The fields of a task file and of those that it includes; Python beside them under its name in lm-eval."""
    config: dict[str, Any] = _renamed(read_yaml(path), path.parent, home)
    include = config.pop("include", None)
    for name in [include] if isinstance(include, str) else include or []:
        config = _whole(path.parent / name, home) | config
    return config


def _renamed(value: Any, folder: Path, home: Path) -> Any:
    if isinstance(value, Reference):
        module = value.rpartition(".")[0]
        beside = (folder / f"{module.replace('.', '/')}.py").is_file()
        return Reference(".".join((TASKS, *folder.relative_to(home).parts, value))) if beside else value
    if isinstance(value, dict):
        return {key: _renamed(one, folder, home) for key, one in value.items()}
    return [_renamed(one, folder, home) for one in value] if isinstance(value, list) else value
