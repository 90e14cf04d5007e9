"""The evals stage: base and tuned on every suite and on samples of trained and test rows, as files."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.configfile import Project
from curate.model_files import base_model_inputs
from evals.backends import check_model, is_remote
from evals.built_in import built_in_items
from evals.contaminated import index_key, read_contamination
from evals.evaluation import Evaluation
from evals.general_text import general_files, python_text_digest
from evals.parts import count_parts
from evals.tasks import Task, find_task
from evals.variants import asks_for_variants
from schemas.base import canonical_json, digest
from schemas.errors import AssayError, MissingExtra, UserError
from schemas.manifest import InputRef, input_file, input_stage, manifest_path, open_stage, read_manifest
from schemas.progress import Progress
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage
from train.base_model import ensure_base_model

STAGE = "evals"
MODULES = {"train": ("peft", "torch", "transformers"), "evals": ("lm_eval", "scipy", "sklearn")}
"""Extra -> modules that an evaluation needs from it."""
TRUSTED = "an endpoint answered; which weights it serves was not checked"
PACKAGES = ("lm_eval", "numpy", "peft", "polars", "scikit-learn", "scipy", "torch", "transformers")


def dataset_of(adapter: Path) -> Path:
    """The manifest of the dataset that an adapter was trained on.

    Raises:
        UserError: the adapter's manifest names none.
    """
    adapter = manifest_path(adapter)
    for ref in read_manifest(adapter).inputs:
        if ref.role == "dataset":
            path = manifest_path(adapter.parent / ref.path)
            read_manifest(path)  # a clear error where it is gone
            return path
    raise UserError(
        "the adapter's manifest names no dataset, so there is nothing to compare trained and test rows with",
        where=str(adapter),
        help="give the dataset when the adapter is imported",
    )


def evals_stage(project: Project, adapter: Path) -> Stage:
    """What `assay evals` is about to do, with the folder where its result lives.

    Args:
        project: the config.
        adapter: manifest (or folder) of the train stage.

    Raises:
        UserError: a task file is missing or broken, or the adapter was trained on another base model.
        ManifestError: the adapter, its dataset or its base model cannot be read.
    """
    folder = inputs_from(project.runs, STAGE)
    tasks = [find_task(name, project.root) for name in project.config.evals.suites]
    inputs = [
        input_stage("adapter", adapter, folder),
        input_stage("dataset", dataset_of(adapter), folder),
        *base_inputs(project, adapter, folder),
        *(input_file("task", path, folder) for task in tasks for path in task.files),
        *(input_file("general_text", path, folder) for path in general_files(project)),
    ]
    evals = project.config.evals.model_dump(mode="json", exclude={"baseline"})
    backend = project.config.evals.backend
    key = index_key(read_contamination(dataset_of(adapter).parent), project.index_key_file())
    text: dict[str, Any] = {} if general_files(project) else {"general_text": python_text_digest()}
    text |= {"variants": True} if asks_for_variants(project) else {}
    # With the key of an index, more items are known; which key it is stays untold.
    known = {} if key is None else {"index_key": True}
    return Stage(
        stage=STAGE,
        name=project.config.name,
        config={"evals": evals, "max_length": project.config.train.max_length} | text | known | made_of(project, tasks),
        config_given={"evals": project.given.get("evals", {})},
        inputs=tuple(inputs),
        code=code_digest(["schemas", "curate", "train", "evals"]),
        root=project.runs,
        packages=PACKAGES,
        seeds={"evals": project.config.evals.seed},
        notes=(TRUSTED,) if backend is not None and is_remote(backend) else (),
    )


def made_of(project: Project, tasks: Sequence[Task]) -> dict[str, Any]:
    """What decides the items of tasks beside their files: versions of packages that make them, lm-eval's own data."""
    found: dict[str, Any] = {}
    for task in tasks:
        if task.built_in:
            _, items = built_in_items(task, None, 0, network=project.config.evals.network)
            found[task.name] = digest(canonical_json([items.documents, items.others]))
        elif task.packages:
            found[task.name] = {name: package_version(name, task.path) for name in task.packages}
    return {"made": found} if found else {}


def package_version(name: str, where: Path) -> str:
    """The version of a distribution that a suite needs.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            "the suite needs a package that is not installed",
            where=str(where),
            found=f"no {name}",
            help=f"pip install {name}",
        ) from error


def base_inputs(project: Project, adapter: Path, folder: Path) -> Sequence[InputRef]:
    """The base model of a config as inputs of the stage that will live in `folder`.

    Args:
        project: the config.
        adapter: manifest (or folder) of the train stage.
        folder: where the stage will live.

    Raises:
        UserError: the adapter was trained on another base model.
    """
    name = project.config.train.base_model
    found = base_model_inputs(ensure_base_model(name, project.root), folder)
    trained = sorted(ref.identity for ref in read_manifest(adapter).inputs if ref.role == "base_model")
    if trained and trained != sorted(ref.identity for ref in found):
        raise UserError(
            "the adapter was trained on another base model",
            where=str(manifest_path(adapter)),
            found=f"train.base_model {name!r} with digest {found[0].identity[:16]}",
            expected=f"a base model with digest {trained[0][:16]}",
            help="set train.base_model to the one that the adapter was trained on",
        )
    return found


def require_installed(*extras: str) -> None:
    """Refuse to begin where a package that models are asked with is missing.

    Args:
        extras: those of MODULES that are needed; none takes all.

    Raises:
        MissingExtra: an optional dependency is not installed.
    """
    for extra in extras or MODULES:
        for module in MODULES[extra]:
            if importlib.util.find_spec(module) is None:
                raise MissingExtra(extra, module)


def evaluate(project: Project, adapter: Path, progress: Progress) -> Finished:
    """Score base and tuned, or return the results that an equal run made; a killed run goes on where it was.

    Args:
        project: the config.
        adapter: manifest of the train stage; it must hash to what training wrote, and so must its dataset.
        progress: where it is shown.

    Raises:
        UserError, ManifestError: see `evals_stage`.
        MissingExtra: an optional dependency is not installed.
    """
    require_installed()
    if project.config.evals.backend is not None:
        check_model(project.config.evals.backend)
    _, adapter_folder = open_stage(adapter, "train")
    _, dataset_folder = open_stage(dataset_of(adapter), "curate")
    stage = evals_stage(project, adapter)
    evaluation = Evaluation(project, stage, adapter_folder, dataset_folder, progress)

    def fill(folder: Path) -> dict[str, int]:
        try:
            return evaluation.fill(folder)
        except AssayError:
            if not count_parts(folder):  # nothing to go on with: leave no half-written folder behind
                shutil.rmtree(folder, ignore_errors=True)
            raise

    return run_stage(stage, fill, resume=True, rehash=True, device=lambda: evaluation.device[-1])


def finished_parts(project: Project, adapter: Path) -> int:
    """Parts that a stopped evaluation left for the next one to go on with."""
    folder = evals_stage(project, adapter).folder
    return count_parts(folder.with_name(folder.name + ".partial"))
