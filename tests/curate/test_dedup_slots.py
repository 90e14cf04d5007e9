"""Slots of templates: what one pair of rows cannot tell, a group of rows tells."""

from __future__ import annotations

import random

import polars as pl
import pytest

from curate.dedup import find_duplicates
from tests.curate.hard_texts import DOSE, MAIL, MEMO, RECIPE

NOUNS = (
    "sea moon desert forest river mountain garden castle winter kitchen engine village market bridge library".split()
)
VERBS = "paint repair clean sell move cover store measure weigh lift carry polish fold wash dry".split()


def kept(rows: list[str]) -> int:
    return find_duplicates(pl.Series(rows)).representative.null_count()


def in_words(text: str, *values: tuple[int, str]) -> str:
    """The text with other words at some places."""
    words = text.split()
    for place, value in values:
        words[place] = value
    return " ".join(words)


@pytest.mark.parametrize("rows", [3, 5, 15])
def test_rows_with_values_of_their_own_at_one_place_are_kept(rows: int) -> None:
    assert kept([in_words(MEMO, (40, noun)) for noun in NOUNS[:rows]]) == rows
    assert kept([in_words(MEMO, (40, noun)) for noun in NOUNS[:2]]) == 1, "of two rows nobody can tell"


def test_values_of_several_words_are_values_as_well() -> None:
    values = ["sea", "old moon", "village at the river", "the castle", "the winter garden", "bridge", "old library"]
    assert kept([in_words(MEMO, (40, value)) for value in values]) == len(values)


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_a_template_with_several_slots_are_kept(seed: int) -> None:
    rng = random.Random(seed)
    rows = {
        in_words(MEMO, (15, rng.choice(VERBS[:5])), (40, rng.choice(NOUNS)), (55, rng.choice(NOUNS[5:])))
        for _ in range(40)
    }
    assert kept(sorted(rows)) == len(rows)


@pytest.mark.parametrize("copies", [2, 3, 6, 12])
def test_copies_that_were_edited_at_places_of_their_own_are_dropped(copies: int) -> None:
    """Some meet: an edit at the place of another copy's edit makes no slot of it."""
    rng = random.Random(copies)
    rows = []
    for text in (MEMO, DOSE, MAIL, RECIPE):
        places = rng.sample(range(5, 50), copies)
        places[-1] = places[0] if copies > 3 else places[-1]
        plain = [place for place in places if text.split()[place].islower()]
        rows += [text, *(in_words(text, (place, rng.choice(NOUNS))) for place in plain)]
    assert kept(rows) <= 6


def test_an_edited_copy_of_a_row_of_a_template_is_dropped() -> None:
    rows = [in_words(MEMO, (40, noun)) for noun in NOUNS]
    assert kept([*rows, in_words(rows[3], (20, "perhaps"))]) == len(rows)
