"""Suites whose items Python makes when they are asked: from a seed, or from the rows of the curated dataset.

Such a suite is one file, `<name>.py` under `evals/suites/` or beside the config, found by its name. It has `TASK`, the
fields of an lm-eval task, and `make(given)`, which gives the items. What it gives depends on `given` alone.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

from evals.dataset_items import AskedRow
from evals.documents import Document
from evals.tasks import Items, Task, check_task, named_items
from schemas.errors import AssayError, UserError

MAX_LABELS, MAX_LABEL_CHARS = 20, 60
"""More answers than these, or longer ones, are free text."""
Rendered = Callable[[Sequence[Mapping[str, Any]], Any], str]


@dataclass(frozen=True)
class Given:
    """What a suite is made from."""

    seed: int
    limit: int | None
    """Most items; null leaves the number to the suite."""
    rows: Callable[[str], list[AskedRow]]
    """The rows of a split of the dataset that end in an answer; `train` gives those that were trained on."""
    prompt: Rendered
    """Messages and tools -> the text that asks for the next turn, as training rendered it."""

    def random(self, *names: object) -> random.Random:
        """A generator of random numbers for one purpose: the same for the same seed and names, on any machine."""
        return random.Random(":".join(map(str, (self.seed, *names))))

    def labels(self) -> list[str]:
        """The answers of the dataset where they are labels, sorted; empty where they are free text."""
        answers = [asked.answer for split in ("train", "test") for asked in self.rows(split) if asked.prompt]
        found = sorted(set(answers))
        short = all(len(answer) <= MAX_LABEL_CHARS for answer in found)
        return found if 2 <= len(found) <= MAX_LABELS and short and len(answers) >= 3 * len(found) else []


@dataclass(frozen=True)
class Made:
    """The items of a suite."""

    documents: list[Document] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    """Names of the items; empty names them by their content and takes as many as the limit allows."""
    clusters: list[int] = field(default_factory=list)
    """For each item its cluster; items of one cluster are not independent. Empty with `ids`."""
    config: dict[str, Any] = field(default_factory=dict)
    """Further fields of the task, where they depend on what was given; `dataset_path: dataset:test` asks its rows."""


class Maker(Protocol):
    """A suite's file."""

    TASK: dict[str, Any]

    def make(self, given: Given) -> Made:
        """The items."""


def read_maker(path: Path) -> Maker:
    """Import the file of a suite.

    Raises:
        UserError: it cannot be imported, or is no suite.
    """
    name = f"assay_suite_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError("the suite cannot be imported", where=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # Python that somebody wrote beside a config
        raise UserError(
            "the suite cannot be imported", where=str(path), found=f"{type(error).__name__}: {error}"[:300]
        ) from error
    if not isinstance(getattr(module, "TASK", None), dict) or not callable(getattr(module, "make", None)):
        raise UserError(
            "the Python file is no suite",
            where=str(path),
            expected="TASK, the fields of an lm-eval task, and make(given), which gives its items",
        )
    return cast(Maker, module)


def make_task(task: Task, given: Given) -> tuple[Task, Items | None]:
    """The task with all of its fields, and its items; null items are rows of the dataset that the task then names.

    Raises:
        UserError: the suite fails, or makes no items or broken ones.
    """
    try:
        made = read_maker(task.path).make(given)
    except AssayError:
        raise
    except Exception as error:  # as in `read_maker`
        raise UserError(
            "the suite could not make its items", where=str(task.path), found=f"{type(error).__name__}: {error}"[:300]
        ) from error
    whole = replace(task, config=task.config | made.config)
    check_task(whole)
    if whole.split is not None:
        return whole, None
    if not made.documents:
        raise UserError(
            "the task has no items", where=str(task.path), help="the suite made none from what it was given"
        )
    if not made.ids:
        return whole, named_items(made.documents, given.limit, given.seed)
    if not len(made.documents) == len(made.ids) == len(set(made.ids)) == len(made.clusters):
        raise UserError(
            "the suite does not name its items one by one",
            where=str(task.path),
            found=f"{len(made.documents)} items, {len(set(made.ids))} names, {len(made.clusters)} clusters",
        )
    return whole, Items(made.documents, made.ids, made.clusters)
