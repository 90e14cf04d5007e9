"""What a report says, gathered from the chain behind a model gate's verdict."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.chain import Node
from evals.contaminated import sentences
from evals.report_training import Curve, read_curve
from schemas.errors import ManifestError
from schemas.results import EvalResults, TaskScore
from schemas.verdict import Check, Outcome, Verdict

DECISIONS = {
    Outcome.PASS: "May ship",
    Outcome.FAIL: "Must not ship",
    Outcome.INCONCLUSIVE: "Not decided, too little evidence",
    Outcome.STALE: "Not decided, the baseline no longer fits",
    Outcome.NOT_APPLICABLE: "Not decided, nothing applied",
}
NO_SELFTEST = (
    "How often this gate is right: no selftest of this version is stored beside the verdict; run assay selftest model."
)
MODEL_ORDER = ("tuned", "base", "majority", "bag_of_words")
"""The candidate first, then what it is compared with."""


@dataclass(frozen=True)
class Comparison:
    """A paired difference that a check rests on."""

    check: str
    estimate: float
    low: float | None
    high: float | None
    items: int | None
    clusters: int | None
    gained: int | None
    lost: int | None
    level: str
    """Of the interval, for example 95%."""


@dataclass(frozen=True)
class LossTable:
    """Supervised loss in nats per token, and what the gain gap check made of it."""

    rows: tuple[tuple[str, float, float], ...]
    """model, trained rows, test rows"""
    check: Check


@dataclass(frozen=True)
class Ledger:
    """Rows in and what became of them."""

    rows_in: int
    kept: int
    dropped: int
    changed: int
    """Kept rows that were redacted or repaired."""
    splits: tuple[tuple[str, int], ...]
    by_rule: tuple[tuple[str, int], ...]
    """Code and name of a rule, and the rows that it dropped; most first."""


@dataclass(frozen=True)
class Link:
    """One row of the chain of digests."""

    role: str
    path: str
    digest: str


@dataclass(frozen=True)
class Facts:
    """Everything that the page shows."""

    name: str
    verdict: Verdict
    scores: tuple[TaskScore, ...]
    touched: tuple[str, ...]
    """On eval items that stand in trained rows, a sentence for each task that has any."""
    comparisons: tuple[Comparison, ...]
    losses: LossTable | None
    curve: Curve
    training: tuple[tuple[str, str], ...]
    ledger: Ledger
    data_verdict: Verdict | None
    trust: tuple[str, ...]
    """How often this version of the gate was right about planted models, in sentences; empty without a selftest."""
    not_checked: tuple[str, ...]
    chain: tuple[Link, ...]

    @property
    def decision(self) -> str:
        """The verdict in a few plain words."""
        return DECISIONS[self.verdict.outcome]


def gather(root: Node, trust: Sequence[str] = ()) -> Facts:
    """Read what the report needs.

    Args:
        root: the chain of a model gate's verdict, verified before.
        trust: what a selftest of this version found, in sentences.

    Raises:
        ManifestError: a file does not have the form that its stage writes.
    """
    manifest = root.manifest
    if manifest is None or manifest.stage != "gate-model":
        raise ManifestError(
            "a report is made from a model gate's verdict",
            where=str(root.path),
            found=f"stage {manifest.stage!r}" if manifest else "an unreadable manifest",
            help="give the manifest of a folder under runs/gate-model/, or run `assay gate model` first",
        )
    verdict = Verdict.model_validate(_json(root, "verdict.json"))
    data_gate = root.find("gate-data")
    data_verdict = Verdict.model_validate(_json(data_gate, "verdict.json")) if data_gate else None
    results = EvalResults.model_validate(_json(root.find("evals"), "results.json"))
    return Facts(
        name=manifest.name,
        verdict=verdict,
        scores=tuple(sorted(results.scores, key=_score_order)),
        touched=tuple(sentences(results.tasks)),
        comparisons=tuple(_comparisons(verdict)),
        losses=_losses(verdict),
        curve=read_curve(root.find("train")),
        training=tuple(_training(root.find("train"))),
        ledger=_ledger(root.find("curate")),
        data_verdict=data_verdict,
        trust=tuple(trust),
        not_checked=(*_not_checked(root, verdict, data_verdict), *(() if trust else (NO_SELFTEST,))),
        chain=tuple(_chain(root)),
    )


def _json(node: Node | None, name: str) -> dict[str, Any]:
    path = node.folder / name if node else Path(name)
    try:
        found = json.loads(path.read_bytes()) if node else {}
    except (OSError, ValueError) as error:
        raise ManifestError("a file of the chain cannot be read", where=str(path), found=str(error)) from error
    return found if isinstance(found, dict) else {}


def _score_order(score: TaskScore) -> tuple[str, int, str]:
    known = MODEL_ORDER.index(score.model) if score.model in MODEL_ORDER else len(MODEL_ORDER)
    return score.task, known, score.model


def _comparisons(verdict: Verdict) -> Iterable[Comparison]:
    for check in verdict.checks:
        found = check.measured
        if not isinstance(found.get("estimate"), int | float):
            continue
        yield Comparison(
            check=check.name,
            estimate=found["estimate"],
            low=found.get("low"),
            high=found.get("high"),
            items=found.get("items"),
            clusters=found.get("clusters"),
            gained=found.get("gained"),
            lost=found.get("lost"),
            level=level(check),
        )


def level(check: Check) -> str:
    """Confidence of a check's two-sided interval, for example 95%; empty where the check names no alpha."""
    alpha = check.required.get("alpha")
    return f"{100 * (1 - alpha):g}%" if isinstance(alpha, float) else ""


def _losses(verdict: Verdict) -> LossTable | None:
    check = next((check for check in verdict.checks if check.name == "overfitting:gain-gap"), None)
    found = check.measured.get("loss") if check else None
    if check is None or not isinstance(found, dict):
        return None
    rows = tuple((model, float(found[model]["train"]), float(found[model]["test"])) for model in found)
    return LossTable(rows, check)


WARNING_NOTES = ("unverified", "ungated")
SETTINGS = ("base_model", "method", "epochs", "batch_size", "learning_rate", "schedule", "max_length", "seed")


def _training(node: Node | None) -> Iterable[tuple[str, str]]:
    """What was trained, how, for how long and with which versions: name and value."""
    if node is None or node.manifest is None:
        return
    manifest = node.manifest
    yield from ((name.replace("_", " "), f"{count:,}") for name, count in manifest.counts.items())
    settings = manifest.config.get("train", manifest.config)
    yield from ((name.replace("_", " "), str(settings[name])) for name in SETTINGS if name in settings)
    lora = settings.get("lora")
    if isinstance(lora, dict):
        yield "LoRA", ", ".join(f"{name} {value}" for name, value in lora.items() if not isinstance(value, list))
    yield "time", f"{manifest.provenance.seconds:,.0f} s on {manifest.provenance.device}"
    if manifest.provenance.packages:
        yield "versions", ", ".join(f"{name} {version}" for name, version in manifest.provenance.packages.items())


def _ledger(node: Node | None) -> Ledger:
    import polars as pl

    found = _json(node, "ledger.json")
    try:
        path = node.folder / "dropped.parquet" if node else ""
        names = dict(pl.read_parquet(path, columns=["code", "name"]).unique().iter_rows())
        dropped = sorted(found["by_rule"].items(), key=lambda item: (-item[1], item[0]))
        return Ledger(
            rows_in=found["rows_in"],
            kept=found["rows_kept"],
            dropped=found["rows_dropped"],
            changed=found.get("rows_changed", 0),
            splits=tuple(found["splits"].items()),
            by_rule=tuple((f"{code} {names.get(code, '')}".strip(), rows) for code, rows in dropped),
        )
    except (KeyError, AttributeError, TypeError, OSError, pl.exceptions.PolarsError) as error:
        where = str(node.folder) if node else "no dataset in the chain"
        raise ManifestError("the dataset's ledger cannot be read", where=where, found=repr(error)) from error


def _not_checked(root: Node, verdict: Verdict, data_verdict: Verdict | None) -> Iterable[str]:
    """What a reader could take for granted and that nothing here shows."""
    for gate in (data_verdict, verdict):
        for check in gate.checks if gate else ():
            if check.outcome in (Outcome.NOT_APPLICABLE, Outcome.INCONCLUSIVE):
                yield f"{check.name} ({check.outcome.value.replace('_', ' ')}): {check.message}."
    if data_verdict is None:
        yield "The dataset has no verdict of the data gate behind this adapter."
    elif data_verdict.outcome is not Outcome.PASS:
        yield f"The data gate did not pass ({data_verdict.outcome.value}): {data_verdict.summary}."
    for stage in (node.manifest for node in root.walk() if node.manifest):
        yield from (f"{stage.stage}: {note}." for note in stage.provenance.notes if note.startswith(WARNING_NOTES))
    dataset = root.find("curate")
    if dataset and not any(link.ref.role == "evals" for link in dataset.links):
        yield "The rows were not compared with any benchmark: data.evals names none."
    if not any(":not-regress" in check.name for check in verdict.checks):
        yield "Other abilities of the base model: no task must not_regress."
    yield "Other seeds: one training run was judged, so the spread between runs is not in the intervals."
    yield "Memorised text: no extraction or membership attack was run; the gain gap sees only losses."


def _chain(root: Node) -> Iterable[Link]:
    """Every stage and file behind the verdict, each once; a stage is named by its digest without times."""
    roles = {root.path: "verdict"}
    digests: dict[Path, str] = {}
    for node in root.walk():
        for link in node.links:
            roles.setdefault(link.node.path, link.ref.role)
            digests.setdefault(link.node.path, link.ref.identity)
    project = root.folder.parent.parent.parent  # <project>/runs/gate-model/<result>
    for node in root.walk():
        digest = node.manifest.content_digest if node.manifest else digests[node.path]
        place = os.path.relpath(node.folder if node.manifest else node.path, project)
        if place.startswith(".."):
            place = os.path.join("...", *Path(place).parts[-2:])  # elsewhere on that machine: nobody's business
        yield Link(roles[node.path], place, digest)
