"""A made-up chain that is ready to be released, and a judged tiny model that was evaluated once."""

import gc
from pathlib import Path

import pytest

from evals.release.source import Source
from tests.evals.release.made_exports import made_judged
from tests.evals.release.made_release import Made, make

Judged = tuple[Source, Path]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A chain without any model; its targets and proofs do what a test wants."""
    monkeypatch.chdir(tmp_path)
    return make(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Judged:
    """The model and the stage folder of its evaluation; only to be read."""
    made = made_judged(tmp_path_factory.mktemp("judged"), tiny_model_folder)
    gc.freeze()  # each proof collects twice, and need not look through all that pytest holds
    return made
