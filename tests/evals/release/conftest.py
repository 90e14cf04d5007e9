"""A made-up chain that is ready to be released."""

from pathlib import Path

import pytest

from tests.evals.release.made_release import Made, make


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.chdir(tmp_path)
    return make(tmp_path, monkeypatch)
