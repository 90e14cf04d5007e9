"""The release stage: export what was judged, prove that it answers alike, and publish it with its papers or not at all.

A target that is not proven equivalent keeps the whole release back; what the proofs found is kept beside it, in
`<folder>.failed`, where nobody can take it for a release.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from curate.configfile import Project
from evals.discovery import modules, named
from evals.release.bill import write_bill
from evals.release.card import write_cards
from evals.release.conclude import advice, against, digests, judge, summary
from evals.release.equivalence import prove
from evals.release.equivalence_pages import PAGES, write_pages
from evals.release.facts import gather_release
from evals.release.judged import Judged, read_judged, require_pass
from evals.release.serving_files import serving_files
from evals.release.signing import Key, sign
from evals.release.smoke import require_servers, smoke
from evals.release.source import Source
from evals.release.written import RELEASE
from evals.run import base_inputs, require_installed
from schemas.atomic import partial_folder, write_atomic
from schemas.base import file_digest
from schemas.errors import Problem, UserError, Withheld
from schemas.manifest import FileEntry, input_stage
from schemas.progress import Progress
from schemas.release import Release, ReleasedTarget, SmokeTest
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage
from schemas.verdict import EXIT_CODES, Outcome
from train.base_model import ensure_base_model
from train.machine import device_class

STAGE = "release"

FAILED = ".failed"
PACKAGES = ("cyclonedx-python-lib", "gguf", "model-signing", "peft", "safetensors", "torch", "transformers")


@dataclass(frozen=True)
class Wish:
    """What the command line asks for beside the config."""

    override: str | None = None
    """Why a model is released that its gate did not pass."""
    smoke: bool = False
    """Whether the released folder is served and asked."""
    key: Key | None = None
    """Signs the release."""


def known_targets() -> dict[str, ModuleType]:
    """Every target by name."""
    return {module.NAME: module for module in modules("evals.release.targets")}


def release_stage(project: Project, judged: Judged, wish: Wish) -> Stage:
    """What `assay release` is about to do, with the folder where its result lives.

    Args:
        project: the config.
        judged: the model with its verdict.
        wish: what else is asked for; the reason of an override, the smoke test and the signer are part of the result.

    Raises:
        UserError: the config names another base model than the adapter was trained on.
    """
    folder = inputs_from(project.runs, STAGE)
    notes = () if wish.override is None else (f"override: {judged.verdict.outcome.value}, {wish.override}",)
    return Stage(
        stage=STAGE,
        name=project.config.name,
        config={
            "release": project.config.release.model_dump(mode="json"),
            "override": wish.override,
            "smoke": wish.smoke,
            "signed_by": wish.key.digest if wish.key else None,
        },
        config_given={"release": project.given.get("release", {})},
        inputs=(
            input_stage("gate_verdict", judged.chain.path, folder),
            *(input_stage(role, path, folder) for role, path in judged.places.items()),
            *base_inputs(project, judged.places["adapter"], folder),
        ),
        code=code_digest(["schemas", "curate", "train", "evals"]),
        root=project.runs,
        packages=PACKAGES,
        seeds={"release": project.config.release.seed},
        notes=notes,
    )


def release(project: Project, verdict: Path, wish: Wish, progress: Progress) -> Finished:
    """Export and publish what a verdict is about, or return the equal release that exists, verified.

    Args:
        project: the config.
        verdict: manifest (or folder) of the gate-model stage.
        wish: what else is asked for.
        progress: where it is shown.

    Raises:
        Withheld: the gate did not pass, or an export is not proven to answer like what was judged.
        UserError, ManifestError: see `read_judged`, `require_pass` and `release_stage`; or a target cannot be exported.
        MissingExtra: an optional dependency is not installed.
    """
    require_installed()
    targets = named(known_targets(), project.config.release.targets, "target", "release.targets")
    judged = read_judged(verdict)
    require_pass(judged, wish.override)
    if wish.smoke:
        require_servers(targets)
    stage = release_stage(project, judged, wish)
    source = judged.source(ensure_base_model(project.config.train.base_model, project.root))
    publication = Publication(project, stage, judged, source, tuple(targets), wish, progress)
    made = run_stage(stage, publication.fill, device=device_class)
    shutil.rmtree(failed(stage), ignore_errors=True)
    return made


def failed(stage: Stage) -> Path:
    """Where the evidence of a release that was kept back lies."""
    return stage.folder.with_name(stage.folder.name + FAILED)


@dataclass(frozen=True)
class Publication:
    """One run of the release stage."""

    project: Project
    stage: Stage
    judged: Judged
    source: Source
    targets: tuple[ModuleType, ...]
    wish: Wish
    progress: Progress

    def fill(self, folder: Path) -> dict[str, int]:
        """Write all files of the release and give its counts."""
        config, results = self.project.config.release, self.judged.results
        exported = {target.NAME: self._export(target, folder) for target in self.targets}
        proven = [
            ReleasedTarget(
                name=target.NAME,
                folder=target.FOLDER,
                lossless=target.LOSSLESS,
                files=exported[target.NAME],
                equivalence=prove(self.source, target, folder / target.FOLDER, results, config, self.progress),
            )
            for target in self.targets
        ]
        serving_files(self.source, folder, self.targets)
        tested = smoke(self.source, folder, self.targets, results, config, self.progress) if self.wish.smoke else None
        self._require_proof(folder, proven, tested)
        self._write_papers(folder, proven, tested)
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {"targets": len(proven), "files": len(files), "bytes": sum(path.stat().st_size for path in files)}

    def _export(self, target: ModuleType, folder: Path) -> tuple[FileEntry, ...]:
        """What a target wrote; it must neither write elsewhere nor over another target's files."""
        self.progress.begin(f"exporting {target.NAME}", "files")
        place = folder / target.FOLDER
        before = set(folder.rglob("*"))
        place.mkdir(parents=True, exist_ok=True)
        written = target.export(self.source, place, self.source.name)
        clash = sorted(path for path in written if path in before)
        if clash:
            raise UserError(
                "two targets would write the same file",
                where=f"release.targets: {target.NAME}",
                found=", ".join(path.relative_to(folder).as_posix() for path in clash),
                help="release them one by one",
            )
        return tuple(
            FileEntry(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=file_digest(path))
            for path in sorted(written)
        )

    def _require_proof(self, folder: Path, proven: Sequence[ReleasedTarget], tested: SmokeTest | None) -> None:
        """Keep the release back where a proof is missing; what was found stays beside it.

        Raises:
            Withheld: a target is not equivalent, or the evidence does not suffice.
        """
        write_pages(folder, self.stage.name, proven, tested)
        outcome = judge(proven, tested)
        if outcome is Outcome.PASS:
            return
        kept = failed(self.stage)
        shutil.rmtree(kept, ignore_errors=True)
        with partial_folder(kept) as evidence:
            for page in PAGES:
                shutil.copyfile(folder / page, evidence / page)
        raise Withheld(
            EXIT_CODES[outcome],
            Problem(
                f"nothing is released: {summary(proven, tested)}",
                where=str(kept),
                found="\n".join(against(proven, tested)),
                expected="every target and the smoke test to answer like the model that was judged",
                help=advice(proven, tested),
            ),
        )

    def _write_papers(self, folder: Path, proven: Sequence[ReleasedTarget], tested: SmokeTest | None) -> None:
        facts = gather_release(self.project, self.stage, self.judged, self.source.base, proven, tested)
        write_cards(folder, facts)
        write_bill(folder, facts)
        exported = {file.path for target in proven for file in target.files}
        written = sorted(path for path in folder.rglob("*") if path.is_file())
        names = {path.relative_to(folder).as_posix(): path for path in written}
        record = Release(
            name=self.stage.name,
            outcome=judge(proven, tested),
            summary=summary(proven, tested),
            gate=self.judged.verdict.outcome,
            override=self.wish.override,
            subject=digests(self.stage.inputs),
            targets=tuple(proven),
            smoke=tested,
            evidence={name: file_digest(path) for name, path in names.items() if name not in exported},
            signed_by=self.wish.key.digest if self.wish.key else None,
        )
        write_atomic(folder / RELEASE, record.model_dump_json(indent=1).encode() + b"\n")
        if self.wish.key:
            sign(folder, self.wish.key)
