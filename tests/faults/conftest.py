"""One theatre for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.faults.theatre import Theatre
from tests.faults.theatre import theatre as opened_theatre


@pytest.fixture(scope="session")
def theatre() -> Iterator[Theatre]:
    """Processes to fork from, and what each phase ends in undisturbed."""
    with opened_theatre() as opened:
        yield opened
