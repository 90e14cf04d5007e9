"""Disks without room and folders without permission: one clear error, nothing published, and the same bytes after."""

import pytest

from tests.faults.disks import NoSmallDisk, fill_disk, refuse_writing
from tests.faults.phases import BY_NAME
from tests.faults.theatre import FULL

pytestmark = pytest.mark.xdist_group("faults")


@pytest.mark.parametrize("name", ["audit", "curate", "curate, text on disk", "index build, rows", "index add"])
def test_a_full_disk(name, theatre):
    try:
        tally = fill_disk(theatre, BY_NAME[name], 12 if FULL else 2)
    except NoSmallDisk:
        pytest.skip("no small file system can be mounted here; a limit on the size of files is tested instead")
    assert tally.sound, tally


@pytest.mark.parametrize("name", ["audit", "index add", *(["curate"] if FULL else [])])
def test_a_folder_that_may_only_be_read(name, theatre):
    tally = refuse_writing(theatre, BY_NAME[name])
    assert tally.sound, tally
