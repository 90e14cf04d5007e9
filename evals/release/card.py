"""The model card: a README.md in the model hub's format in every folder of exported files.

Names, messages and texts come from configs and data: in the metadata they are YAML values, in the page Markdown text,
and nowhere markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from evals.release.equivalence_pages import tables
from evals.release.facts import UNKNOWN, ReleaseFacts
from evals.release.written import CARD
from evals.report_page import markdown_document
from schemas.atomic import write_atomic
from schemas.release import ReleasedTarget
from schemas.results import TaskScore
from schemas.terminal import printable

TASK = "text-generation"


class Kind(NamedTuple):
    """What the files of a folder are."""

    what: str
    library: str
    """That loads them, as the hub calls it."""
    relation: str
    """To the base model, as the hub calls it."""
    use: str


KINDS = {
    "adapter": Kind("LoRA adapter", "peft", "adapter", "peft loads it on the base model with the digest below."),
    "merged": Kind("Merged weights", "transformers", "finetune", "transformers loads them without an adapter."),
    "gguf": Kind("GGUF files", "gguf", "quantized", "llama.cpp and what is built on it load them."),
}
"""Folder -> what its files are."""
TUNED = "tuned"


def write_cards(folder: Path, facts: ReleaseFacts) -> None:
    """Write the card of every folder of exported files.

    Args:
        folder: of the release.
        facts: what the cards say.
    """
    for name in facts.folders:
        write_atomic(folder / name / CARD, card(facts, name).encode("utf-8"))


def card(facts: ReleaseFacts, folder: str) -> str:
    """The card of one folder: metadata between dashes, then the page.

    Args:
        facts: what it says.
        folder: of exported files.
    """
    targets = [target for target in facts.targets if target.folder == folder]
    kind = _kind(folder)
    block = yaml.safe_dump(metadata(facts, folder), sort_keys=False, allow_unicode=True, width=120)
    page = markdown_document("card.md.jinja", facts=facts, targets=targets, kind=kind, tables=tables(targets))
    return f"---\n{block}---\n\n{page}"


def _kind(folder: str) -> Kind:
    return KINDS[folder.strip("/").partition("/")[0]]


def metadata(facts: ReleaseFacts, folder: str) -> dict[str, Any]:
    """What the hub reads: names, rights, and the scores of the judged model with their intervals.

    Args:
        facts: what is known; what is not known is left out, but for the licence, which is said to be unknown.
        folder: of exported files.
    """
    kind = _kind(folder)
    card = facts.card
    found: dict[str, Any] = {
        "license": (card.license or UNKNOWN).lower(),
        "language": card.language,
        "base_model": facts.base.hub_id,
        "base_model_relation": kind.relation if facts.base.hub_id else None,
        "library_name": kind.library,
        "pipeline_tag": TASK,
        "tags": [facts.name, "assay", *dict.fromkeys(target.name for target in _of(facts.targets, folder))],
        "datasets": card.datasets,
        "model-index": [{"name": facts.name, "results": list(_results(facts))}],
    }
    return {name: value for name, value in found.items() if value}


def _of(targets: Sequence[ReleasedTarget], folder: str) -> Iterator[ReleasedTarget]:
    return (target for target in targets if target.folder == folder)


def _results(facts: ReleaseFacts) -> Iterator[dict[str, Any]]:
    for score in facts.evidence.scores:
        if score.model == TUNED:
            task = printable(score.task)
            yield {
                "task": {"type": TASK, "name": task},
                "dataset": {"type": task, "name": task, "split": "test"},
                "metrics": [_metric(score)],
            }


def _metric(score: TaskScore) -> dict[str, Any]:
    about: dict[str, Any] = {"items": score.items, "failed": score.failed}
    if score.low is not None and score.high is not None:
        about["confidence_interval"] = [score.low, score.high]
    return {"type": printable(score.metric), "value": score.value, "args": about}
