"""`assay bless`: make an evaluated model the baseline that later candidates are held to.

A candidate never blesses itself: the command reads a verdict that `assay gate model` left on disk and judges nothing,
it refuses to run in CI, where candidates are evaluated, and it asks a person for a reason, which is committed with the
file. What the gate did not pass is blessed only with an override, and the lock says what stood against it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from curate.configfile import Project
from evals.evidence import read_evidence
from evals.gate import model_gate_stage
from evals.lock import Circumstances, circumstances, lock_path, read_lock, task_differences, tuned_weights
from evals.runs import with_runs
from schemas.atomic import write_atomic
from schemas.errors import UserError
from schemas.lock import Blessing, Lock, LockedItem, LockedTask
from schemas.manifest import MANIFEST_NAME, Manifest, manifest_path, open_stage, read_manifest
from schemas.verdict import Outcome, Verdict

Model = Literal["base", "tuned"]
LOOK_HEX = 16
MAX_REASON_CHARS = 1000


@dataclass(frozen=True)
class Blessed:
    """What was written, and what a reader should know of it."""

    path: Path
    lock: Lock
    notes: tuple[str, ...]


def bless(
    project: Project,
    results: Path,
    *,
    model: Model,
    reason: str,
    override: bool,
    answers: bool = True,
    again: Sequence[Path] = (),
) -> Blessed:
    """Write the baseline lock from a finished evaluation.

    Args:
        project: the config; `evals.baseline` names the file.
        results: manifest (or folder) of the evals stage.
        model: whose scores are taken.
        reason: why, in the words of a person.
        override: take what the gate did not pass.
        answers: keep the beginning of each answer.
        again: further runs of the same models, as the verdict rests on them.

    Raises:
        UserError: in CI, without a reason, or without a passing verdict; or the present lock cannot be used.
        ManifestError: the results do not hash to their manifest.
    """
    _refuse_in_ci(os.environ)
    unreadable = reason != reason.encode("utf-8", "replace").decode("utf-8")
    if unreadable or not reason.strip() or len(reason) > MAX_REASON_CHARS:
        long = "text that is not UTF-8" if unreadable else f"{len(reason):,} characters"
        raise UserError(
            "a baseline needs a reason",
            where="--reason",
            found=long if reason.strip() else "nothing",
            expected=f"why this model is what later ones are held to, in at most {MAX_REASON_CHARS:,} characters",
        )
    path = lock_path(project)
    before = read_lock(path) if path.exists() else None
    manifest, folder = open_stage(results, "evals")
    evidence = read_evidence(folder, project.config.gates.model, project.config.evals.seed)
    evidence = with_runs(evidence, manifest, again)
    verdict, objection = _verdict(_judged_by(project, path if before else None), manifest_path(results), again)
    if model == "base":
        verdict, objection = None, "the base model replaces the model that is locked" if before else ""
    if objection and not override:
        raise UserError(
            "this model may not become the baseline",
            where=str(folder),
            found=objection,
            expected="a verdict of `assay gate model` on it that passes" + (" against the present lock" * bool(before)),
            help="run the gate first; --override blesses it all the same, and the lock says so",
        )
    blessing = Blessing(
        date=datetime.now(UTC).date().isoformat(),
        by=_git_user(project.root),
        reason=reason.strip(),
        model=model,
        weights=tuned_weights(manifest, folder) if model == "tuned" else {},
        results=manifest.content_digest,
        verdict=verdict,
        override=objection or None,
    )
    now = circumstances(evidence, manifest, folder, model)
    now = now if answers else _without_answers(now)
    lock, notes = next_lock(project.config.name, before, now, blessing, _looks(before, manifest, project.runs))
    write_atomic(path, lock.to_bytes())
    return Blessed(path, read_lock(path), notes)


def _refuse_in_ci(environment: Mapping[str, str]) -> None:
    if environment.get("CI", "").lower() not in ("", "0", "false", "no"):
        raise UserError(
            "a baseline is not blessed in CI, where the candidates are evaluated",
            where="the environment",
            found=f"CI={environment['CI']}",
            expected="a person's own machine",
            help="run `assay bless` there and commit the file, so that somebody reviews it",
        )


def _judged_by(project: Project, lock: Path | None) -> Project:
    """The config that the gate must have judged by: with the lock that is there, or without any."""
    name = None if lock is None else os.path.relpath(lock, project.root)
    evals = project.config.evals.model_copy(update={"baseline": name})
    return replace(project, config=project.config.model_copy(update={"evals": evals}))


def _verdict(project: Project, results: Path, again: Sequence[Path]) -> tuple[str | None, str]:
    """Digest of the verdict that passes these results, and what stands against them otherwise."""
    stage = model_gate_stage(project, results, again)
    held = f"against {project.config.evals.baseline}" if project.config.evals.baseline else "without a lock"
    if not (stage.folder / MANIFEST_NAME).is_file():
        return None, f"no verdict of the model gate {held}, by this config and this version of assay"
    manifest, folder = open_stage(stage.folder, stage.stage)
    verdict = Verdict.model_validate_json((folder / "verdict.json").read_bytes())
    if verdict.outcome is Outcome.PASS:
        return manifest.content_digest, ""
    return None, f"the verdict {held} is {verdict.outcome.value}: {verdict.summary}"


def _looks(before: Lock | None, manifest: Manifest, runs: Path) -> tuple[str, ...]:
    """Every evaluation of these items that is known: those of earlier locks, and those that lie here."""
    dataset = {ref.identity for ref in manifest.inputs if ref.role == "dataset"}
    found = set(before.looks if before else ()) | {manifest.content_digest[:LOOK_HEX]}
    for path in runs.glob(f"evals/*/{MANIFEST_NAME}"):
        other = read_manifest(path)
        if dataset & {ref.identity for ref in other.inputs if ref.role == "dataset"}:
            found.add(other.content_digest[:LOOK_HEX])
    return tuple(sorted(found))


def next_lock(
    name: str, before: Lock | None, now: Circumstances, blessing: Blessing, looks: tuple[str, ...]
) -> tuple[Lock, tuple[str, ...]]:
    """The lock that follows another, with its original scores for each task that is asked as it was.

    Args:
        name: of the config.
        before: the lock that is replaced; null for a first one.
        now: what was evaluated, with the scores of the blessed model.
        blessing: who blesses what, and why.
        looks: of `Lock.looks`.

    Returns:
        The lock, and sentences on what of the former one could not be kept.
    """
    history = (*(before.history if before else ()), blessing)
    tasks, notes = {}, []
    for task, asked in now.tasks.items():
        old = before.tasks.get(task) if before else None
        changed = task_differences(task, old, asked) if old else []
        if old and not changed:
            tasks[task] = _with_original(asked, old)
            continue
        if changed:
            notes.append(f"{task} is not asked as it was, so its original baseline begins anew ({changed[0]})")
        tasks[task] = asked.model_copy(update={"original": len(history) - 1})
    gone = sorted(before.tasks.keys() - tasks.keys()) if before else []
    notes += [f"{task} is no longer in the lock" for task in gone]
    lock = Lock(
        name=name,
        base=now.base,
        engine=now.engine,
        conditions=now.conditions,
        seed=now.seed,
        looks=looks,
        history=history,
        tasks=tasks,
    )
    return lock, tuple(notes)


def _with_original(task: LockedTask, before: LockedTask) -> LockedTask:
    scores = {item.item_id: item.original for item in before.items}
    items: tuple[LockedItem, ...] = tuple(
        item.model_copy(update={"original": scores[item.item_id]}) for item in task.items
    )
    return task.model_copy(
        update={"items": items, "original": before.original, "original_noise": before.original_noise}
    )


def _without_answers(now: Circumstances) -> Circumstances:
    tasks = {
        name: task.model_copy(update={"items": tuple(item.model_copy(update={"answer": None}) for item in task.items)})
        for name, task in now.tasks.items()
    }
    return replace(now, tasks=tasks)


def _git_user(folder: Path) -> str | None:
    """`Name <address>` of whoever git would name as author here; null without git or a name."""

    def setting(key: str) -> str:
        command = ["git", "-C", str(folder), "config", "--get", key]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    name, address = setting("user.name"), setting("user.email")
    return " ".join(filter(None, (name, f"<{address}>" if address else ""))) or None
