"""The account of a search, by eval set and by item: what was compared, what was found, and what was not looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.contamination.index import UNKEYED
from curate.contamination.search import Found, search
from curate.contamination.verdicts import GATING, RANK, Grade
from curate.rows import Corpus

SCHEMA = "assay/contamination/1"
FILE = "contamination.json"


def graded(found: Found) -> pl.DataFrame:
    """`item`, `index` and `rank` of every verdict."""
    return pl.DataFrame(
        [(verdict.item, verdict.index, RANK[verdict.grade]) for verdict in found.verdicts],
        schema={"item": pl.Int64, "index": pl.Int64, "rank": pl.Int64},
        orient="row",
    )


def eval_sets(items: pl.DataFrame, own_wording: NDArray[np.bool_], hits: pl.DataFrame) -> list[dict[str, Any]]:
    """For each eval set how many items it has, how many could not be read or compared, and what rows hold of them.

    An item counts once, by the worst that any row holds of it; so does a row.

    Args:
        items: of the index that was searched with.
        own_wording: of `Scan`.
        hits: of `graded`.
    """
    items = items.with_columns(
        wordless=pl.col("words") == 0, own_wording=pl.Series(own_wording) & (pl.col("words") > 0)
    )
    hits = hits.with_columns(eval_set=items["eval_set"].gather(hits["item"]))
    table = []
    for (name,), group in items.group_by(["eval_set"], maintain_order=True):
        of_set = hits.filter(pl.col("eval_set") == name)
        worst = {by: of_set.group_by(by).agg(pl.col("rank").min())["rank"] for by in ("item", "index")}
        table.append(
            {
                "eval_set": str(name),
                "items": group.height,
                "not_compared": int(group["wordless"].sum()),
                "compared_as_a_whole_only": int(group["own_wording"].sum()),
                "items_hit": {str(grade): int((worst["item"] == rank).sum()) for grade, rank in RANK.items()},
                "rows_hit": {str(grade): int((worst["index"] == rank).sum()) for grade, rank in RANK.items()},
            }
        )
    return table


def searched_sets(corpus: Corpus) -> dict[str, Any]:
    """`eval_sets` of a search that a rule has made, and how many records could not be read; empty if none was made."""
    if "contamination" not in corpus.memo:
        return {}
    found = search(corpus)
    return account(found.index.items, found.scan.own_wording, graded(found))


def account(items: pl.DataFrame, own_wording: NDArray[np.bool_], hits: pl.DataFrame) -> dict[str, Any]:
    """`searched_sets` of what was found; arguments as for `eval_sets`."""
    return {"eval_sets": eval_sets(items, own_wording, hits), "eval_records_unread": unread_records(items)}


def unread_records(items: pl.DataFrame) -> int:
    """How many records of the eval sets could not be read."""
    return items["row_id"].null_count()


def uncompared(sets: Sequence[Mapping[str, Any]]) -> int:
    """How many items of some eval sets nobody knows anything of; eval files without any item count as one.

    Args:
        sets: of `eval_sets`.
    """
    return sum(int(entry["not_compared"]) for entry in sets) + (not sets)


def contamination_file(corpus: Corpus, splits: pl.Series) -> dict[str, Any]:
    """What `contamination.json` of a dataset holds: which eval items touch which of its rows.

    Args:
        corpus: the rows that are published, with eval items.
        splits: String, the split of each of these rows.
    """
    found = search(corpus)
    split_of = dict(zip(corpus.rows["index"].to_list(), splits.to_list(), strict=True))
    rows = dict(zip(corpus.rows["index"].to_list(), corpus.rows["row_id"].to_list(), strict=True))
    touched: dict[int, dict[str, Any]] = {}
    for verdict in sorted(found.verdicts, key=lambda v: (v.item, RANK[v.grade], v.index)):
        entry = touched.setdefault(
            verdict.item,
            _named(found, verdict.item) | {"grade": str(verdict.grade), "row_id": rows[verdict.index], "rows": {}},
        )
        split = entry["rows"].setdefault(split_of[verdict.index], {})
        split[str(verdict.grade)] = split.get(str(verdict.grade), 0) + 1
    wordless = np.flatnonzero(found.index.items["words"].to_numpy() == 0)
    return {
        "schema": SCHEMA,
        "gating": [str(grade) for grade in GATING],
        "sets": eval_sets(found.index.items, found.scan.own_wording, graded(found)),
        "unread": unread_records(found.index.items),
        "items": list(touched.values()),
        "keyed": found.index.key != UNKEYED,
        "scanned": [_name(row_id) for row_id in found.index.items["row_id"].drop_nulls()],
        "not_compared": [_named(found, int(item)) for item in wordless],
    }


def _named(found: Found, item: int) -> dict[str, Any]:
    entry = found.index.items.row(item, named=True)
    return {"item_id": _name(entry["row_id"])} | {name: entry[name] for name in ("eval_set", "path", "line", "row")}


def _name(row_id: str | None) -> str:
    """What the evals stage calls an item; that under a key where a keyed index stands for it, empty if it is unread."""
    return (row_id or "")[:16]


def worst_items(entries: list[dict[str, Any]], split: str) -> dict[str, Grade]:
    """Item id -> the worst that any row of a split holds of it.

    Args:
        entries: `items` of a contamination file.
        split: such as `train`.
    """
    return {
        entry["item_id"]: min((Grade(grade) for grade in entry["rows"][split]), key=RANK.__getitem__)
        for entry in entries
        if split in entry["rows"]
    }
