"""Splits that share nothing, and the independent proof of it."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.exact_join import Checker
from curate.spill import Spill
from curate.split import assign_splits, leak_free_splits, split_proof

FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def by_share(component_ids: pl.Series) -> pl.Series:
    return assign_splits(component_ids, None, None, FRACTIONS, 0)


def counts(splits: pl.Series) -> dict[str, int]:
    return {name: int((splits == name).sum()) for name in FRACTIONS}


def test_single_rows_get_the_fractions_of_every_label() -> None:
    labels = pl.Series(["ham", "spam"] * 500)
    splits = assign_splits(pl.Series(range(1000)), None, labels, FRACTIONS, seed=0)
    assert counts(splits) == {"train": 800, "validation": 100, "test": 100}
    for label in ("ham", "spam"):
        assert counts(splits.filter(labels == label)) == {"train": 400, "validation": 50, "test": 50}


def test_rare_labels_are_spread_and_the_total_stays_right() -> None:
    labels = pl.Series([f"label{row // 3}" for row in range(300)])
    splits = assign_splits(pl.Series(range(300)), None, labels, FRACTIONS, seed=0)
    assert counts(splits) == {"train": 240, "validation": 30, "test": 30}


@settings(max_examples=60)
@given(st.data())
def test_components_and_groups_never_straddle(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    parts = data.draw(st.lists(st.integers(0, 25), min_size=n, max_size=n))
    groups = data.draw(st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh")), min_size=n, max_size=n))
    labels = data.draw(st.lists(st.one_of(st.none(), st.sampled_from("xy")), min_size=n, max_size=n))
    splits = assign_splits(
        pl.Series(parts), pl.Series(groups, dtype=pl.String), pl.Series(labels, dtype=pl.String), FRACTIONS, 3
    )
    assert splits.null_count() == 0
    for column in (parts, groups):
        for value in set(column) - {None}:
            assert len({splits[row] for row in range(n) if column[row] == value}) == 1


@settings(max_examples=30)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=40), st.randoms(use_true_random=False))
def test_with_keys_the_order_of_rows_does_not_matter(parts: list[int], rng: random.Random) -> None:
    keys = [f"row{at}" for at in range(len(parts))]
    labels = [f"label{at % 3}" for at in range(len(parts))]
    order = list(range(len(parts)))
    rng.shuffle(order)

    def assigned(rows: list[int]) -> dict[str, str]:
        columns = [pl.Series([column[row] for row in rows]) for column in (parts, labels, keys)]
        splits = assign_splits(columns[0], None, columns[1], FRACTIONS, 1, keys=columns[2])
        return dict(zip(columns[2], splits, strict=True))

    assert assigned(order) == assigned(list(range(len(parts))))


def test_seeds_choose_other_rows() -> None:
    one, other = (assign_splits(pl.Series(range(200)), None, None, FRACTIONS, seed) for seed in (0, 1))
    assert not one.equals(other)
    assert counts(one) == counts(other)


def test_fractions_must_sum_to_one() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        assign_splits(pl.Series([1]), None, None, {"train": 0.8, "test": 0.1}, 0)


def test_a_split_without_a_share_stays_empty() -> None:
    splits = assign_splits(
        pl.Series([row // 4 for row in range(100)]), None, None, {"train": 0.9, "validation": 0.0, "test": 0.1}, 0
    )
    assert counts(splits)["validation"] == 0
    assert counts(splits)["test"] > 0


def word_pairs(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words)} if len(words) == 1 else set(itertools.pairwise(words))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.75, 1.0])
def test_the_join_finds_exactly_the_pairs_of_a_plain_comparison(threshold: float) -> None:
    rng = np.random.default_rng(4)
    rows = [" ".join(rng.choice(list("abcdefg"), rng.integers(0, 8))) for _ in range(250)]
    splits = pl.Series("split", rng.choice(list(FRACTIONS), 250, p=[0.5, 0.2, 0.3]))
    sets = [word_pairs(row) for row in rows]
    wanted = {
        (a, b)
        for a in range(250)
        for b in range(a + 1, 250)
        if splits[a] != splits[b]
        and sets[a]
        and sets[b]
        and len(sets[a] & sets[b]) >= threshold * len(sets[a] | sets[b])
    }
    found = Checker(pl.Series(rows)).cross_pairs(splits, np.full(250, threshold))
    assert {(min(a, b), max(a, b)) for a, b, _ in found.iter_rows()} == wanted
    assert len(found) == len(wanted)
    for a, b, similarity in found.iter_rows():
        assert similarity == pytest.approx(len(sets[a] & sets[b]) / len(sets[a] | sets[b]))


def test_the_join_does_not_depend_on_chunks_or_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    text = pl.Series([" ".join(rng.choice(list("abcdefg"), 6)) for _ in range(200)])
    splits = pl.Series(rng.choice(list(FRACTIONS), 200))
    whole = Checker(text, workers=1).cross_pairs(splits, np.full(200, 0.3))
    monkeypatch.setattr("curate.dedup.exact_join._CHUNK_BYTES", 4000)
    monkeypatch.setattr("curate.dedup.exact_join._TASK_PAIRS", 1)
    monkeypatch.setattr("curate.dedup.exact_join._BATCH_PAIRS", 3)
    for workers in (1, 3):
        checker = Checker(text, workers)
        assert checker.cross_pairs(splits, np.full(200, 0.3)).equals(whole)
        assert len(list(checker.batches(splits, np.full(200, 0.3)))) > 5
    assert len(whole) > 100


def test_the_proof_of_many_pairs_does_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    text = pl.Series([" ".join(rng.choice(list("abcdefg"), 6)) for _ in range(200)])
    splits = pl.Series(rng.choice(list(FRACTIONS), 200))
    whole, repaired = (
        split_proof(text, splits, threshold=0.4),
        leak_free_splits(text, splits.rank("dense"), by_share),
    )
    monkeypatch.setattr("curate.dedup.exact_join._BATCH_PAIRS", 3)
    monkeypatch.setattr("curate.dedup.exact_join._CHUNK_BYTES", 4000)
    assert split_proof(text, splits, threshold=0.4) == whole
    again = leak_free_splits(text, splits.rank("dense"), by_share)
    assert again[0].equals(repaired[0])
    assert again[1] == repaired[1]


def test_the_join_finds_each_pair_once_whichever_blocks_are_indexed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rng = np.random.default_rng(9)
    text = pl.Series([" ".join(rng.choice(list("abcdefg"), 6)) for _ in range(200)])
    splits = pl.Series(rng.choice(list(FRACTIONS), 200))
    whole = Checker(text).cross_pairs(splits, np.full(200, 0.3))
    assert len(whole) > 100
    for size in (1, 3000, 1 << 20):
        monkeypatch.setattr("curate.dedup.exact_join._INDEX_BYTES", size)
        checker = Checker(text, spill=Spill(tmp_path))
        assert checker.cross_pairs(splits, np.full(200, 0.3)).equals(whole)


def test_splits_worked_out_on_disk_are_those_worked_out_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("curate.dedup.exact_join._INDEX_BYTES", 3000)
    rng = np.random.default_rng(11)
    text = pl.Series([" ".join(rng.choice(list("abcdefg"), 8)) for _ in range(300)])
    ids, labels = text.str.slice(0, 3).rank("dense"), pl.Series(rng.choice(["ham", "spam"], 300))

    def made(spill: Spill | None) -> tuple[pl.Series, dict[str, object]]:
        def assign(component_ids: pl.Series) -> pl.Series:
            return assign_splits(component_ids, None, labels, FRACTIONS, 0, spill=spill)

        return leak_free_splits(text, ids, assign, spill=spill)

    (splits, proof), (again, same) = made(None), made(Spill(tmp_path))
    assert proof["repaired_pairs"]
    assert again.equals(splits)
    assert same == proof
    assert not list(tmp_path.iterdir())


def test_proof_counts_a_leak_and_passes_without_one() -> None:
    text = pl.Series(["the quick brown fox jumps", "The QUICK brown fox\njumps", "another row entirely here", ""])
    leaking = split_proof(text, pl.Series(["train", "test", "train", "test"]))
    assert leaking["cross_split_pairs"] == 1
    assert leaking["worst"] == [{"a": 0, "b": 1, "splits": ["train", "test"], "similarity": 1.0}]
    clean = split_proof(text, pl.Series(["train", "train", "test", "test"]))
    assert (clean["cross_split_pairs"], clean["worst"]) == (0, [])
    assert clean["rows_by_split"] == {"test": 2, "train": 2}


def test_proof_honours_raised_thresholds() -> None:
    text = pl.Series(["a b c d e f g h", "a b c d e f g x", "something else"])
    splits = pl.Series(["train", "test", "train"])
    assert split_proof(text, splits, threshold=0.7)["cross_split_pairs"] == 1
    raised = split_proof(text, splits, threshold=0.7, thresholds=pl.Series([0.95, 0.95, None]))
    assert raised["cross_split_pairs"] == 0
    assert (raised["rows_at_a_higher_threshold"], raised["highest_threshold"]) == (2, 0.95)


def test_unspaced_scripts_are_compared_by_characters() -> None:
    text = pl.Series(["今天天气很好我们去公园", "今天天气很好我们去公圆", "完全不同的一句话在这里"])
    proof = split_proof(text, pl.Series(["train", "test", "test"]), threshold=0.7)
    assert [(pair["a"], pair["b"]) for pair in proof["worst"]] == [(0, 1)]  # type: ignore[attr-defined]


def test_rows_the_components_missed_are_joined_until_none_is_left() -> None:
    rng = np.random.default_rng(6)
    base = [" ".join(rng.choice([f"word{at}" for at in range(400)], 12)) for _ in range(150)]
    text = pl.Series(base + base[:60])
    splits, proof = leak_free_splits(text, pl.Series(range(210)), by_share)
    assert proof["cross_split_pairs"] == 0
    assert proof["repaired_pairs"] > 0  # type: ignore[operator]
    assert all(splits[row] == splits[150 + row] for row in range(60))
    assert split_proof(text, splits)["cross_split_pairs"] == 0


def test_every_split_gets_its_share_of_large_units() -> None:
    """Held-out rows must be of the same kind as trained ones: no split is made of single rows alone."""
    sizes = [20] * 10 + [5] * 40 + [2] * 100 + [1] * 600
    component = pl.Series([unit for unit, size in enumerate(sizes) for _ in range(size)])
    kind = pl.Series([size for size in sizes for _ in range(size)])
    splits = assign_splits(component, None, None, {"train": 0.8, "validation": 0.1, "test": 0.1}, 0)
    counts = pl.DataFrame({"kind": kind, "split": splits}).group_by("kind", "split").len()
    found = {(size, split): rows for size, split, rows in counts.iter_rows()}
    assert {split: found[20, split] for split in ("train", "validation", "test")} == {
        "train": 160,
        "validation": 20,
        "test": 20,
    }
    for size, whole in ((5, 200), (2, 200), (1, 600)):
        assert found[size, "test"] == pytest.approx(0.1 * whole, abs=size)
        assert found[size, "validation"] == pytest.approx(0.1 * whole, abs=size)
