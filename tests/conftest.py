"""Fixtures that several rooms use."""

from pathlib import Path

import pytest

from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of some ten thousand random weights, for tests that only read it."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")
