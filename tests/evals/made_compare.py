"""A comparison of arms on a tiny model: a project whose test rows ask what no trained row asks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from curate.configfile import Project
from schemas.compare_config import CompareConfig
from schemas.stage import Finished
from tests.evals.made_adapter import made_adapter, made_dataset, made_project

WORDS = ("apple", "bridge", "candle", "desert", "engine", "forest", "garden", "hammer", "island", "jacket", "kettle")


def rows(count: int, prefix: str, *, system: str = "Answer yes or no.", **metadata: Any) -> list[dict[str, Any]]:
    """Rows with questions of their own and a label that the first word gives away; every third is a `no`."""
    made = []
    for k in range(count):
        label = "no" if k % 3 == 0 else "yes"
        words = [WORDS[(k + step * (1 + len(prefix))) % len(WORDS)] for step in range(2 + k % 3)]
        question = f"{'bad' if label == 'no' else 'good'} {prefix}{k} {' '.join(words)}"
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": label}]
        messages = [{"role": "system", "content": system}, *turns] if system else turns
        row = {"row_id": f"{prefix}{k}", "label": label, "component": k, "line": k + 1, "messages": messages}
        made.append(row | ({"metadata": metadata} if metadata else {}))
    return made


def compared_project(root: Path, model: Path, **splits: list[dict[str, Any]]) -> tuple[Project, Finished]:
    """Project and adapter."""
    given = {"train": rows(14, "r"), "validation": rows(6, "v"), "test": rows(9, "t")} | splits
    root.mkdir(exist_ok=True)
    project = made_project(root, model)
    return project, made_adapter(project, made_dataset(root, model, **given), rows=None)


def asking(project: Project, *arms: str, **compare: Any) -> Project:
    """The project with another section `compare`, small enough for a test."""
    given = {"arms": list(arms) or None, "shots": 2, "paraphrases": 2, "latency_items": 2, **compare}
    config = project.config.model_copy(update={"compare": CompareConfig.model_validate(given)})
    return replace(project, config=config)
