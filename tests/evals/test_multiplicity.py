from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from evals.multiplicity import benjamini_hochberg, holm

P_VALUES = st.dictionaries(st.integers(0, 50), st.floats(0, 1), min_size=1, max_size=12)


@given(P_VALUES)
def test_holm_is_statsmodels(p_values):
    expected = multipletests(list(p_values.values()), method="holm")[1]
    found = holm(p_values)
    assert list(found) == list(p_values)
    assert all(abs(a - b) < 1e-12 for a, b in zip(found.values(), expected, strict=True))


@given(P_VALUES)
def test_benjamini_hochberg_is_statsmodels(p_values):
    expected = multipletests(list(p_values.values()), method="fdr_bh")[1]
    found = benjamini_hochberg(p_values)
    assert list(found) == list(p_values)
    assert all(abs(a - b) < 1e-12 for a, b in zip(found.values(), expected, strict=True))


@given(P_VALUES)
def test_slices_are_judged_no_harder_than_tasks(p_values):
    tasks, slices = holm(p_values), benjamini_hochberg(p_values)
    assert all(p_values[name] <= slices[name] + 1e-12 <= tasks[name] + 2e-12 for name in p_values)


def test_one_test_needs_no_correction_and_none_has_none():
    assert holm({"a": 0.03}) == benjamini_hochberg({"a": 0.03}) == {"a": 0.03}
    assert holm({}) == benjamini_hochberg({}) == {}
