"""What is known of trained and held-out rows before any model runs: places, copies, looks, canaries, and the run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from curate.score_test import MIN_CLUSTERS
from curate.supervision import SupervisionError, Supervisor
from evals.blind import blind_scores
from evals.dataset_items import TRAINED_ROWS, read_trained
from evals.scoring import LossRow
from schemas.base import digest
from schemas.errors import ManifestError
from schemas.manifest import Manifest, read_manifest
from train.canaries import canary_rows
from train.rows import SplitRow, choose_rows, read_split
from train.run import LEDGER, METRICS, MODEL

ROW_SCHEMA = {
    "split": pl.String,  # train or test
    "row_id": pl.String,
    "cluster": pl.Int64,
    "path": pl.String,
    "line": pl.Int64,
    "blind": pl.Float64,  # of evals.blind; null where the row was not asked about
}
BLIND_ROWS = 500
"""Most rows of either kind that the blind classifier is asked about."""
SHOWN = 20
PROOF = "split_proof.json"


@dataclass(frozen=True)
class ReadRows:
    """Trained and held-out rows of a run, read once."""

    dataset: Path
    """The stage folder of the curated dataset."""
    adapter: Path
    """The stage folder of training."""

    @cached_property
    def trained(self) -> list[SplitRow]:
        """See `read_trained`."""
        return read_trained(self.dataset, self.adapter)

    @cached_property
    def held_out(self) -> list[SplitRow]:
        """The test split."""
        return read_split(self.dataset, "test")

    @cached_property
    def compared(self) -> list[SplitRow]:
        """The trained rows that held-out rows may be compared with."""
        return comparable(self.dataset, self.trained)


def row_table(rows: ReadRows, measured: Sequence[LossRow], seed: int) -> pl.DataFrame:
    """Every row that was measured or that the blind classifier was asked about, with the columns of ROW_SCHEMA.

    Args:
        rows: of the run.
        measured: rows whose loss is measured.
        seed: of the sample, the folds and the optimiser.
    """
    asked = {
        "train": choose_rows(rows.compared, BLIND_ROWS, seed),
        "test": choose_rows(rows.held_out, BLIND_ROWS, seed),
    }
    scores: dict[tuple[str, str], float] = {}
    if all(len({row.component for row in found}) >= MIN_CLUSTERS for found in asked.values()):
        flat = [(split, row) for split, found in asked.items() for row in found]
        said = blind_scores(
            [_text(row) for _, row in flat],
            [split == "train" for split, _ in flat],
            [row.component for _, row in flat],
            seed,
        )
        scores = {(split, row.row_id): score for (split, row), score in zip(flat, said, strict=True)}
    needed = {(row.split, row.row_id) for row in measured} | scores.keys()
    lines = [
        (split, row.row_id, row.component, row.path, row.line, scores.get((split, row.row_id)))
        for split, found in (("train", rows.trained), ("test", rows.held_out))
        for row in found
        if (split, row.row_id) in needed
    ]
    return pl.DataFrame(lines, schema=ROW_SCHEMA, orient="row")


def row_facts(rows: ReadRows) -> dict[str, Any]:
    """What `results.json` says of the rows and of the run that trained them."""
    manifests = [read_manifest(rows.dataset), read_manifest(rows.adapter)]
    return {
        "trained_rows": {
            "rows": len(rows.trained),
            "comparable": len(rows.compared),
            "listed": (rows.adapter / TRAINED_ROWS).is_file(),
        },
        "unverified": [note for manifest in manifests for note in manifest.provenance.notes if "unverified" in note],
        "held_out_rows_trained": _held_out_among(rows.trained, rows.held_out),
        "split_proof": _proof(rows.dataset),
        "validation_curve": _curve(rows.adapter),
        "canaries": _canaries(rows.adapter, manifests[1]),
        "artifact": {
            "whole": (rows.adapter / MODEL).is_dir(),
            "quantization": manifests[1].config.get("quantization"),
        },
    }


def comparable(dataset: Path, trained: Sequence[SplitRow]) -> list[SplitRow]:
    """The trained rows that held-out rows may be compared with: as many as possible with the same share of lone rows.

    Where large sets of similar rows went to one split, its rows are more alike and easier than those of the others, and
    a comparison of splits would show that. A row is lone if no other row of the dataset belongs to its component.

    Args:
        dataset: the stage folder of the curated dataset.
        trained: rows of its train split.

    Returns:
        Trained rows in their order; all of them where fewer than `MIN_CLUSTERS` would be left.
    """
    splits = {path.stem: pl.read_parquet(path, columns=["component"]) for path in dataset.glob("data/*.parquet")}
    sizes = Counter(pl.concat(splits.values())["component"].to_list())
    held_out = splits["test"]["component"].to_list()
    if not held_out:
        return list(trained)
    alone = sum(sizes[component] == 1 for component in held_out) / len(held_out)
    kinds = [[row for row in trained if (sizes[row.component] == 1) is single] for single in (True, False)]
    shares = (alone, 1 - alone)
    most = min(len(rows) / share for rows, share in zip(kinds, shares, strict=True) if share > 0)
    if most < MIN_CLUSTERS:
        return list(trained)
    kept = [row for rows, share in zip(kinds, shares, strict=True) for row in _first(rows, round(most * share))]
    names = {row.row_id for row in kept}
    return [row for row in trained if row.row_id in names]


def _first(rows: Sequence[SplitRow], count: int) -> list[SplitRow]:
    return choose_rows(rows, count, 0) if count else []


def canary_losses(supervisor: Supervisor, adapter: Path) -> list[LossRow]:
    """The canaries that a run inserted, and those that it did not, as rows to be measured; none where it had none."""
    config = read_manifest(adapter).config
    found = []
    for dose, rows in (canary_rows(config["canaries"], config["seed"]) if config.get("canaries") else {}).items():
        for number, row in enumerate(rows):
            supervised = supervisor.encode_rows([row.messages])[0]
            if isinstance(supervised, SupervisionError):
                continue  # training refuses such a row, so there is none in a run with canaries
            found.append(LossRow(f"canary_{dose}", row.row_id, -1 - dose * 10_000 - number, supervised))
    return found


def _text(row: SplitRow) -> str:
    return "\n".join(str(turn.get("content") or "") for turn in row.messages)


def _plain(row: SplitRow) -> str:
    """A digest of what a row says, whatever its case and white space."""
    said = [
        [str(turn.get("role")), " ".join(str(turn.get("content") or "").casefold().split())] for turn in row.messages
    ]
    return digest(json.dumps(said).encode("utf-8", "surrogatepass"))


def _held_out_among(trained: Sequence[SplitRow], held_out: Sequence[SplitRow]) -> dict[str, Any]:
    known = {_plain(row): row for row in trained if row.messages}
    pairs = [(known[name], row) for row in held_out if row.messages and (name := _plain(row)) in known]
    shown = [{"test": row.place, "train": twin.place} for twin, row in pairs[:SHOWN]]
    return {"rows": len(pairs), "of": len(held_out), "shown": shown}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ManifestError("a file of an earlier stage cannot be read", where=str(path), found=str(error)) from error


def _proof(dataset: Path) -> dict[str, Any] | None:
    path = dataset / PROOF
    found = _json(path) if path.is_file() else None
    if not isinstance(found, dict) or not isinstance(found.get("cross_split_pairs"), int):
        return None
    return {
        "pairs": found["cross_split_pairs"],
        "threshold": found.get("threshold"),
        "imported": bool(found.get("imported")),
    }


def _curve(adapter: Path) -> dict[str, Any] | None:
    """The validation loss by step, and the step whose weights were published; null where none was measured."""
    from train.monitor import read_metrics

    metrics, ledger = adapter / METRICS, adapter / LEDGER
    if not (metrics.is_file() and ledger.is_file()):
        return None
    records = [record for record in read_metrics(metrics) if "held_out_loss" in record]
    published = _json(ledger).get("published_step")
    if not records or published is None:
        return None
    return {
        "method": _json(ledger).get("method"),
        "published_step": published,
        "points": [[record["step"], record["held_out_loss"]] for record in records],
        "rows": [[record["step"], record["held_out_rows"]] for record in records if "held_out_rows" in record],
    }


def _canaries(adapter: Path, manifest: Manifest) -> dict[str, Any] | None:
    """How many canaries there are of each dose, and which of them training gave no loss; null where there are none."""
    count = manifest.config.get("canaries") or 0
    path = adapter / LEDGER
    if not count or not path.is_file():
        return None
    trained: Mapping[str, Mapping[str, int]] = _json(path).get("canary_rows") or {}
    rows = {dose: found for dose, found in canary_rows(count, manifest.config["seed"]).items() if dose}
    unproven = [
        row.row_id for dose, found in rows.items() for row in found if not _received_loss(trained.get(row.row_id), dose)
    ]
    inserted = {f"{dose}": len(found) for dose, found in rows.items()}
    return {"count": count, "inserted": inserted, "epochs": manifest.config.get("epochs"), "unproven": unproven}


def _received_loss(entry: Mapping[str, int] | None, dose: int) -> bool:
    return (
        entry is not None
        and entry.get("copies") == dose
        and entry.get("supervised_tokens", 0) > 0
        and entry.get("truncated_tokens") == 0
    )
