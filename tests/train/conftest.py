"""What the train tests share: a toy dataset with its data verdict, and a project that trains the tiny model on it."""

from pathlib import Path

import pytest

from tests.toy_project import ToyProject


@pytest.fixture
def toy(tmp_path: Path, tiny_model_folder: Path) -> ToyProject:
    return ToyProject(tmp_path, tiny_model_folder)


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if weights are loaded."""
    from train import adapter

    monkeypatch.setattr(adapter, "load_weights", lambda *given: pytest.fail("weights were loaded"))
