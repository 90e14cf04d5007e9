"""Several evaluations of the same models on the same items: runs, whose differences are noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from evals.evidence import Evidence, read_evidence
from schemas.errors import UserError
from schemas.manifest import Manifest, open_stage

MODELS = ("base", "tuned")
SAME_INPUTS = ("adapter", "base_model", "dataset")
ITEM = ("task", "model", "item_id", "position", "cluster", "prompt_sha256")


def with_runs(evidence: Evidence, manifest: Manifest, others: Sequence[Path]) -> Evidence:
    """The evidence with further runs of its models, made with another batch size, kernel, dtype or device.

    Args:
        evidence: of the first run.
        manifest: of the first run.
        others: manifests (or folders) of the other evaluations.

    Raises:
        ManifestError: one of them does not hash to its manifest, or cannot be read.
        UserError: one of them is of other models or other items, or is there twice.
    """
    tables, seen = [evidence.items], {manifest.fingerprint}
    asked = _asked(evidence.items)
    for number, path in enumerate(others, 1):
        other, folder = open_stage(path, "evals")
        items = read_evidence(folder, evidence.conditions, evidence.seed).items
        found = ""
        if other.fingerprint in seen:
            found = "the same evaluation a second time, which says nothing of noise"
        elif _models(other) != _models(manifest):
            found = "another base model, adapter or dataset"
        elif not _asked(items).equals(asked):
            found = "other items or other prompts"
        if found:
            raise UserError(
                "this is no further run of the evaluation that is judged",
                where=str(folder),
                found=found,
                expected="the same models asked the same items, with another evals.batch_size or dtype",
            )
        seen.add(other.fingerprint)
        tables.append(items.filter(pl.col("model").is_in(MODELS)).with_columns(run=pl.lit(number, pl.Int64)))
    return replace(evidence, items=pl.concat(tables))


def _models(manifest: Manifest) -> list[tuple[str, str]]:
    return sorted((ref.role, ref.identity) for ref in manifest.inputs if ref.role in SAME_INPUTS)


def _asked(items: pl.DataFrame) -> pl.DataFrame:
    return items.filter(pl.col("model").is_in(MODELS)).select(ITEM).sort(ITEM)
