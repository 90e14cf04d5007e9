"""A curated dataset on disk, opened by its manifest and re-hashed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.rows import Corpus
from schemas.errors import UserError
from schemas.manifest import Manifest, open_stage

SPLITS = ("train", "validation", "test")
NEEDED = ("row_id", "kind", "messages", "record", "component")


@dataclass(frozen=True)
class Dataset:
    """Its files, read when they are asked for."""

    folder: Path
    manifest: Manifest

    @cached_property
    def rows(self) -> pl.DataFrame:
        """All rows of all splits with the columns of `data/*.parquet` and `split`; splits in the order of SPLITS.

        Raises:
            UserError: a split is missing or does not have the columns.
        """
        parts = [self._split(name) for name in SPLITS]
        return pl.concat(parts, how="diagonal_relaxed")

    def _split(self, name: str) -> pl.DataFrame:
        path = self.folder / "data" / f"{name}.parquet"
        if not path.is_file():
            raise UserError(
                f"the dataset has no {name} split",
                where=str(path),
                help="run `assay curate`, or wrap your own dataset with `assay import`",
            )
        frame = pl.read_parquet(path)
        missing = [column for column in NEEDED if column not in frame.columns]
        if missing:
            raise UserError(
                f"the {name} split lacks columns",
                where=str(path),
                found=", ".join(frame.columns),
                expected=", ".join(missing),
                help="run `assay curate`, or wrap your own dataset with `assay import`",
            )
        return frame.with_columns(split=pl.lit(name))

    def json(self, name: str) -> dict[str, Any] | None:
        """One of the JSON files beside the data; null where the dataset has none."""
        path = self.folder / name
        if not path.is_file():
            return None
        value: dict[str, Any] = orjson.loads(path.read_bytes())
        return value

    def lines(self, split: str) -> list[dict[str, Any]]:
        """The rows of `data/<split>.jsonl`."""
        data = (self.folder / "data" / f"{split}.jsonl").read_bytes()
        return [orjson.loads(line) for line in data.split(b"\n") if line]

    @cached_property
    def corpus(self) -> Corpus:
        """The rows as rules see them: one source a split, records with their metadata."""
        from curate.readers.records import corpus_of_records

        return corpus_of_records(
            {f"data/{name}.parquet": rows["record"].to_list() for (name,), rows in self._by_split()},
            self.manifest.config.get("data") or {},
        )

    def _by_split(self) -> list[tuple[tuple[str], pl.DataFrame]]:
        return [((name,), self.rows.filter(pl.col("split") == name)) for name in SPLITS]


def open_dataset(path: Path) -> Dataset:
    """Open a dataset by its manifest or folder; every file is hashed.

    Raises:
        ManifestError: it is the result of another stage, or differs from its manifest.
    """
    manifest, folder = open_stage(path, "curate")
    return Dataset(folder, manifest)
