"""What the card and the bill of a release say, gathered from the chain of evidence, the config and the proofs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.configfile import Project
from curate.model_files import BUNDLED, local_folder
from evals.chain import Node
from evals.release.conclude import digests
from evals.release.judged import Judged
from evals.report_facts import Facts, gather
from evals.selftest.stored import quoted
from schemas.release import ReleasedTarget, SmokeTest
from schemas.release_config import CardConfig
from schemas.stage import Stage
from schemas.verdict import Outcome

UNKNOWN = "unknown"
"""Said wherever the config and the chain give nothing."""
SELFTEST = "selftest"
"""Role of a selftest among the inputs of a verdict."""


@dataclass(frozen=True)
class BaseModel:
    """The model that was tuned."""

    name: str
    hub_id: str | None
    """Null where nobody said which published model it is."""
    licence: str
    architecture: str
    """The class that its config names."""
    note: str
    """How it differs from the published model; empty where nothing is known."""
    digest: str


@dataclass(frozen=True)
class ReleaseFacts:
    """Everything that the card and the bill show."""

    name: str
    fingerprint: str
    """Of the release."""
    code: str
    """Digest of the sources that made it."""
    evidence: Facts
    """Of the chain behind the verdict."""
    card: CardConfig
    base: BaseModel
    dtype: str
    """In which the model was judged."""
    digests: Mapping[str, str]
    """Role -> sha256 of what the release was made from."""
    sources: tuple[tuple[str, str], ...]
    """Name and sha256 of each file of raw rows."""
    settings: tuple[tuple[str, str], ...]
    """Of training, each as JSON."""
    counts: tuple[tuple[str, int], ...]
    """Of training: rows, steps, tokens."""
    targets: tuple[ReleasedTarget, ...]
    smoke: SmokeTest | None
    override: str | None

    @property
    def folders(self) -> list[str]:
        """Where exported files are, each once."""
        return list(dict.fromkeys(target.folder for target in self.targets))

    @property
    def limits(self) -> list[str]:
        """What a reader must not take for granted."""
        gate = self.evidence.verdict.outcome
        against = [] if gate is Outcome.PASS else [f"The model gate did not pass ({gate.value})."]
        base = [self.base.note] if self.base.note else []
        served = [] if self.smoke else ["No smoke test: no server was asked with these files."]
        return [*against, *base, *self.card.limits, *self.evidence.not_checked, *served]


def gather_release(
    project: Project,
    stage: Stage,
    judged: Judged,
    base: Path,
    proven: Sequence[ReleasedTarget],
    tested: SmokeTest | None,
) -> ReleaseFacts:
    """Read what card and bill need.

    Args:
        project: the config.
        stage: of the release.
        judged: the model with its verdict, re-hashed.
        base: folder of the base model.
        proven: what was exported.
        tested: the smoke test, if one was made.

    Raises:
        ManifestError: a file of the chain does not have the form that its stage writes.
    """
    selftest = next((link.node.path for link in judged.chain.links if link.ref.role == SELFTEST), None)
    evidence = gather(judged.chain, trust=quoted(selftest) if selftest else ())
    known = digests(stage.inputs)
    trained = judged.chain.find("train")
    manifest = trained.manifest if trained else None
    evals = judged.chain.find("evals")
    asked = evals.manifest.config.get("evals", {}) if evals and evals.manifest else {}
    tuned = _base_model(project, base, known["base_model"])
    return ReleaseFacts(
        name=stage.name,
        fingerprint=stage.fingerprint,
        code=stage.code,
        evidence=evidence,
        card=project.config.release.card,
        base=tuned,
        dtype=asked.get("dtype", UNKNOWN),
        digests=known,
        sources=tuple(_sources(judged.chain.find("curate"))),
        settings=tuple(_flat(manifest.config | {"base_model": tuned.name})) if manifest else (),
        counts=tuple(manifest.counts.items()) if manifest else (),
        targets=tuple(proven),
        smoke=tested,
        override=stage.config["override"],
    )


def _base_model(project: Project, folder: Path, digest: str) -> BaseModel:
    """Which model was tuned, without the path of a folder on this machine."""
    name, card = project.config.train.base_model, project.config.release.card
    bundled = BUNDLED.get(name)
    local = None if bundled else local_folder(name, project.root)
    if bundled:
        hub_id: str | None = bundled.source.partition(",")[0]
    else:
        hub_id = None if local else name
    return BaseModel(
        name=local.name if local else name,
        hub_id=card.base_model or hub_id,
        licence=card.base_model_license or (bundled.licence if bundled else UNKNOWN),
        architecture=_architecture(folder),
        note=f"The base model is {bundled.source}" if bundled else "",
        digest=digest,
    )


def _architecture(folder: Path) -> str:
    named = json.loads((folder / "config.json").read_bytes()).get("architectures")
    return str(named[0]) if isinstance(named, list) and named else UNKNOWN


def _sources(dataset: Node | None) -> Iterator[tuple[str, str]]:
    for link in dataset.links if dataset else ():
        if link.ref.role == "source":
            yield Path(link.ref.path).name, link.ref.sha256


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, json.dumps(value, ensure_ascii=False)
