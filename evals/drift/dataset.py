"""The dataset behind a run, and its rows as they were collected: those that were dropped as duplicates included."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.dataset import Dataset, open_dataset
from curate.readers.records import corpus_of_records
from curate.rows import BYTE_ORDER_MARK
from curate.rules.base import Rule
from curate.rules.catalogue import select_rules
from curate.steps import run_steps
from evals.chain import Node, read_chain
from schemas.errors import UserError

COMPARING = ("DUP", "CON", "LEK", "BAL")
"""Families of rules that look at other rows, so that what they drop depends on how many rows there are."""


@dataclass(frozen=True)
class Known:
    """The rows of a dataset, one for each that was collected and is readable."""

    dataset: Dataset
    rows: pl.DataFrame
    """`record` (JSON, as published), `split` (null where it was dropped as like another row), `place`."""
    rules: tuple[Rule, ...]
    """The steps that look at a row alone, which new rows go through as well."""
    reading: dict[str, Any]
    """The `data` section of the dataset's config."""

    @property
    def group_by(self) -> str | None:
        """The metadata field whose values never straddle splits."""
        return self.reading.get("group_by")

    @property
    def threshold(self) -> float | None:
        """Similarity from which on rows stayed in one split."""
        found = self.dataset.manifest.config.get("curate", {}).get("split", {}).get("threshold")
        return None if found is None else float(found)


def dataset_behind(run: Path) -> Node:
    """The dataset's node of the chain behind any result.

    Raises:
        ManifestError: the run, or something between it and its dataset, cannot be read.
        UserError: no dataset is behind it.
    """
    chain = read_chain(run)
    found = chain.find("curate")
    if found is not None:
        return found
    for node in chain.walk():
        if node.error is not None:
            raise node.error
    raise UserError(
        "there is no dataset behind this run, so there are no rows to compare new ones with",
        where=str(chain.path),
        found=f"a result of the stage {chain.manifest.stage!r}" if chain.manifest else "no manifest",
        expected="a result of train, evals, gate, release or curate",
        help="name the dataset itself, a folder under runs/curate/",
    )


def read_known(path: Path, root: Path) -> Known:
    """The rows of a dataset as they were collected.

    Curating drops rows that are like others, and the more rows there are, the larger the share of those that are like
    an earlier one. A comparison of what is left would find two deliveries of unequal size different, so they are put
    back on this side and not dropped on the other.

    Args:
        path: of the dataset.
        root: the folder that files named by rules start from.

    Raises:
        ManifestError: it differs from what was written.
    """
    dataset = open_dataset(path)
    config = dataset.manifest.config
    curate, reading = config.get("curate") or {}, config.get("data") or {}
    steps = curate.get("steps") or []
    rules = select_rules(steps, curate.get("rules"), where=str(path), root=root) if steps else ()
    alone = tuple(rule for rule in rules if rule.code[:3] not in COMPARING)
    kept = dataset.rows.select("record", "split", place=_places())
    return Known(dataset, pl.concat([kept, _put_back(dataset, alone, reading)]), alone, reading)


def _places() -> pl.Expr:
    line = pl.col("line").cast(pl.String)
    return pl.when(line.is_null()).then(pl.col("path")).otherwise(pl.format("{}:{}", "path", line))


def _put_back(dataset: Dataset, alone: tuple[Rule, ...], reading: dict[str, Any]) -> pl.DataFrame:
    """Rows that were dropped since they are like others, redacted and repaired as those that stayed."""
    none = pl.DataFrame(schema={"record": pl.String, "split": pl.String, "place": pl.String})
    path = dataset.folder / "dropped.parquet"
    if not path.is_file():
        return none
    dropped = pl.read_parquet(path, columns=["code", "path", "line", "raw"])
    dropped = dropped.filter(pl.col("code").str.slice(0, 3).is_in(COMPARING))
    texts = [raw.lstrip(BYTE_ORDER_MARK).decode("utf-8", "replace") for raw in dropped["raw"]]
    readable = pl.Series([_is_json(text) for text in texts], dtype=pl.Boolean)
    places = dropped.select(place=_places())["place"].filter(readable)
    corpus = corpus_of_records({"dropped": [text for text, fine in zip(texts, readable, strict=True) if fine]}, reading)
    left, _, _ = run_steps(corpus, alone)
    left = left.without(left.rows.filter(pl.col("kind").is_null())["index"])
    if not left.height:
        return none
    records = [orjson.dumps(record).decode() for record in left.records(left.rows)]
    return pl.DataFrame(
        {"record": records, "split": [None] * len(records), "place": places.gather(left.rows["index"])},
        schema=none.schema,
    )


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
