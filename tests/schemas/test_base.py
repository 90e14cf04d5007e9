import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.base import Strict, canonical_json, digest, file_digest, fingerprint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_canonical_json_reads_back_and_does_not_depend_on_key_order(value):
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(_reversed(value)) == data
    assert fingerprint(value) == digest(data)


def _reversed(value):
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(list(value))}
    return [_reversed(item) for item in value] if isinstance(value, list) else value


def test_canonical_json_is_utf8_without_spaces():
    assert canonical_json({"b": [1, 2.5, None], "a": "\u00e9"}) == b'{"a":"\xc3\xa9","b":[1,2.5,null]}'


def test_canonical_json_takes_lone_surrogates_which_rows_may_hold():
    assert canonical_json("\ud800") == b'"\xed\xa0\x80"'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_canonical_json_refuses_what_json_cannot_carry(value):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


def test_a_digest_of_a_file_is_that_of_its_bytes_whatever_its_size(tmp_path: Path):
    for size in (0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1):
        path = tmp_path / str(size)
        path.write_bytes(b"x" * size)
        assert file_digest(path) == digest(b"x" * size)


class Example(Strict):
    """A model."""

    count: int
    share: float = 0.5


@pytest.mark.parametrize("given", [{"count": 1, "cuont": 2}, {"count": "one"}, {}, {"count": 1, "share": float("nan")}])
def test_strict_models_refuse_unknown_missing_and_impossible_fields(given):
    with pytest.raises(ValidationError):
        Example.model_validate(given)


def test_strict_models_do_not_change():
    with pytest.raises(ValidationError):
        Example(count=1).count = 2  # type: ignore[misc]
