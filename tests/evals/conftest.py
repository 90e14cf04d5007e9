"""A finished evaluation of a tiny model, and the same project without its result."""

import shutil
from pathlib import Path

import pytest

from curate.configfile import Project
from evals.run import evaluate
from schemas.progress import Progress
from schemas.stage import Finished
from tests.evals.made_adapter import made_adapter, made_dataset, made_project

Done = tuple[Project, Finished, Finished]


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Done:
    """Project, adapter, result; only to be read."""
    root = tmp_path_factory.mktemp("done")
    project = made_project(root, tiny_model_folder)
    adapter = made_adapter(project, made_dataset(root, tiny_model_folder), rows=11)
    return project, adapter, evaluate(project, adapter.path, Progress(quiet=True))


@pytest.fixture
def fresh(done: Done, tmp_path: Path, tiny_model_folder: Path) -> tuple[Project, Path]:
    """The same project and the folder of its adapter, without a result, to be changed at will."""
    project, adapter, _ = done
    root = tmp_path / "project"
    shutil.copytree(project.root, root, ignore=shutil.ignore_patterns("evals", "gate-model", "responses"))
    return made_project(root, tiny_model_folder), root / "runs" / "train" / adapter.folder.name
