"""The model gate: from an evaluation's files to a verdict that names, by digest, everything it rests on.

No model is loaded. The same files, config and version give the same verdict, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curate.configfile import Project
from curate.outputs.verdict import FORMATS, clean
from evals.blame import as_sarif, blamed
from evals.discovery import modules
from evals.evidence import Evidence, read_evidence
from evals.flips import find_flips
from evals.gate_page import gate_page
from evals.lock import circumstances, lock_path, read_lock, with_lock
from evals.overfitting_page import overfitting_files
from evals.runs import with_runs
from schemas.atomic import write_atomic
from schemas.base import fingerprint
from schemas.lock import LOCK_NAME, Lock
from schemas.manifest import InputRef, Manifest, input_stage, manifest_path, open_stage, read_manifest
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage
from schemas.verdict import Check, Outcome, Verdict, combine, overall

STAGE = "gate-model"
SELFTEST = "selftest"
"""Role of what the pages quote; no verdict rests on it."""
FILES = {
    "json": "verdict.json",
    "markdown": "verdict.md",
    "junit": "junit.xml",
    "sarif": "verdict.sarif",
    "html": "verdict.html",
}
"""Format -> its file in the result's folder."""


def model_gate_stage(project: Project, results: Path, again: Sequence[Path] = ()) -> Stage:
    """What `assay gate model` is about to do, with the folder where its result lives.

    Args:
        project: the config; its `gates.model` holds the conditions.
        results: manifest (or folder) of the evals stage.
        again: of further runs of the same models.

    Raises:
        ManifestError: the results, or what they were made from, cannot be read.
        UserError: `evals.baseline` names a lock that cannot be used.
    """
    folder = inputs_from(project.runs, STAGE)
    config = {"gates": {"model": project.config.gates.model.model_dump(mode="json")}, "seed": project.config.evals.seed}
    lock = named_lock(project)
    if lock is not None:  # by digest: the file changes with the next blessing, and a copy lies beside the verdict
        config["baseline"] = lock.digest
    return Stage(
        stage=STAGE,
        name=project.config.name,
        config=config,
        config_given={"gates": project.given.get("gates", {})},
        inputs=(
            *_inputs(results, folder),
            *(input_stage("run", manifest_path(path), folder) for path in again),
            *_selftest(project.runs, folder),
        ),
        code=code_digest(["schemas", "curate", "evals"]),
        root=project.runs,
        packages=("numpy", "polars", "scipy"),
        seeds={"bootstrap": project.config.evals.seed},
    )


def named_lock(project: Project) -> Lock | None:
    """The lock that `evals.baseline` names; null where the base model is the baseline.

    Raises:
        UserError: it cannot be used.
    """
    return None if project.config.evals.baseline is None else read_lock(lock_path(project))


def _inputs(results: Path, folder: Path) -> tuple[InputRef, ...]:
    """The results, the adapter and dataset they were made with, and the data verdict behind the adapter, if any."""
    results = manifest_path(results)
    refs = [input_stage("results", results, folder)]
    manifest = read_manifest(results)
    for ref in manifest.inputs:
        if ref.role in ("adapter", "dataset"):
            read_manifest(results.parent / ref.path)  # a clear error where it is gone
            refs.append(input_stage(ref.role, results.parent / ref.path, folder))
    adapter = next((ref for ref in manifest.inputs if ref.role == "adapter"), None)
    if adapter is not None:
        trained = manifest_path(results.parent / adapter.path)
        for ref in read_manifest(trained).inputs:
            if ref.role == "data_verdict":
                read_manifest(trained.parent / ref.path)
                refs.append(input_stage("data_verdict", trained.parent / ref.path, folder))
    return tuple(refs)


def _selftest(runs: Path, folder: Path) -> tuple[InputRef, ...]:
    """The selftest that the pages quote, if this version has one."""
    from evals.selftest.stored import newest_selftest  # a selftest runs this gate, so it cannot be imported before

    found = newest_selftest(runs)
    return () if found is None else (input_stage(SELFTEST, found, folder),)


def _how_tested(stage: Stage) -> str:
    """What the pages say of how often this gate is right, in one line."""
    from evals.selftest.stored import gate_line

    found = next((ref for ref in stage.inputs if ref.role == SELFTEST), None)
    return gate_line(stage.place_of(found) if found else None)


def judge_results(project: Project, results: Path, again: Sequence[Path] = ()) -> Finished:
    """Judge an evaluation, or return the verdict that exists already for the same files, conditions and version.

    Args:
        project: the config.
        results: manifest (or folder) of the evals stage.
        again: of further runs of the same models, whose differences are noise.

    Raises:
        ManifestError: the results do not hash to their manifest.
        UserError: the config names something that does not exist, or a lock that cannot be used.
    """
    stage = model_gate_stage(project, results, again)
    manifest, folder = open_stage(results, "evals")
    lock = named_lock(project)

    def fill(target: Path) -> dict[str, int]:
        evidence = read_evidence(folder, project.config.gates.model, project.config.evals.seed)
        evidence = with_runs(evidence, manifest, again)
        if lock is not None:
            evidence = with_lock(evidence, lock, circumstances(evidence, manifest, folder, "tuned"))
            write_atomic(target / LOCK_NAME, lock.to_bytes())
        verdict = judge(evidence, subject(stage, manifest, folder))
        blame = blamed(verdict, evidence, manifest, folder, project.root)
        scored = [task for task in evidence.conditions.tasks if evidence.has(task, "tuned")]
        flips = [find_flips(evidence, folder, task) for task in scored]
        tested = _how_tested(stage)
        written = {form: write(verdict) for form, write in FORMATS.items() if form in FILES}
        written["markdown"] += f"\n{clean(tested)}\n"
        written |= {"sarif": as_sarif(blame), "html": gate_page(stage.name, verdict, flips, tested)}
        files = {FILES[form]: text for form, text in written.items()}
        files |= overfitting_files(stage.name, evidence, verdict, tested)
        for name, text in files.items():
            write_atomic(target / name, text.encode("utf-8"))
        found = [check.outcome for check in verdict.checks]
        return {"checks": len(found)} | {str(outcome): found.count(outcome) for outcome in sorted(set(found))}

    return run_stage(stage, fill)


def judge(evidence: Evidence, judged: dict[str, str]) -> Verdict:
    """Every condition of the gate on one evaluation.

    Args:
        evidence: the evaluation's files and the conditions.
        judged: digests of what is judged, by role.
    """
    found = sorted(modules("evals.gates"), key=lambda module: (module.ORDER, module.__name__))
    checks = tuple(check for module in found for check in module.judge(evidence))
    outcome = combine(check.outcome for check in checks)
    return Verdict(
        gate="model",
        outcome=outcome,
        verdict=overall(checks),
        subject=judged,
        checks=checks,
        summary=summary(outcome, checks),
    )


def summary(outcome: Outcome, checks: tuple[Check, ...]) -> str:
    """The verdict in one sentence."""

    def named(*outcomes: Outcome) -> str:
        return ", ".join(check.name for check in checks if check.outcome in outcomes)

    replaced = "baseline" if any(check.name == "baseline:fits" for check in checks) else "base"
    if outcome is Outcome.PASS:
        count = sum(check.outcome is Outcome.PASS for check in checks)
        return f"the candidate may replace its {replaced}: all {count} checks pass on the evidence"
    if outcome is Outcome.FAIL:
        unsure = named(Outcome.INCONCLUSIVE, Outcome.STALE)
        also = f"; no evidence either way on {unsure}" if unsure else ""
        return f"the candidate must not replace its {replaced}: {named(Outcome.FAIL)} failed{also}"
    if outcome is Outcome.STALE:
        return f"the baseline no longer fits what was evaluated: {named(Outcome.STALE)}"
    missing = [
        check.name + (f" (about {items:,} items would)" if isinstance(items, int) else "")
        for check in checks
        if check.outcome is Outcome.INCONCLUSIVE
        for items in [check.measured.get("items_to_decide")]
    ]
    return f"there is not enough evidence to decide: {', '.join(missing) or 'no check applied'}"


def subject(stage: Stage, results: Manifest, folder: Path) -> dict[str, str]:
    """Digests of what a verdict rests on: results, adapter, base model, dataset, its sources, data verdict, config."""
    found = {ref.role: ref.identity for ref in stage.inputs if ref.role not in ("run", SELFTEST)}
    runs = [ref.identity for ref in stage.inputs if ref.role == "run"]
    found |= {f"run {number}": identity for number, identity in enumerate(runs, 2)}
    found["config"] = fingerprint(stage.config)
    if "baseline" in stage.config:
        found["baseline"] = stage.config["baseline"]
    base = [ref.identity for ref in results.inputs if ref.role == "base_model"]
    if base:
        found["base_model"] = base[0] if len(base) == 1 else fingerprint(sorted(base))
    for ref in results.inputs:
        path = manifest_path(folder / ref.path)
        if ref.role == "adapter":
            files = read_manifest(path).files
            weights = [file.sha256 for file in files if file.path.endswith("adapter_model.safetensors")]
            if weights:
                found["adapter_weights"] = weights[0]
        if ref.role == "dataset":
            sources = sorted(source.sha256 for source in read_manifest(path).inputs if source.role == "source")
            if sources:
                found["sources"] = sources[0] if len(sources) == 1 else fingerprint(sources)
    return found
