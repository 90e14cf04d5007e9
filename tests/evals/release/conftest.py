"""A judged tiny model, evaluated once."""

import gc
from pathlib import Path

import pytest

from evals.release.source import Source
from tests.evals.release.made_exports import made_judged

Judged = tuple[Source, Path]


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Judged:
    """The model and the stage folder of its evaluation; only to be read."""
    made = made_judged(tmp_path_factory.mktemp("judged"), tiny_model_folder)
    gc.freeze()  # each proof collects twice, and need not look through all that pytest holds
    return made
