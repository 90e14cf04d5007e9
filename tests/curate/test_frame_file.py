"""Frames on disk: equal to those in memory, and text that lies there already is not written again."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from curate.keys import row_keys
from curate.readers.read import source_from_bytes
from curate.spill import Spill

SCHEMA = {"n": pl.UInt32, "x": pl.Float64, "yes": pl.Boolean, "text": pl.String, "bytes": pl.Binary, "none": pl.String}
ROWS = st.lists(
    st.tuples(
        st.integers(0, 9) | st.none(),
        st.floats(allow_nan=False) | st.none(),
        st.booleans() | st.none(),
        st.text(max_size=40) | st.none(),
        st.binary(max_size=40) | st.none(),
        st.none(),
    ),
    max_size=40,
)


@given(parts=st.lists(ROWS, min_size=1, max_size=4), start=st.integers(0, 20), every=st.integers(1, 3), data=st.data())
def test_frames_come_back_as_they_were(parts, start, every, data, tmp_path_factory):
    spill = Spill(tmp_path_factory.getbasetemp())
    frames = [pl.DataFrame(rows, schema=SCHEMA, orient="row") for rows in parts]
    near, far = pl.concat(frames), spill.frames(frames)
    assert_frame_equal(far, near)
    # Slices begin inside a byte of bits; choices use a part of the text; both may be mixed with what lies in memory.
    cut = data.draw(st.integers(0, near.height))
    mixed = [far.slice(start, cut)[::every], near.slice(cut), far.filter(pl.col("yes"))]
    assert_frame_equal(spill.frames(mixed), pl.concat(mixed))


def test_text_on_disk_is_not_written_again(tmp_path):
    spill = Spill(tmp_path)
    far = spill.frame(pl.DataFrame({"text": [f"{n:>1000}" for n in range(1000)]}))
    written = []
    with spill.frame_file() as file:
        file.add(far[::2])
        written.append(file.size)
        file.add(pl.DataFrame({"text": ["y" * 1000]}))
        written.append(file.size)
    assert written == [500 * 16, 500 * 16 + 1000 + 24 + 16]


def test_an_array_on_disk_is_zero_and_can_be_written(tmp_path):
    array = Spill(tmp_path).array((2, 3), "u4")
    array[1, 2] = 7
    assert array.tolist() == [[0, 0, 0], [0, 0, 7]]
    assert Spill(tmp_path).array((0, 3), "u4").shape == (0, 3)


@pytest.mark.parametrize("turns", [1, 3])
def test_keys_tell_order_and_speakers_apart(turns):
    rows = [
        [("user", "a"), ("assistant", "b")] * turns,
        [("user", "b"), ("assistant", "a")] * turns,
        [("assistant", "a"), ("user", "b")] * turns,
        [("user", "A "), ("assistant", "b")] * turns,
    ]
    lines = [
        pl.DataFrame({"messages": [[{"role": role, "content": said} for role, said in row]]}).write_ndjson()
        for row in rows
    ]
    keys = row_keys(source_from_bytes("".join(lines).encode()))
    assert keys["full"].to_list() == [0, 1, 2, 0]
