"""The data gate: may this dataset be trained on? Every condition passes, fails, or lacks evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curate.configfile import Project
from curate.dataset import Dataset, open_dataset
from curate.gate_checks import (
    check_contamination,
    check_detectable_effects,
    check_dropped_share,
    check_errors,
    check_rows,
    check_split_proof,
    check_supervised_tokens,
)
from curate.indexes import index_input
from schemas.atomic import write_atomic
from schemas.manifest import input_file, input_stage
from schemas.progress import SILENT, Progress
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage
from schemas.verdict import Check, Outcome, Verdict, combine

STAGE = "gate-data"
VERDICT = "verdict.json"


@dataclass(frozen=True)
class Condition:
    """One condition, or one for each task."""

    name: str
    check: Callable[[Project, Dataset], list[Check]]


CONDITIONS = (
    Condition("min-rows", check_rows),
    Condition("min-supervised-tokens", check_supervised_tokens),
    Condition("no-error-findings", check_errors),
    Condition("dropped-share", check_dropped_share),
    Condition("contamination", check_contamination),
    Condition("split-proof", check_split_proof),
    Condition("detectable-effect", check_detectable_effects),
)


def data_gate_stage(project: Project, dataset: Path) -> Stage:
    """The stage that `assay gate data` runs on a dataset.

    Raises:
        ManifestError: the dataset's manifest cannot be read.
    """
    config = project.config
    return Stage(
        stage=STAGE,
        name=config.name,
        config={
            "gates": config.gates.data.model_dump(mode="json"),
            "alpha": config.gates.model.alpha,
            "tasks": {name: task.model_dump(mode="json") for name, task in config.gates.model.tasks.items()},
            "suites": config.evals.suites,
            "limit": config.evals.limit,
            "base_model": config.train.base_model,
            "max_length": config.train.max_length,
            "rules": config.curate.rules,
        },
        config_given={key: project.given[key] for key in ("gates", "evals") if key in project.given},
        inputs=(
            input_stage("dataset", dataset, inputs_from(project.runs, STAGE)),
            *(input_file("evals", path, inputs_from(project.runs, STAGE)) for path in project.eval_files()),
            *(index_input(path, inputs_from(project.runs, STAGE)) for path in project.index_paths()),
        ),
        code=code_digest(["schemas", "curate"]),
        root=project.runs,
        packages=("polars",),
    )


def gate_data(project: Project, dataset: Path, progress: Progress = SILENT) -> Finished:
    """Judge a dataset and publish the verdict, or return the verified verdict of an equal run.

    Raises:
        ManifestError: the dataset does not hash to its manifest.
        UserError: it lacks files or columns.
    """
    stage = data_gate_stage(project, dataset)
    opened = open_dataset(dataset)

    def fill(folder: Path) -> dict[str, int]:
        verdict = judge(project, opened, {ref.role: ref.content or ref.sha256 for ref in stage.inputs}, progress)
        write_atomic(folder / VERDICT, verdict.model_dump_json(indent=1).encode() + b"\n")
        return {"checks": len(verdict.checks)}

    return run_stage(stage, fill)


def judge(
    project: Project,
    dataset: Dataset,
    subject: dict[str, str],
    progress: Progress = SILENT,
) -> Verdict:
    """All checks of the data gate.

    Args:
        project: config with the thresholds.
        dataset: what is judged.
        subject: role -> digest of what is judged.
        progress: shows each condition.
    """
    checks: list[Check] = []
    for condition in CONDITIONS:
        progress.begin(condition.name)
        checks += condition.check(project, dataset)
    outcome = combine(check.outcome for check in checks)
    return Verdict(
        gate="data", outcome=outcome, subject=subject, checks=tuple(checks), summary=_summary(outcome, checks)
    )


def _summary(outcome: Outcome, checks: list[Check]) -> str:
    def named(wanted: Outcome) -> str:
        return ", ".join(check.name for check in checks if check.outcome is wanted)

    match outcome:
        case Outcome.PASS:
            return "the dataset may be trained on"
        case Outcome.FAIL:
            return f"the dataset may not be trained on: {named(Outcome.FAIL)}"
        case _:
            return f"the evidence does not suffice for a verdict: {named(Outcome.INCONCLUSIVE)}"


def read_verdict(finished: Finished) -> Verdict:
    """The verdict of a finished gate."""
    return Verdict.model_validate_json((finished.folder / VERDICT).read_bytes())
