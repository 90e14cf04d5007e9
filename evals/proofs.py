"""What a finished stage claims, checked again from its files: rows reconcile, splits are disjoint, verdicts follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schemas.errors import AssayError
from schemas.manifest import Manifest
from schemas.verdict import Verdict, combine

SPLITS = ("train", "validation", "test")


def recheck(manifest: Manifest, folder: Path) -> list[str]:
    """Every claim of a stage that its own files contradict, in words; empty when all hold, or none can be checked.

    The files must have been compared with the manifest before: a contradiction then means that assay itself, or a
    hand that rewrote both, got it wrong.
    """
    proof = PROOFS.get(manifest.stage)
    if proof is None:
        return []
    try:
        return proof(manifest, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssayError) as error:
        return [f"its claims cannot be checked: {type(error).__name__}: {error}"]


def _dataset(manifest: Manifest, folder: Path) -> list[str]:
    import polars as pl

    ledger: dict[str, Any] = json.loads((folder / "ledger.json").read_bytes())
    rows = {name: _height(pl, folder / "data" / f"{name}.parquet") for name in SPLITS}
    dropped = _height(pl, folder / "dropped.parquet")
    claims = (
        ("rows in", ledger["rows_in"], ledger["rows_kept"] + ledger["rows_dropped"], "rows kept + rows dropped"),
        ("rows kept", ledger["rows_kept"], sum(rows.values()), "the rows of its splits"),
        ("rows dropped", ledger["rows_dropped"], dropped, "the rows of dropped.parquet"),
        ("rows dropped", ledger["rows_dropped"], sum(ledger["by_rule"].values()), "the rows dropped by each rule"),
    )
    lost = [
        f"{claim} do not reconcile: the ledger says {said:,}, {source} are {counted:,}"
        for claim, said, counted, source in claims
        if said != counted
    ]
    return lost or _split_proof(pl, folder)


def _split_proof(pl: Any, folder: Path) -> list[str]:
    """What `split_proof.json` claims, counted again from the published rows by the exact method alone.

    Rows of components that were cut are held to higher thresholds, which the rows do not carry: then everything is
    counted at the highest of them, where no fewer pairs may be claimed than are found.
    """
    from curate.time_split import rows_past_cut

    claimed: dict[str, Any] = json.loads((folder / "split_proof.json").read_bytes())
    units = pl.concat(
        pl.read_parquet(folder / "data" / f"{name}.parquet", columns=["group", "component", "time"]).with_columns(
            split=pl.lit(name)
        )
        for name in SPLITS
    )
    found = {
        f"{unit}s_across_splits": int(
            (units.drop_nulls(unit).group_by(unit).agg(pl.col("split").n_unique())["split"] > 1).sum()
        )
        for unit in ("group", "component")
    }
    if claimed.get("time"):
        found["rows_past_cut"] = rows_past_cut(units["time"], units["split"], claimed["time"]["cuts"])
        claimed["rows_past_cut"] = claimed["time"]["rows_past_cut"]
    exact = not claimed["rows_at_a_higher_threshold"]
    pairs = _cross_split_pairs(pl, folder, claimed["threshold"] if exact else claimed["highest_threshold"])
    problems = [
        f"the split proof claims {claimed[name]} {name.replace('_', ' ')}, there are {count}"
        for name, count in found.items()
        if name in claimed and claimed[name] != count
    ]
    if pairs > claimed["cross_split_pairs"] or (exact and pairs != claimed["cross_split_pairs"]):
        problems.append(
            f"the split proof claims {claimed['cross_split_pairs']} similar pairs across splits, not {pairs}"
        )
    return problems


def _cross_split_pairs(pl: Any, folder: Path, threshold: float) -> int:
    from curate.readers import read_corpus
    from curate.similar import comparable_texts
    from curate.split import split_proof

    corpus = read_corpus([folder / "data" / f"{name}.jsonl" for name in SPLITS])
    rows = corpus.rows.select("index", split=pl.col("source").replace_strict(dict(enumerate(SPLITS))))
    texts = comparable_texts(corpus).select("index", "text")
    text = rows.join(texts, on="index", how="left", maintain_order="left")["text"]
    return int(str(split_proof(text, rows["split"], threshold=threshold)["cross_split_pairs"]))


def _height(pl: Any, path: Path) -> int:
    return int(pl.scan_parquet(path).select(pl.len()).collect().item())


def _verdict(manifest: Manifest, folder: Path) -> list[str]:
    try:
        verdict = Verdict.model_validate_json((folder / "verdict.json").read_bytes())
    except ValidationError as error:
        return [f"verdict.json is no verdict: {error.error_count()} fields do not fit"]
    problems = []
    outcome = combine(check.outcome for check in verdict.checks)
    if verdict.outcome != outcome:
        problems.append(f"the verdict says {verdict.outcome.value}, its checks combine to {outcome.value}")
    for ref in manifest.inputs:
        named = verdict.subject.get(ref.role)
        if named is not None and named not in (ref.sha256, ref.content):
            problems.append(f"the verdict is about {ref.role} {named[:16]}, the stage read {ref.sha256[:16]}")
    return problems


def _comparison(manifest: Manifest, folder: Path) -> list[str]:
    """What a comparison concludes, judged again from its answers under the config of its manifest."""
    from evals.comparing.judge import judge_compare
    from schemas.compare import Compared

    said = Compared.model_validate_json((folder / "compare.json").read_bytes())
    config = manifest.config["compare"]
    level, margin = config["alpha"], config["margin"]
    again = judge_compare(folder, alpha=level, margin=margin, prices=said.prices, seed=config["seed"])
    unlike = [name for name in Compared.model_fields if getattr(again, name) != getattr(said, name)]
    return [f"compare.json does not follow from the answers: {', '.join(unlike)}"] if unlike else []


def _release(manifest: Manifest, folder: Path) -> list[str]:
    from evals.release.proof import release_problems  # it reads chains, which come here

    return release_problems(manifest, folder)


PROOFS: dict[str, Callable[[Manifest, Path], list[str]]] = {
    "curate": _dataset,
    "gate-data": _verdict,
    "gate-model": _verdict,
    "compare": _comparison,
    "release": _release,
}
