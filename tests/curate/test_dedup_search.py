"""Verdicts, representatives, bounds: what is dropped, what is kept, and what it costs."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.dedup import find_duplicates, similarity_components
from curate.spill import Spill

WORDS = (
    "river mountain engine window garden letter winter market silver carpet bridge planet button forest singer candle "
    "ladder pocket tunnel violin wallet yellow zipper basket copper dragon eleven fabric guitar hammer island jacket"
).split()


def prose(seed: int, words: int = 90) -> str:
    """Ordinary lower-case prose without names or numbers."""
    rng = random.Random(seed)
    stems = [f"{rng.choice(WORDS)}{chr(97 + rng.randrange(26))}{chr(97 + rng.randrange(26))}" for _ in range(words)]
    return " ".join(word if at % 12 else f"{word}." for at, word in enumerate(stems, 1))


def replaced(text: str, at: int, word: str) -> str:
    parts = text.split()
    parts[at] = word
    return " ".join(parts)


BASE = prose(1)


@pytest.mark.parametrize("rows", [0, 1, 1500])
def test_a_search_on_disk_finds_what_one_in_memory_finds(
    rows: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("curate.dedup.search.PART_ROWS", 100)
    rng = random.Random(2)
    texts: list[str | None] = [prose(rng.randrange(rows)) for _ in range(rows)]
    texts = [replaced(text, 7, "spoon") if text and rng.random() < 0.2 else text for text in texts]
    text = pl.Series([None if rng.random() < 0.01 else text for text in texts], dtype=pl.String)
    found = find_duplicates(text, answer=text)
    spilled = find_duplicates(text, answer=text, spill=Spill(tmp_path))
    assert spilled.pairs.equals(found.pairs)
    assert spilled.parameters == found.parameters
    for name in ("representative", "kind", "similarity"):
        assert getattr(spilled, name).equals(getattr(found, name))
    assert rows < 1500 or {"exact", "near"} <= set(found.kind.drop_nulls())
    assert not list(tmp_path.iterdir())


def verdict(one: str, other: str, **options: object) -> str | None:
    pairs = find_duplicates(pl.Series([one, other]), **options).pairs  # type: ignore[arg-type]
    return pairs["kind"][0] if len(pairs) else None


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (BASE, "exact"),
        (BASE.upper(), "normalised"),
        (BASE.replace(" ", "\n  "), "normalised"),
        (replaced(BASE, 40, "spoon"), "near"),
        (replaced(replaced(replaced(BASE, 20, "spoon"), 50, "kettle"), 70, "saucer"), "near"),
        (" ".join(BASE.split()[:78]), "near"),
        (f"Certainly, here it is:\n\n{BASE}\n\nGood luck with it!", "near"),
        (BASE.replace(".", ","), "near"),
    ],
)
def test_what_is_dropped(other: str, kind: str) -> None:
    result = find_duplicates(pl.Series([BASE, other]))
    assert result.pairs["kind"].to_list() == [kind]
    assert result.kind.drop_nulls().to_list() == [kind]
    assert result.representative.null_count() == 1


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (replaced(BASE, 40, "17"), replaced(BASE, 40, "18"), "template"),
        (replaced(BASE, 40, "three"), replaced(BASE, 40, "four"), "template"),
        (replaced(BASE, 40, "Lisbon"), replaced(BASE, 40, "Oslo"), "template"),
        (f"{BASE}\npositive", f"{BASE}\nnegative", "template"),
        (f"{BASE} Answer: yes", f"{BASE} Answer: no", "template"),
        ("What is 5 plus 3?", "What is 6 plus 3?", "template"),
    ],
)
def test_template_variants_are_named_and_kept(one: str, other: str, kind: str) -> None:
    result = find_duplicates(pl.Series([one, other]))
    assert result.pairs["kind"].to_list() == [kind]
    assert result.representative.null_count() == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("yes", "no"),
        ("Thanks!", "Thank you!"),
        ("What is the capital of France?", "What is the capital of Spain?"),
        ("Title:", "Title"),
        (f"{prose(2, 40)} {prose(3, 40)}", f"{prose(2, 40)} {prose(4, 40)}"),
        (f"{prose(3, 20)} {prose(2, 60)}", f"{prose(4, 20)} {prose(2, 60)}"),
        (f"{BASE}\n{prose(5, 30)}", f"{BASE}\n{prose(6, 30)}"),
        (prose(7), " ".join(sorted(prose(7).split()))),
    ],
)
def test_hard_negatives_are_kept(one: str, other: str) -> None:
    assert find_duplicates(pl.Series([one, other])).representative.null_count() == 2


def test_one_place_with_many_fillers_is_a_template_and_two_fillers_are_an_edit() -> None:
    rows = [replaced(BASE, 40, word) for word in ("spoon", "kettle", "saucer", "teapot")]
    assert set(find_duplicates(pl.Series(rows)).pairs["kind"]) == {"template"}
    assert verdict(rows[0], rows[1]) == "near"


def test_other_answers_make_a_conflict_not_a_duplicate() -> None:
    text = pl.Series([f"{BASE}\nkettle", f"{BASE}\nkettle again", f"{BASE}\n KETTLE"])
    result = find_duplicates(text, answer=pl.Series(["kettle", "kettle again", "KETTLE"]))
    kinds = dict(zip(result.pairs.select("a", "b").iter_rows(), result.pairs["kind"], strict=True))
    assert kinds == {(0, 1): "other-answer", (0, 2): "normalised", (1, 2): "other-answer"}
    assert result.representative.to_list() == [2, None, None]


def test_scripts_without_spaces() -> None:
    rng = random.Random(5)
    base = "".join(chr(rng.randrange(0x4E00, 0x6000)) for _ in range(160))
    edited = base[:50] + "新" + base[51:110] + "旧" + base[111:]
    half = base[:80] + "".join(chr(rng.randrange(0x6000, 0x7000)) for _ in range(80))
    assert verdict(base, edited) == "near"
    assert find_duplicates(pl.Series([base, half])).representative.null_count() == 2


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("longest", 2), ("first", 0), ("best", 1)],
)
def test_policies(policy: str, kept: int) -> None:
    rows = pl.Series([BASE, replaced(BASE, 40, "spoon"), f"{BASE} and that was all of it"])
    result = find_duplicates(rows, policy=policy, priority=pl.Series([1, 9, None]))  # type: ignore[arg-type]
    assert result.representative.null_count() == 1
    assert result.representative[kept] is None


def test_ties_go_to_the_given_order() -> None:
    rows = pl.Series([BASE, BASE, BASE])
    assert find_duplicates(rows).representative.to_list() == [None, 0, 0]
    assert find_duplicates(rows, order=pl.Series([2, 0, 1])).representative.to_list() == [1, None, 1]


def test_a_row_is_dropped_only_for_a_kept_row_it_was_compared_with() -> None:
    """Each row edits its neighbour a little: a chain must not collapse into its first row."""
    rng = random.Random(3)
    chain = [BASE.split()]
    for _ in range(30):
        words = list(chain[-1])
        for at in rng.sample(range(len(words)), 4):
            words[at] = f"{rng.choice(WORDS)}qx"
        chain.append(words)
    result = find_duplicates(pl.Series([" ".join(words) for words in chain]))
    verified = {
        (a, b)
        for a, b, kind in result.pairs.select("a", "b", "kind").iter_rows()
        if kind in ("exact", "normalised", "near")
    }
    assert 1 < result.representative.null_count() < 31
    for row, kept in enumerate(result.representative):
        if kept is not None:
            assert (min(row, kept), max(row, kept)) in verified
            assert result.representative[kept] is None


def test_null_and_empty_rows() -> None:
    result = find_duplicates(pl.Series([None, "", None, ""], dtype=pl.String))
    assert result.representative.to_list() == [None, None, None, 1]
    assert len(find_duplicates(pl.Series([], dtype=pl.String)).representative) == 0


def mixed_rows() -> pl.Series:
    rows = [prose(seed, 70) for seed in range(120)]
    rows += [replaced(prose(seed, 70), 30, "spoon") for seed in range(40)]
    rows += [prose(seed, 70).upper() for seed in range(40, 60)]
    rows += [f"Order {number} was shipped to the customer on time." for number in range(60)]
    return pl.Series(rows)


def test_the_result_does_not_depend_on_workers_or_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = mixed_rows()
    one = find_duplicates(rows, workers=1)
    monkeypatch.setattr("curate.dedup.pairs._SKETCH_BYTES", 1000)
    monkeypatch.setattr("curate.dedup.pairs._VERIFY_PAIRS", 7)
    other = find_duplicates(pl.concat([rows[:33], rows[33:]], rechunk=False), workers=3)
    assert one.pairs.equals(other.pairs)
    assert one.representative.equals(other.representative)
    assert one.parameters == other.parameters
    assert one.kind.drop_nulls().value_counts(sort=True).rows() == [("near", 40), ("normalised", 20)]


@settings(max_examples=25)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_kept_and_dropped_rows_add_up_whatever_the_rows(picks: list[int], rng: random.Random) -> None:
    pool = mixed_rows()
    rows = [pool[pick % len(pool)] for pick in picks]
    rng.shuffle(rows)
    result = find_duplicates(pl.Series(rows))
    kept = result.representative.null_count()
    assert kept == result.parameters["kept"]
    assert kept + result.kind.drop_nulls().len() == len(rows)
    for row, representative in enumerate(result.representative):
        if representative is not None:
            assert result.representative[representative] is None
            assert row != representative


def test_many_identical_rows_and_a_large_template_cost_in_proportion() -> None:
    same = pl.Series([BASE] * 20_000)
    result = find_duplicates(same)
    assert (len(result.pairs), result.representative.null_count()) == (19_999, 1)
    template = pl.Series([replaced(BASE, 40, f"item{number}") for number in range(3000)])
    result = find_duplicates(template)
    assert result.representative.null_count() == 3000
    assert len(result.pairs) < 40 * 3000
    labels, cuts = similarity_components(result)
    assert (labels.n_unique(), cuts[0]["rows"]) == (3000, 3000)


def test_very_long_rows_are_compared_in_bounded_time() -> None:
    words = prose(9, 30_000)
    edited = " ".join(word if at % 200 else "spoon" for at, word in enumerate(words.split(), 1))
    assert verdict(words, edited) == "near"
    assert find_duplicates(pl.Series(["ab " * 50_000, "ba cd " * 50_000])).representative.null_count() == 2


def test_the_fast_setting_decides_by_word_five_grams() -> None:
    result = find_duplicates(
        pl.Series([BASE, replaced(BASE, 85, "spoon"), replaced(replaced(BASE, 20, "x"), 60, "y")]), setting="fast"
    )
    assert result.pairs.select("a", "b", "kind", "measure").rows()[0] == (0, 1, "near", "jaccard-5")
    left, right = ({tuple(row.split()[at : at + 5]) for at in range(86)} for row in (BASE, replaced(BASE, 85, "spoon")))
    assert result.pairs["similarity"][0] == pytest.approx(len(left & right) / len(left | right))


def test_parameters_hold_the_curves() -> None:
    rows = pl.Series([BASE, replaced(replaced(BASE, 20, "spoon"), 60, "kettle"), prose(4)])
    parameters = find_duplicates(rows).parameters
    assert (parameters["bands"], parameters["rows_per_band"], parameters["num_perm"]) == (32, 5, 160)
    assert parameters["s_curve"][0] == (0.0, 0.0)  # type: ignore[index]
    assert parameters["s_curve"][-1] == (1.0, 1.0)  # type: ignore[index]
    curve = dict(parameters["kept_by_threshold"])  # type: ignore[call-overload]
    assert (curve[0.7], curve[1.0]) == (2, 3)


def test_the_curve_says_what_a_lower_threshold_would_keep_and_holds_the_one_used() -> None:
    rows = pl.Series([BASE, replaced(replaced(BASE, 20, "spoon"), 60, "kettle"), prose(4)])
    strict = find_duplicates(rows, threshold=0.98, floor=0.9)
    curve = dict(strict.parameters["kept_by_threshold"])  # type: ignore[call-overload]
    assert curve == {0.9: 2, 0.95: 2, 0.98: 3, 1.0: 3}
    assert strict.representative.null_count() == 3
    assert strict.pairs["kind"].to_list() == ["similar"]


@settings(max_examples=150)
@given(st.lists(st.text(alphabet="abβжé19-./!(=+_", min_size=1, max_size=8), min_size=1, max_size=12))
@example(["TGF-β1"])
def test_capitals_change_nothing_in_any_script(words: list[str]) -> None:
    text = f"{BASE} {' '.join(words)} {BASE[:50]}"
    kinds = find_duplicates(pl.Series([text, text.upper()])).pairs["kind"].to_list()
    assert kinds == ["normalised"]


def test_large_searches_use_longer_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pl.Series([BASE, replaced(BASE, 40, "spoon"), None])
    assert find_duplicates(rows).parameters["rows_per_band"] == 5
    monkeypatch.setattr("curate.dedup.pairs.LARGE", 2)
    result = find_duplicates(rows)
    assert (result.parameters["bands"], result.parameters["rows_per_band"]) == (26, 6)
    assert result.kind.drop_nulls().to_list() == ["near"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "best"}, "needs a priority"),
        ({"policy": "shortest"}, "unknown policy"),
        ({"setting": "quick"}, "unknown setting"),
        ({"answer": pl.Series(["a"])}, "expected 2 values"),
    ],
)
def test_wrong_arguments(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_duplicates(pl.Series(["a", "b"]), **options)  # type: ignore[arg-type]
