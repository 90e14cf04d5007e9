"""Answers of rows that are alike as wholes: edited with their rows, or answers of their own."""

from __future__ import annotations

import polars as pl
import pytest

from curate.dedup import find_duplicates
from tests.curate.hard_texts import MEMO


def edited(text: str, *edits: str) -> str:
    """The text after `old => new` replacements, each of which must change exactly one place."""
    for edit in edits:
        old, new = edit.split(" => ")
        assert text.count(old) == 1, (text.count(old), old)
        text = text.replace(old, new)
    return text


def drops(one: str, other: str, *, answer: pl.Series) -> int:
    """How many of two rows are dropped."""
    return 2 - find_duplicates(pl.Series([one, other]), answer=answer).representative.null_count()


ANSWER = (
    "You will find the keys in the small drawer below the mirror, as long as nobody has put them back where they were."
)


@pytest.mark.parametrize(
    ("answer", "dropped"),
    [
        (edited(ANSWER, "small drawer => little drawer"), 1),
        (edited(ANSWER, "nobody has => nobody haz", "find the => see the"), 1),
        (ANSWER[:90], 1),
        (ANSWER[:87], 1),
        (f"Sure! {ANSWER} Anything else?", 1),
        (edited(ANSWER, "below the => above the"), 0),
        (edited(ANSWER, "You will => You will not"), 0),
        (edited(ANSWER, "small drawer => large drawer"), 0),
        (
            "You will find the keys in the pocket of the coat that you wore when all of us went to the lake for a day.",
            0,
        ),
    ],
)
def test_an_answer_that_is_long_enough_may_be_edited_as_the_rest_of_its_row(answer: str, dropped: int) -> None:
    assert drops(f"{MEMO}\n{ANSWER}", f"{MEMO}\n{answer}", answer=pl.Series([ANSWER, answer])) == dropped


def test_a_short_answer_may_be_edited_only_where_the_prompt_is_as_well() -> None:
    answers = pl.Series(
        ["Look into the small drawer below the mirror.", "Look into the little drawer below the mirror."]
    )
    prompt = edited(MEMO, "decide how => determine how", "After a long => After a lengthy")
    assert drops(f"{MEMO}\n{answers[0]}", f"{MEMO}\n{answers[1]}", answer=answers) == 0
    assert drops(f"{MEMO}\n{answers[0]}", f"{prompt}\n{answers[1]}", answer=answers) == 1
