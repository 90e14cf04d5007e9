"""Eval items that touch the rows a model was trained on, as the dataset says, and the scores without them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from curate.contamination.account import FILE, SCHEMA, worst_items
from curate.contamination.index import Key
from curate.contamination.store import keyed_ids, read_key
from curate.contamination.verdicts import GATING, Grade
from evals.consistency import mean_score
from schemas.errors import ManifestError

TRAINED = "train"


def read_contamination(dataset: Path) -> dict[str, Any] | None:
    """What a curated dataset says of eval items in its rows; null where it was made without any.

    Args:
        dataset: its folder.

    Raises:
        ManifestError: the file cannot be read.
    """
    path = dataset / FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ManifestError("a file of the dataset cannot be read", where=str(path), found=str(error)) from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ManifestError("a file of the dataset is not what it should be", where=str(path), expected=SCHEMA)
    return found


def index_key(found: Mapping[str, Any] | None, file: Path | None) -> Key | None:
    """The key under which a dataset names eval items; null where it names them openly, or nobody gives the key.

    Args:
        found: of `read_contamination`.
        file: of the key; null takes the variable of `curate.contamination.store`.

    Raises:
        UserError: what is there is no key.
    """
    return read_key(file) if found and found.get("keyed") else None


def marked_items(found: Mapping[str, Any] | None, table: pl.DataFrame, key: Key | None = None) -> dict[str, Any]:
    """What `results.json` says of one task's items: how many were not looked for, which touch trained rows, the scores.

    Args:
        found: of `read_contamination`.
        table: answers of every model to the task's own items: `item_id`, `model`, `score`, `higher_is_better`.
        key: of the index that the dataset was curated with, if it was keyed; without it none of its items is known.
    """
    names = table["item_id"].unique(maintain_order=True).to_list()
    if found is None:
        return {"not_scanned": len(names), "touched": {}, "items": [], "scores": []}
    worst = worst_items(found["items"], TRAINED)
    scanned = set(found["scanned"]) - {entry["item_id"] for entry in found["not_compared"]}
    known = _known_as(names, scanned, key)
    grades = {name: worst[known[name]] for name in names if known[name] in worst}
    seen = [name for name, grade in grades.items() if grade in GATING]
    left = table.filter(~pl.col("item_id").is_in(seen))
    return {
        "not_scanned": sum(known[name] not in scanned for name in names),
        "touched": dict(sorted(Counter(str(grade) for grade in grades.values()).items())),
        "items": [{"item_id": name, "grade": str(grade)} for name, grade in grades.items()],
        "scores": [
            _scores(str(model), answers, left) for (model,), answers in table.group_by("model", maintain_order=True)
        ],
    }


def _known_as(names: list[str], scanned: set[str], key: Key | None) -> dict[str, str]:
    """What the dataset calls each item: by its own name, or by that under the key."""
    own = [name.partition("-")[0] for name in names]  # a copy of an item is called like it, with a number behind
    hidden = own if key is None else keyed_ids(own, key)
    return {name: o if o in scanned else h or o for name, o, h in zip(names, own, hidden, strict=True)}


def _scores(model: str, answers: pl.DataFrame, left: pl.DataFrame) -> dict[str, Any]:
    """The score on all items and on those that no training row holds; null where none is left."""
    higher = bool(answers["higher_is_better"][0])
    clean = left.filter(pl.col("model") == model)["score"]
    return {
        "model": model,
        "with": mean_score(answers["score"], higher=higher),
        "without": mean_score(clean, higher=higher) if len(clean) else None,
        "items_without": len(clean),
    }


def sentences(tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the tasks of `results.json` have to say of this, for people; nothing for a task without such items."""
    said = []
    for name, about in tasks.items():
        marks = about.get("contamination")
        if not marks:
            continue
        seen = sum(count for grade, count in marks["touched"].items() if Grade(grade) in GATING)
        if seen:
            scores = ", ".join(
                f"{score['model']} {score['with']:.3f} with them and "
                + ("nothing" if score["without"] is None else f"{score['without']:.3f}")
                + " without"
                for score in marks["scores"]
            )
            said.append(f"{name}: {seen:,} items stand in the rows that were trained on; {scores}")
        if marks["not_scanned"]:
            said.append(f"{name}: {marks['not_scanned']:,} items were not looked for in the rows that were trained on")
    return said
