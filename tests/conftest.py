"""Fixtures that several rooms use."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.tiny_model import write_tiny_model

# A busy machine is no fault: no property has a time limit, and slow draws are no failure.
settings.register_profile("assay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("assay")


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of some ten thousand random weights, for tests that only read it."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")
