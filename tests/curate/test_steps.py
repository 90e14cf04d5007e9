"""Hits pass in blocks; a rule out of order loses nothing; keys that repeat are all found."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import steps
from curate.findings import one_per_row
from curate.repeats import with_repeats
from curate.rewriting import RecordsOnDisk
from curate.rules.base import Hit
from curate.spill import Spill


@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e", None]), max_size=12))
def test_every_value_that_repeats_is_found_and_no_other(values):
    frame = pl.DataFrame({"at": range(len(values)), "key": values}, schema={"at": pl.Int64, "key": pl.String})
    expected = [at for at, value in enumerate(values) if values.count(value) > 1]
    assert with_repeats(frame, "key")["at"].to_list() == expected


@given(st.lists(st.integers(0, 6), max_size=20).map(sorted), st.integers(1, 5))
def test_blocks_hold_what_all_hits_at_once_give(indexes, size):
    hits = [Hit(index, f"m{number}") for number, index in enumerate(indexes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "HITS_PER_BLOCK", size)
        assert [hit for block in steps._blocks(hits) for hit in block] == one_per_row(hits)


def test_hits_that_go_back_are_noticed():
    with pytest.raises(steps.OutOfOrderError):
        list(steps._blocks([Hit(2, "m"), Hit(1, "m")]))


def test_changed_records_on_disk_read_as_a_dictionary(tmp_path):
    records = {3: b"{}", 7: b'{"text":"x"}', 9: b"[]"}
    far = RecordsOnDisk(iter(records.items()), Spill(tmp_path))
    assert dict(far) == records
    assert (len(far), far.get(4), far.get(10), far.get(7)) == (3, None, None, records[7])
    with pytest.raises(KeyError):
        far[8]
