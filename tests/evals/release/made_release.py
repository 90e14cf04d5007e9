"""A release of a small made-up chain: targets that write a few bytes, proofs that say what a test wants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import evals.release.run
from curate.configfile import Project, load_project
from evals.release.run import Wish, release
from schemas.compare import Measured
from schemas.progress import Progress
from schemas.release import Equivalence, SmokeTest, TaskEquivalence
from schemas.stage import Finished
from schemas.verdict import Check, Outcome, combine
from tests.evals.made_chain import Chain, make_chain

KL = Measured(estimate=0.002, low=0.001, high=0.003, items=100, clusters=100, method="t")
DIFFERENCE = Measured(estimate=-0.003, low=-0.011, high=0.005, items=300, clusters=291, method="t")
CARD = {
    "license": "apache-2.0",
    "base_model": "some-org/some-model",
    "base_model_license": "mit",
    "data_license": "CC BY 4.0",
    "data_source": "mail of a public archive",
    "datasets": ["some-org/mails"],
    "language": ["en"],
    "intended_use": "sorting mail",
    "limits": ["It has never seen mail in Finnish"],
}


def made_target(name: str, folder: str, *, lossless: bool = True, files: Sequence[str] = ("weights.bin",)) -> Any:
    """A target that writes files which hold its name."""
    module = ModuleType(f"made_{name}")

    def export(source: Any, place: Path, project: str) -> list[Path]:
        for file in files:
            (place / file).write_bytes(f"{project} as {name}: {file}".encode())
        return [place / file for file in files]

    vars(module).update(NAME=name, FOLDER=folder, LOSSLESS=lossless, export=export)
    return module


def made_check(outcome: Outcome = Outcome.PASS, name: str = "log-probabilities") -> Check:
    return Check(
        name=name,
        outcome=outcome,
        message="the largest difference of a token's log-probability is 0.0001 nats",
        measured={"estimate": 0.0001, "low": 0.00005, "high": 0.0002},
        required={"max_log_p": 0.001},
        help="" if outcome is Outcome.PASS else "export it again",
    )


def made_equivalence(target: Any, outcome: Outcome = Outcome.PASS) -> Equivalence:
    task = TaskEquivalence(
        task="spam_test",
        metric="acc",
        items=300,
        same=298,
        ties=1,
        judged=0.91,
        exported=0.907,
        difference=DIFFERENCE,
        agreement=KL,
    )
    checks = (made_check(outcome), made_check(Outcome.PASS, "structure"))
    return Equivalence(
        target=target.NAME,
        lossless=target.LOSSLESS,
        exact=False,
        outcome=combine(check.outcome for check in checks),
        summary="it answers like the judged model",
        checks=checks,
        sequences=100,
        tokens=2300,
        positions=2300,
        max_log_p=0.0001,
        kl=KL,
        tasks=(task,),
    )


@dataclass
class Made:
    """A project with a finished chain, and what its targets and proofs do."""

    root: Path
    chain: Chain
    monkeypatch: pytest.MonkeyPatch
    targets: list[Any] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """Target -> what its proof says; a pass where it is not named. `smoke` is that of the smoke test."""
    card: dict[str, Any] = field(default_factory=lambda: dict(CARD))

    def project(self, **changes: Any) -> Project:
        base = {
            "name": "made",
            "data": {"sources": ["raw.jsonl"]},
            "gates": {"model": {"tasks": {"spam_test": {"must": "improve", "detect": 0.1}}}},
            "evals": {"suites": ["spam_test"]},
            "train": {"base_model": str(self.chain.base_model.folder)},
            "release": {"targets": [target.NAME for target in self.targets], "card": self.card},
        }
        path = self.root / "assay.yaml"
        path.write_text(yaml.safe_dump(base | changes), "utf-8")
        return load_project(path)

    def release(self, wish: Wish = Wish(), project: Project | None = None) -> Finished:  # noqa: B008 - it is frozen
        return release(project or self.project(), self.chain.verdict.path, wish, Progress(quiet=True))


def make(root: Path, monkeypatch: pytest.MonkeyPatch, outcome: Outcome = Outcome.PASS) -> Made:
    """The chain, two targets that are proven equivalent, and no model anywhere."""
    made = Made(root, make_chain(root, outcome), monkeypatch)
    made.targets = [made_target("adapter", "adapter"), made_target("merged", "merged", files=("a.bin", "b.bin"))]

    def prove(source: Any, target: Any, *_: Any) -> Equivalence:
        return made_equivalence(target, made.outcomes.get(target.NAME, Outcome.PASS))

    def smoke(*_: Any) -> SmokeTest:
        found = made.outcomes.get("smoke", Outcome.PASS)
        return SmokeTest(outcome=found, checks=(made_check(found, "smoke:merged"),))

    def serving_files(source: Any, folder: Path, targets: Any) -> list[Path]:
        (folder / "Modelfile").write_text("FROM ./merged\n")
        return [folder / "Modelfile"]

    run = evals.release.run
    monkeypatch.setattr(run, "known_targets", lambda: {target.NAME: target for target in made.targets})
    monkeypatch.setattr(run, "require_servers", lambda targets: None)
    for name, fake in {"prove": prove, "smoke": smoke, "serving_files": serving_files}.items():
        monkeypatch.setattr(run, name, fake)
    return made


def rewrite(folder: Path, change: Any, name: str = "release.json") -> None:
    """Change a JSON file of a release and let its manifest agree, as a forger would."""
    path = folder / name
    value = json.loads(path.read_bytes())
    change(value)
    path.write_bytes(json.dumps(value).encode())
    resign(folder)


def resign(folder: Path) -> None:
    """Let the manifest of a folder agree with its files again."""
    from schemas.manifest import list_files, read_manifest, write_manifest

    write_manifest(folder, read_manifest(folder).model_copy(update={"files": list_files(folder)}))
