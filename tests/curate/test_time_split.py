"""Splits cut by time: whole components and groups, nothing trained on that is as late as what is judged."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.configfile import load_project
from curate.dataset import open_dataset
from curate.gate_checks import check_split_proof
from curate.pipeline import curate
from curate.time_split import assign_by_time, cuts_by_share, parsed, rows_past_cut
from evals.proofs import recheck
from schemas.errors import ConfigError, UserError
from tests.curate.made_rows import chat, distinct_rows, make_project, read_json
from tests.curate.test_pipeline import splits_of

FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def dated(rows, field="at"):
    for number, row in enumerate(rows):
        row["metadata"][field] = f"2026-{1 + number // 28:02}-{1 + number % 28:02}"
    return rows


def test_the_latest_rows_are_judged():
    times = pl.Series([float(n) for n in range(100)])
    ids = pl.Series(range(100))
    cuts = cuts_by_share(ids, None, times, FRACTIONS)
    assert cuts == {"validation": 80.0, "test": 90.0}
    splits = assign_by_time(ids, None, times, cuts)
    assert splits.to_list() == ["train"] * 80 + ["validation"] * 10 + ["test"] * 10


def test_a_split_without_a_share_gets_no_cut():
    times = pl.Series([float(n) for n in range(10)])
    cuts = cuts_by_share(pl.Series(range(10)), None, times, {"train": 0.7, "validation": 0.0, "test": 0.3})
    assert cuts == {"test": 7.0}
    assert set(assign_by_time(pl.Series(range(10)), None, times, cuts)) == {"train", "test"}


@given(st.data())
def test_units_stay_whole_and_no_row_is_too_late_for_its_split(data):
    n = data.draw(st.integers(1, 50))
    ids = data.draw(st.lists(st.integers(0, 30), min_size=n, max_size=n))
    groups = data.draw(st.lists(st.one_of(st.none(), st.sampled_from("abcdef")), min_size=n, max_size=n))
    times = data.draw(st.lists(st.integers(0, 20), min_size=n, max_size=n))
    numbers = pl.Series(times, dtype=pl.Float64)
    units = pl.Series(ids), pl.Series(groups, dtype=pl.String)
    cuts = cuts_by_share(*units, numbers, FRACTIONS)
    splits = assign_by_time(*units, numbers, cuts)
    assert splits.null_count() == 0
    for column in (ids, groups):
        for value in set(column) - {None}:
            assert len({splits[row] for row in range(n) if column[row] == value}) == 1
    assert rows_past_cut(pl.Series([str(time) for time in times]), splits, cuts) == 0
    latest_trained = max((time for time, split in zip(times, splits, strict=True) if split == "train"), default=-1)
    for row, split in enumerate(splits):
        alone = ids.count(ids[row]) == 1 and groups[row] is None
        assert split == "train" or not alone or times[row] > latest_trained


def test_times_are_numbers_or_dates_of_any_zone():
    assert parsed(pl.Series(["1700000000", " 3.5"])).to_list() == [1700000000.0, 3.5]
    dates = parsed(pl.Series(["1970-01-02", "1970-01-02T01:00:00+01:00", "1970-01-01T00:00:01Z", "soon", None]))
    assert dates.to_list()[:3] == [86400.0, 86400.0, 1.0]
    assert dates.is_nan().to_list()[3:] == [True, True]


def test_a_row_that_is_moved_back_in_time_is_counted():
    times, cuts = pl.Series(["1", "5", "9"]), {"validation": 4.0, "test": 8.0}
    assert rows_past_cut(times, pl.Series(["train", "validation", "test"]), cuts) == 0
    assert rows_past_cut(times, pl.Series(["train", "train", "train"]), cuts) == 2
    assert rows_past_cut(times, pl.Series(["test", "test", "validation"]), cuts) == 1


def test_a_dataset_is_cut_by_time_and_the_proof_says_so(tmp_path):
    rows = dated(distinct_rows(100))
    twin = chat(rows[0]["messages"][0]["content"] + " Thanks again!", "yes", at="2026-04-01")
    split = {"train": 0.8, "validation": 0.1, "test": 0.1, "time_by": "at"}
    project = make_project(tmp_path, [*rows, twin], curate={"split": split})
    finished = curate(project)
    frames = splits_of(finished.folder)
    proof = read_json(finished.folder / "split_proof.json")
    assert proof["time"]["rows_past_cut"] == 0
    assert proof["time"]["spans"]["test"][1] == "2026-04-16"
    assert frames["train"]["time"].max() < proof["time"]["spans"]["validation"][1]
    assert abs(frames["test"].height - 10) <= 2
    assert recheck(finished.manifest, finished.folder) == []
    check = check_split_proof(project, open_dataset(finished.path))[0]
    assert check.outcome == "pass"
    assert "0 rows are later than their split may be" in check.message


def test_cuts_may_be_given_and_are_read_as_the_rows_write_them(tmp_path):
    split = {"time_by": "at", "time_cuts": {"test": "2026-04-01"}}
    finished = curate(make_project(tmp_path, dated(distinct_rows(100)), curate={"split": split}))
    frames = splits_of(finished.folder)
    assert frames["validation"].height == 0
    assert frames["test"]["time"].min() == "2026-04-01"
    assert frames["train"]["time"].max() == "2026-03-28"


def test_a_cut_that_is_a_date_in_the_file_is_the_same_cut(tmp_path):
    project = make_project(tmp_path, dated(distinct_rows(60)), curate={"split": {"time_by": "at"}})
    path = project.path
    text = path.read_text()
    path.write_text(text.replace("time_by: at", "time_by: at\n    time_cuts: {test: 2026-02-20}"))
    assert load_project(path).config.curate.split.time_cuts == {"test": "2026-02-20"}


@pytest.mark.parametrize(
    ("value", "shown"), [("yesterday", "'yesterday'"), (None, "None")], ids=["no date", "no value"]
)
def test_rows_without_a_time_are_named(tmp_path, value, shown):
    rows = dated(distinct_rows(30))
    rows[6]["metadata"]["at"] = value
    with pytest.raises(UserError) as caught:
        curate(make_project(tmp_path, rows, curate={"split": {"time_by": "at"}}))
    problem = caught.value.problems[0]
    assert problem.what == "1 rows have no time in the metadata field 'at', so no cut can place them"
    assert "rows.jsonl:7" in problem.found
    assert shown in problem.found


@pytest.mark.parametrize("cuts", [{"test": "soon"}, {"validation": "2026-03-01", "test": "2026-02-01"}])
def test_cuts_that_are_no_times_or_in_the_wrong_order_are_refused(tmp_path, cuts):
    split = {"time_by": "at", "time_cuts": cuts}
    with pytest.raises(UserError, match="the cuts in time cannot be used"):
        curate(make_project(tmp_path, dated(distinct_rows(30)), curate={"split": split}))


@pytest.mark.parametrize("split", [{"time_by": "at", "stratify_by": "label"}, {"time_cuts": {"test": "2026-01-01"}}])
def test_settings_that_exclude_each_other_are_refused(tmp_path, split):
    with pytest.raises(ConfigError) as caught:
        make_project(tmp_path, distinct_rows(3), curate={"split": split})
    assert "`time_by`" in str(caught.value.problems[0])
