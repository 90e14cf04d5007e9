"""Eval items in trained rows: marked, and the score with and without them."""

import json

import polars as pl
import pytest

from evals.contaminated import marked_items, read_contamination, sentences
from schemas.errors import ManifestError

FOUND = {
    "schema": "assay/contamination/1",
    "items": [
        {"item_id": "aa", "rows": {"train": {"question": 1, "variant": 3}}},
        {"item_id": "bb", "rows": {"train": {"partial": 1}, "test": {"question": 2}}},
        {"item_id": "zz", "rows": {"train": {"question": 1}}},
    ],
    "scanned": ["aa", "bb", "cc", "dd"],
    "not_compared": [{"item_id": "dd"}],
}


def answers():
    names = ["aa", "aa-2", "bb", "cc", "dd", "ee"]
    scores = {"base": [1.0, 1.0, 0.0, 0.0, None, 1.0], "tuned": [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]}
    return pl.concat(
        [
            pl.DataFrame({"item_id": names, "model": model, "score": values, "higher_is_better": True})
            for model, values in scores.items()
        ]
    )


def test_items_in_trained_rows_are_marked_and_left_out_of_a_second_score():
    marks = marked_items(FOUND, answers())
    assert marks["touched"] == {"partial": 1, "question": 2}
    assert marks["items"] == [
        {"item_id": "aa", "grade": "question"},
        {"item_id": "aa-2", "grade": "question"},
        {"item_id": "bb", "grade": "partial"},
    ]
    assert marks["not_scanned"] == 2, "dd has no words, ee is in no eval file of the curation"
    base, tuned = marks["scores"]
    assert (base["with"], base["without"], base["items_without"]) == (0.5, 0.25, 4)
    assert (tuned["with"], tuned["without"]) == (0.5, 0.25)
    said = sentences({"farm": {"contamination": marks}, "spam": {}})
    assert said == [
        "farm: 2 items stand in the rows that were trained on; base 0.500 with them and 0.250 without, "
        "tuned 0.500 with them and 0.250 without",
        "farm: 2 items were not looked for in the rows that were trained on",
    ]


def test_where_no_item_is_left_there_is_no_score_without():
    only = answers().filter(pl.col("item_id") == "aa")
    marks = marked_items(FOUND, only)
    assert [score["without"] for score in marks["scores"]] == [None, None]
    assert "nothing without" in sentences({"farm": {"contamination": marks}})[0]


def test_a_dataset_that_says_nothing_leaves_every_item_unscanned(tmp_path):
    assert read_contamination(tmp_path) is None
    assert marked_items(None, answers())["not_scanned"] == 6
    (tmp_path / "contamination.json").write_text(json.dumps(FOUND))
    assert read_contamination(tmp_path) == FOUND


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "other"}'])
def test_a_broken_file_is_refused(tmp_path, text):
    (tmp_path / "contamination.json").write_text(text)
    with pytest.raises(ManifestError):
        read_contamination(tmp_path)
