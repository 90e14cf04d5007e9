"""The items of a comparison and the rows that its arms may learn from, read from dataset and adapter."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.configfile import Project
from curate.load_supervisor import load_supervisor
from curate.supervision import Supervisor
from evals.comparing.prompting import Item, Speaker, item_of
from evals.dataset_items import AskedRow, asked_rows, read_trained, sampled, split_rows
from evals.makers import Given
from evals.slicing import require_fields, slices_of
from evals.tasks import chosen
from evals.variants import VARIANTS
from schemas.errors import UserError

PROMPT_ROWS = 40
"""Most validation rows on which a prompt is chosen."""
LEAST_ROOM = 16
"""Tokens that an answer may have beyond the longest that was expected of training, at least."""
DEFAULT_CONTEXT = 2048
"""Tokens that a model reads whose config does not say."""


@dataclass(frozen=True)
class Read:
    """What was read."""

    items: tuple[Item, ...]
    """Those that are asked; the same questions written in other ways stand behind them."""
    held_out: tuple[Item, ...]
    """Every row of the test split, asked or not."""
    trained: tuple[Item, ...]
    validation: tuple[Item, ...]
    labels: tuple[str, ...]
    speaker: Speaker


def read_rows(project: Project, dataset: Path, adapter: Path, base: Path) -> Read:
    """Read everything that arms are given.

    Args:
        project: the config.
        dataset: stage folder of the curated dataset.
        adapter: stage folder of training.
        base: folder of the base model.

    Raises:
        UserError: there is no test split, nothing in it can be asked, or no row has a field that the config names.
    """
    config, seed = project.config.compare, project.config.compare.seed
    supervisor = load_supervisor(base, project.config.train.max_length)
    fields = [name for name in (config.fresh, config.gold) if name]
    slices = project.config.evals.slice_by
    test = _asking(split_rows(dataset, "test", supervisor, None, seed, [*fields, *slices]))
    if not test:
        raise UserError(
            "there is nothing to ask",
            where=str(dataset / "data" / "test.jsonl"),
            found="no row of the test split is a question with an answer",
            expected="rows whose last turn is the assistant's",
            help="give the test split a share in curate.split, and curate again",
        )
    require_fields((asked.document for asked in test), fields, "compare")
    require_fields((asked.document for asked in test), slices)
    trained = _asking(asked_rows(supervisor, read_trained(dataset, adapter)))
    there = (dataset / "data" / "validation.jsonl").is_file()
    validation = _asking(split_rows(dataset, "validation", supervisor, None, seed)) if there else []
    labels = Given(seed, None, lambda split: trained if split == "train" else test, supervisor.prompt).labels()
    items = [item_of(asked, _slices(asked, slices)) for asked in sampled(test, config.items, seed)]
    return Read(
        items=(*items, *_in_other_ways(items, config.paraphrases, seed)),
        held_out=tuple(item_of(asked) for asked in test),
        trained=tuple(item_of(asked) for asked in trained),
        validation=tuple(item_of(asked) for asked in sampled(validation, PROMPT_ROWS, seed)),
        labels=tuple(labels),
        speaker=_speaker(supervisor, base, [*trained, *validation]),
    )


def _asking(rows: Sequence[AskedRow]) -> list[AskedRow]:
    """Without plain texts, which ask nothing."""
    return [asked for asked in rows if asked.prompt]


def _slices(asked: AskedRow, fields: Sequence[str]) -> list[str]:
    return [f"{name}={value}" for name, value in json.loads(slices_of(asked.document, fields)).items()]


def _in_other_ways(items: Sequence[Item], count: int, seed: int) -> list[Item]:
    """Some of the items in every way of writing that leaves their answer as it is."""
    places = chosen([item.item_id for item in items], count, seed) if count else []
    found = []
    for item in (items[place] for place in places):
        if item.messages[-1].get("role") != "user" or not item.question:
            continue
        for name, write in VARIANTS.items():
            written = write(item.question, item.answer)
            if written is not None and written[1] == item.answer:
                turns = (*item.messages[:-1], {**item.messages[-1], "content": written[0]})
                found.append(replace(item, messages=turns, variant=name))
    return found


def _speaker(supervisor: Supervisor, base: Path, known: Sequence[AskedRow]) -> Speaker:
    """An answer may be as long as the longest that is known, and half as long again."""
    longest = max(supervisor.count([asked.answer for asked in known]), default=0)
    context = _context(base)
    return Speaker(supervisor, context, min(longest + max(LEAST_ROOM, longest // 2), context // 2))


def _context(base: Path) -> int:
    """Most tokens that the model reads."""
    config = json.loads((base / "config.json").read_bytes())
    found = (config.get("text_config") or config).get("max_position_embeddings")
    return int(found) if found else DEFAULT_CONTEXT


def is_fresh(item: Item, name: str | None, since: datetime.date | None) -> bool:
    """Whether an item asks for something that is newer than what was trained.

    Args:
        item: with its metadata.
        name: of the field that says so; null where none does.
        since: first day that is fresh, where the field holds dates.
    """
    value = item.metadata.get(name or "", "").strip()
    if value.casefold() == "fresh" or since is None:
        return value.casefold() == "fresh"
    try:
        return datetime.date.fromisoformat(value[:10]) >= since
    except ValueError:
        return False
