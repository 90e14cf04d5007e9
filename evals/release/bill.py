"""The machine-readable bill of a release: CycloneDX 1.6 with a model card (ML-BOM).

The library makes and serialises everything that it has classes for. Of 1.6 it lacks `modelCard` and the `data` of
components, which are added to what it wrote; a test holds the whole file against the official schema. Nothing in it is
random or tells the time: the same release gives the same bytes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.output.json import JsonV1Dot6

from evals.release.facts import UNKNOWN, ReleaseFacts
from evals.release.written import BILL
from schemas.atomic import write_atomic
from schemas.release import ReleasedTarget
from schemas.terminal import printable
from schemas.verdict import Check

TASK = "text-generation"
APPROACHES = {"text": "self-supervised", "grpo": "reinforcement-learning"}
"""train.method -> kind of learning; all others learn from given answers or preferences."""
MODEL, BASE, DATASET, SOURCE = "model", "base-model", "dataset", "source"
"""What the refs of components begin with."""
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "assay/release/1")


def write_bill(folder: Path, facts: ReleaseFacts) -> None:
    """Write the bill of a release.

    Args:
        folder: of the release.
        facts: what it says.
    """
    write_atomic(folder / BILL, bill(facts))


def bill(facts: ReleaseFacts) -> bytes:
    """The bill as JSON.

    Args:
        facts: what it says.
    """
    model, dataset = _model(facts), _dataset(facts)
    sources = [
        Component(name=printable(name), type=ComponentType.DATA, bom_ref=f"{SOURCE}-{number}", hashes=_hashes(sha256))
        for number, (name, sha256) in enumerate(facts.sources)
    ]
    tool = Component(name="assay", type=ComponentType.APPLICATION, bom_ref="assay", hashes=_hashes(facts.code))
    metadata = BomMetaData(component=model)
    metadata.tools.components.add(tool)
    serial = uuid.uuid5(NAMESPACE, facts.fingerprint)
    bom = Bom(serial_number=serial, metadata=metadata, components=[dataset, *sources])
    bom.register_dependency(model, [dataset])
    bom.register_dependency(dataset, sources)
    written: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    del written["metadata"]["timestamp"]
    described = written["metadata"]["component"]
    described["modelCard"] = _model_card(facts)
    for one, target in zip(_targets_of(described, facts), facts.targets, strict=True):
        one["modelCard"] = {"quantitativeAnalysis": {"performanceMetrics": list(_proofs(target))}}
    for one in written["components"]:
        one["data"] = [_data(one["bom-ref"], facts)]
    return json.dumps(written, indent=1, ensure_ascii=True).encode() + b"\n"


def _targets_of(described: Mapping[str, Any], facts: ReleaseFacts) -> list[dict[str, Any]]:
    """What was written of each target, in the order of the facts."""
    by_ref = {one["bom-ref"]: one for one in described["components"]}
    return [by_ref[_ref(target)] for target in facts.targets]


def _ref(target: ReleasedTarget) -> str:
    return f"{MODEL}-{target.name}"


def _model(facts: ReleaseFacts) -> Component:
    base = Component(
        name=printable(facts.base.hub_id or facts.base.name),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=BASE,
        hashes=_hashes(facts.base.digest),
        licenses=[_licence(facts.base.licence)],
    )
    notes = {f"assay:sha256:{role}": digest for role, digest in facts.digests.items()}
    notes |= {f"assay:sha256:chain:{link.role}:{link.path}": link.digest for link in facts.evidence.chain}
    notes |= {"assay:gate": facts.evidence.verdict.outcome.value, "assay:fingerprint": facts.fingerprint}
    notes |= {"assay:override": facts.override} if facts.override else {}
    notes |= {f"assay:selftest:{number}": line for number, line in enumerate(facts.evidence.trust)}
    notes |= {f"assay:train:{name}": value for name, value in facts.settings}
    return Component(
        name=facts.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=MODEL,
        version=facts.fingerprint[:12],
        licenses=[_licence(facts.card.license)],
        pedigree=Pedigree(ancestors=[base]),
        components=[_target(target, facts) for target in facts.targets],
        properties=_properties(notes),
    )


def _target(target: ReleasedTarget, facts: ReleaseFacts) -> Component:
    files = [
        Component(
            name=printable(file.path),
            type=ComponentType.FILE,
            bom_ref=f"{_ref(target)}-{number}",
            hashes=_hashes(file.sha256),
        )
        for number, file in enumerate(target.files)
    ]
    notes = {"assay:equivalence": target.equivalence.outcome.value}
    notes |= {f"assay:equivalence:{check.name}": _said(check) for check in target.equivalence.checks}
    return Component(
        name=f"{facts.name}-{target.name}",
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=_ref(target),
        components=files,
        properties=_properties(notes),
    )


def _dataset(facts: ReleaseFacts) -> Component:
    ledger = facts.evidence.ledger
    notes = {"assay:rows_in": str(ledger.rows_in), "assay:rows_kept": str(ledger.kept)}
    notes |= {"assay:rows_dropped": str(ledger.dropped)}
    notes |= {f"assay:rows_dropped:{rule}": str(rows) for rule, rows in ledger.by_rule}
    notes |= {f"assay:rows:{split}": str(rows) for split, rows in ledger.splits}
    return Component(
        name=f"{facts.name}-dataset",
        type=ComponentType.DATA,
        bom_ref=DATASET,
        hashes=_hashes(facts.digests["dataset"]),
        licenses=[_licence(facts.card.data_license)],
        properties=_properties(notes),
    )


def _data(ref: str, facts: ReleaseFacts) -> dict[str, Any]:
    """The `data` of a component: what the rows are and where they come from."""
    source = printable(facts.card.data_source or UNKNOWN)
    what = f"Source: {source}." if ref != DATASET else f"Curated rows, split without leaks. Source: {source}."
    return {"type": "dataset", "description": what}


def _model_card(facts: ReleaseFacts) -> dict[str, Any]:
    method = json.loads(dict(facts.settings).get("method", "null"))
    parameters = {
        "approach": {"type": APPROACHES.get(method, "supervised")},
        "task": TASK,
        "architectureFamily": "transformer",
        "modelArchitecture": printable(facts.base.architecture),
        "datasets": [{"ref": DATASET}],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "text"}],
    }
    considerations: dict[str, Any] = {"technicalLimitations": [printable(line) for line in facts.limits]}
    if facts.card.intended_use:
        considerations["useCases"] = [printable(facts.card.intended_use)]
    return {
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(facts))},
        "considerations": considerations,
    }


def _metrics(facts: ReleaseFacts) -> Iterator[dict[str, Any]]:
    for score in facts.evidence.scores:
        yield _metric(score.metric, score.value, score.low, score.high, f"{score.task}, {score.model}")
    for row in facts.evidence.comparisons:
        yield _metric("paired difference", row.estimate, row.low, row.high, row.check)


def _proofs(target: ReleasedTarget) -> Iterator[dict[str, Any]]:
    """Every number of a proof, with the interval where there is one."""
    found = target.equivalence
    if found.max_log_p is not None:
        yield _metric("largest difference of a log-probability, nats", found.max_log_p, None, None, "all tokens")
    shares = {"KL divergence a token, nats": found.kl, "same top token": found.top_1, "same answer": found.greedy}
    shares |= {f"difference of {one.metric}, {one.task}": one.difference for one in found.tasks}
    for name, one in shares.items():
        if one is not None and one.estimate is not None:
            yield _metric(name, one.estimate, one.low, one.high, f"{target.name} and the judged model")


def _metric(kind: str, value: float, low: float | None, high: float | None, where: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": printable(kind), "value": f"{value:g}", "slice": printable(where)}
    if low is not None and high is not None:
        found["confidenceInterval"] = {"lowerBound": f"{low:g}", "upperBound": f"{high:g}"}
    return found


def _said(check: Check) -> str:
    return f"{check.outcome.value}: {check.message}"


def _hashes(sha256: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=sha256)]


def _licence(name: str | None) -> Any:
    return LicenseFactory().make_from_string(printable(name or UNKNOWN))


def _properties(notes: Mapping[str, str]) -> Iterable[Property]:
    return [Property(name=printable(name), value=printable(value)) for name, value in notes.items()]
