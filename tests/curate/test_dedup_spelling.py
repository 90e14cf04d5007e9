"""Typing errors: a word with two letters exchanged or one doubled is the same word, any other word is another one."""

from __future__ import annotations

import random

import polars as pl
import pytest

from curate.dedup import find_duplicates
from tests.curate.hard_texts import DOSE, GERMAN, LINKS, MAIL, MEMO, RUSSIAN

SHORT = " ".join(MEMO.split()[:40])
"""A row in which every other word makes another row."""


def kind(one: str, other: str) -> str:
    """What the only pair of two rows is; in either order the same."""
    kinds = {find_duplicates(pl.Series(rows)).pairs["kind"].item() for rows in ([one, other], [other, one])}
    assert len(kinds) == 1
    return str(kinds.pop())


@pytest.mark.parametrize(
    ("text", "word", "typed"),
    [
        (SHORT, "library", "lirbary"),
        (SHORT, "harvest", "havrest"),
        (SHORT, "committee", "comittee"),
        (SHORT, "committee", "committtee"),
        (SHORT, "library", "Lirbary"),
        (SHORT, "bakery", "bakkery"),
        (SHORT.replace("library", "Rotterdam"), "Rotterdam", "Rottredam"),
        (SHORT.replace("library", "which"), "which", "wihch"),
        (" ".join(RUSSIAN.split()[:40]), "комитет", "коимтет"),
        (" ".join(RUSSIAN.split()[:40]), "лошади", "лоошади"),
        (SHORT.replace("library", "AQUIFER"), "AQUIFER", "AUQIFER"),
        (GERMAN, "Bäckerei", "Bäkcerei"),
        (GERMAN, "Frühstück", "Fürhstück"),
    ],
)
def test_a_typing_error_makes_no_other_row(text: str, word: str, typed: str) -> None:
    assert kind(text, text.replace(word, typed, 1)) == "near"


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("library", "libary"),
        ("library", "librery"),
        ("library", "ilbrary"),
        ("library", "librayr"),
        ("library", "lbirayr"),
        ("committee", "cmmoittee"),
        ("library", "LIBRARY_A"),
        ("dairy", "daily"),
        ("form", "from"),
        ("there", "three"),
        ("AQUIFER", "AQUIFFER"),
        ("row_buffer", "row_buuffer"),
        ("acgtacgtacgtacgtacgtacgta", "acgatcgtacgtacgtacgtacgta"),
        ("a1b2c3", "a1bb2c3"),
    ],
)
def test_other_words_make_another_row(word: str, other: str) -> None:
    text = SHORT.replace("library", word)
    assert kind(text, text.replace(word, other, 1)) in ("template", "similar")


def test_typing_errors_beside_another_value_make_no_copy_of_it() -> None:
    text = f"{SHORT} It costs 17."
    assert kind(text, text.replace("harvest", "havrest").replace("17", "18")) == "template"


def test_values_of_a_slot_are_values_even_if_they_look_mistyped() -> None:
    values = ("angel", "angle", "anngel", "aangel", "anglle")
    rows = [MEMO.replace("library", value) for value in values]
    assert find_duplicates(pl.Series(rows)).representative.null_count() == len(rows)


def test_all_typing_errors_of_a_long_row_are_seen() -> None:
    words = [word for text in (MEMO, DOSE, MAIL, LINKS) for word in text.split()]
    typed = [f"{word[0]}{word[2]}{word[1]}{word[3:]}" if word.isalpha() and len(word) > 6 else word for word in words]
    assert sum(one != other for one, other in zip(words, typed, strict=True)) > 32
    assert kind(f"{' '.join(words)} Martha", f"{' '.join(typed)} Matrha") == "near"


def is_typing_error(one: str, other: str) -> bool:
    """The definition, tried letter by letter."""
    if min(len(one), len(other)) < 5:
        return False
    short, long = sorted((one, other), key=len)
    exchanged = {one[:at] + one[at + 1] + one[at] + one[at + 2 :] for at in range(1, len(one) - 2)}
    doubled = {short[: at + 1] + short[at:] for at in range(len(short))}
    return other in exchanged or long in doubled


@pytest.mark.parametrize("alphabet", ["xqz", "жщц", "xщ", "x𐐨ж"])
def test_words_are_compared_letter_by_letter(alphabet: str) -> None:
    drawn = random.Random(alphabet)
    seen = {"near": 0, "template": 0}
    for _ in range(150):
        one = "".join(drawn.choices(alphabet, k=drawn.choice((4, 5, 6, 7))))
        at = drawn.randrange(len(one))
        other = drawn.choice(
            (
                one[: at + 1] + one[at:],
                one[:at] + one[at : at + 2][::-1] + one[at + 2 :],
                "".join(drawn.sample(one, len(one))),
                one[:at] + one[at + 1 :],
            )
        )
        if one != other:
            found = kind(SHORT.replace("library", one), SHORT.replace("library", other))
            assert found == ("near" if is_typing_error(one, other) else "template"), (one, other)
            seen[found] += 1
    assert min(seen.values()) > 20
