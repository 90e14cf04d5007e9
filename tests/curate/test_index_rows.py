"""The rows of earlier datasets as an index: what is found again, what is not, and what curation does about it."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate.dedup import find_duplicates
from curate.dedup.index import RowIndex, grown
from curate.dedup.kept_text import KeptTexts, write_texts
from curate.dedup.segments import ROWS, kept_texts, write_segment
from curate.earlier import held_rows, index_rows
from curate.readers import read_corpus
from curate.row_store import add_rows, build_rows, load_rows, row_format
from curate.rows import Corpus
from curate.rules.near_duplicate import EDITED, STORY
from curate.similar import comparable_texts
from schemas.errors import UserError
from schemas.index import create_index
from tests.curate.made_rows import (
    WORDS,
    chat,
    corpus_from,
    distinct_rows,
    earlier_than,
    write_rows,
)


def story(seed: int, edits: int = 0) -> str:
    """Sixty words without names or numbers; an edit puts another word in the place of one."""
    drawn = random.Random(seed)
    words = [f"{drawn.choice(WORDS)}{chr(97 + drawn.randrange(26))}{chr(97 + drawn.randrange(26))}" for _ in range(60)]
    for place in drawn.sample(range(60), edits):
        words[place] = "quietly"
    return " ".join(words)


def held(corpus: Corpus, *earlier: Corpus, exact_only: bool = False) -> dict[int, tuple[str, int]]:
    """Row -> kind of match, and the 0-based row that it is matched with."""
    beside = earlier_than(corpus, *earlier, exact_only=exact_only)
    found = held_rows(replace(corpus, earlier=beside, memo={}), 0.7)
    return {index: (kind, beside.index.place(number)["row"]) for index, number, kind, _ in found.iter_rows()}


# ---------------------------------------------------------------------------------------------------- what is found


def test_exact_normalised_and_near_copies_are_found_with_the_row_they_repeat():
    old = corpus_from(*distinct_rows(30), {"text": STORY}, chat("Say  HELLO", "Hello!"))
    new = corpus_from(
        distinct_rows(1, start=7)[0], {"text": EDITED}, chat("say hello", "hello!"), *distinct_rows(9, start=30)
    )
    assert held(new, old) == {0: ("exact", 7), 1: ("near", 30), 2: ("normalised", 31)}
    assert held(new, old, exact_only=True) == {0: ("exact", 7), 2: ("normalised", 31)}


def test_other_answers_instructions_tools_and_labels_make_other_rows():
    system = {"role": "system", "content": "Be brief."}
    asked, said = {"role": "user", "content": story(1)}, {"role": "assistant", "content": story(2)}
    tool = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    old = corpus_from(
        {"messages": [asked, said]},
        {"prompt": story(3), "completion": story(4), "label": True},
        {"prompt": story(5), "chosen": story(6), "rejected": story(7)},
    )
    new = [
        {"messages": [asked, said | {"content": story(9)}]},
        {"messages": [system, asked, said]},
        {"messages": [asked, said], "tools": tool},
        {"prompt": story(3, edits=1), "completion": story(4), "label": False},
        {"prompt": story(5), "chosen": story(7), "rejected": story(6)},
        {"prompt": story(3, edits=1), "completion": story(4), "label": True},
        {"prompt": story(5, edits=1), "chosen": story(6), "rejected": story(7)},
        {"messages": [asked, said | {"content": story(2, edits=2)}]},
    ]
    assert held(corpus_from(*new), old) == {5: ("near", 1), 6: ("near", 2), 7: ("near", 0)}


def test_short_rows_and_rows_of_a_template_are_other_rows_unless_they_are_equal():
    old = corpus_from(*({"text": f"order number {n}"} for n in range(40)), {"text": "yes"}, {"text": "Hello there!"})
    form = (
        "Dear customer, your parcel with the number {n} was handed to the courier this morning and will be there soon"
    )
    many = corpus_from(*({"text": form.format(n=n * 7919)} for n in range(3000)))
    new = corpus_from(
        {"text": "order number 41"},
        {"text": "no"},
        {"text": "hello there"},
        {"text": form.format(n=1234 * 7919)},
        {"text": form.format(n=17)},
    )
    assert held(new, old, many) == {3: ("exact", 1234)}


def test_a_row_is_found_in_a_bucket_of_thousands_by_its_next_band():
    """Rows with many words in common share bands with thousands of others; the copy is among the nearest ones."""
    common = " ".join(story(1).split()[:45])
    old = corpus_from(*({"text": f"{common} {' '.join(story(n).split()[:15])}"} for n in range(2, 3000)))
    new = corpus_from(*({"text": f"{common} {' '.join(story(n).split()[:14])} quietly"} for n in (77, 1500, 2900)))
    assert {index: row for index, (_, row) in held(new, old).items()} == {0: 75, 1: 1498, 2: 2898}


def test_the_index_finds_what_a_search_among_all_rows_finds():
    rows = [{"text": story(seed)} for seed in range(120)]
    new = [{"text": story(seed, edits=seed % 25)} for seed in range(0, 120, 2)]
    new += [{"text": story(seed)} for seed in range(500, 530)]
    old_corpus, new_corpus = corpus_from(*rows), corpus_from(*new)
    texts = pl.concat([comparable_texts(old_corpus)["text"], comparable_texts(new_corpus)["text"]])
    pairs = find_duplicates(texts).pairs.filter(pl.col("kind").is_in(["exact", "normalised", "near"]))
    across = pairs.filter((pl.col("a") < len(rows)) & (pl.col("b") >= len(rows)))
    expected = {b - len(rows): a for a, b in across.select("a", "b").iter_rows()}
    found = {index: row for index, (_, row) in held(new_corpus, old_corpus).items()}
    assert found == expected
    assert 20 < len(found) < 40


# ---------------------------------------------------------------------------------------------------- on disk


def answers(index: RowIndex, rows: pl.DataFrame) -> list[list[Any]]:
    found = index.similar(rows, 0.7)
    return [
        [index.place(int(n)) if n >= 0 else None for n in index.same_content(rows)],
        [index.place(int(n)) if n >= 0 else None for n in index.other_answer(rows)],
        [(place, index.place(n), kind, sim) for place, n, kind, sim in found.iter_rows()],
    ]


@pytest.fixture(scope="module")
def rows():
    old = [*distinct_rows(40), {"text": STORY}, *({"text": story(n)} for n in range(20)), chat("2 + 2?", "four")]
    new = [
        *distinct_rows(20, start=30),
        {"text": EDITED},
        *({"text": story(n, edits=3)} for n in range(10, 30)),
        chat("2 + 2?", "five"),
        chat("", ""),
    ]
    return index_rows(corpus_from(*old)), index_rows(corpus_from(*new))


@pytest.mark.parametrize("exact_only", [False, True])
def test_an_index_on_disk_answers_as_the_one_in_memory(tmp_path, rows, exact_only):
    old, new = rows
    build_rows(tmp_path / "i", old, exact_only)
    loaded, made = load_rows(tmp_path / "i"), grown(RowIndex(()), old, exact_only)
    assert answers(loaded, new) == answers(made, new)
    assert loaded.answer(61) == (None if exact_only else "four")
    assert len(loaded) == len(made) == 62
    same, other, similar = answers(loaded, new)
    assert sum(place is not None for place in same) == 10
    assert [place["row"] for place in other if place] == [61]
    assert len(similar) == (0 if exact_only else 10 + 11)


def test_adding_answers_as_building_from_all(tmp_path, rows):
    old, new = rows
    build_rows(tmp_path / "whole", old)
    build_rows(tmp_path / "grown", old[:13])
    add_rows(tmp_path / "grown", old[10:40])
    header = add_rows(tmp_path / "grown", old)
    assert (len(header.segments), header.counts["rows"]) == (3, 62)
    assert answers(load_rows(tmp_path / "grown"), new) == answers(load_rows(tmp_path / "whole"), new)
    assert add_rows(tmp_path / "grown", new[:10]).segments == header.segments, "nothing that is there is added again"


def test_equal_rows_make_equal_indexes(tmp_path, rows):
    for name in "ab":
        build_rows(tmp_path / name, rows[0])
    files = [sorted((p.name, p.read_bytes()) for p in (tmp_path / n).rglob("*") if p.is_file()) for n in "ab"]
    assert files[0] == files[1]
    assert len(files[0]) == 20


def test_an_index_without_texts_holds_no_words(tmp_path):
    build_rows(tmp_path / "bare", index_rows(corpus_from({"text": STORY})), exact_only=True)
    build_rows(tmp_path / "full", index_rows(corpus_from({"text": STORY})))
    bare = b"".join(path.read_bytes() for path in (tmp_path / "bare").rglob("*") if path.is_file())
    assert [word for word in STORY.split() if len(word) > 5 and word.encode() in bare] == []
    ((text, _),) = kept_texts(load_rows(tmp_path / "full").segments[0], np.array([0]))
    assert text == STORY


@pytest.mark.parametrize("name", ["bands.npy", "content.npy", "texts.zst", "paths.json"])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_files_are_refused(tmp_path, rows, name, damage):
    build_rows(tmp_path / "i", rows[0])
    path = tmp_path / "i" / "segment-000001" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data if damage == "flip" else data[:-1])
    with pytest.raises(UserError, match="damaged"):
        load_rows(tmp_path / "i")


def test_rows_that_are_hashed_in_another_way_are_a_mismatch(tmp_path, rows, monkeypatch):
    build_rows(tmp_path / "i", rows[0])
    other = row_format(False).model_copy(update={"parameters": row_format(False).parameters | {"bands": 8}})
    monkeypatch.setattr("curate.row_store.row_format", lambda exact_only: other)
    with pytest.raises(UserError) as caught:
        load_rows(tmp_path / "i")
    assert (caught.value.problems[0].found, caught.value.problems[0].expected) == ("bands: 32", "bands: 8")


def test_the_probe_changes_with_what_is_hashed(monkeypatch):
    row_format.cache_clear()
    before = row_format(False).probe
    for name, value in (("curate.earlier.APART", "\x1d"), ("curate.dedup.segments.SEED", 2)):
        with monkeypatch.context() as patch:
            patch.setattr(name, value)
            row_format.cache_clear()
            assert row_format(False).probe != before
    row_format.cache_clear()
    assert row_format(False).probe == before


def test_kept_texts_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr("curate.dedup.kept_text.BLOCK_BYTES", 40)
    kept = [
        ("one two", None),
        (None, None),
        ("", ""),
        ("\u6f22\u5b57 " * 30, "x"),
        (None, "y"),
        ("z" * 39, ""),
        ("", "a"),
    ]
    with (tmp_path / "t").open("wb") as stream:
        made = write_texts(kept, stream)
    texts = KeptTexts((tmp_path / "t").read_bytes(), made["ends"], made["blocks"], made["missing"])
    assert list(texts.of(np.arange(len(kept)))) == kept
    assert list(texts.of(np.array([6, 3, 0]))) == [kept[6], kept[3], kept[0]]
    assert len(made["blocks"]) > 2


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("line", lambda array: array[:-1], "has the shape"),
        ("bands", lambda array: array[:, :-1], "has the shape"),
        ("content_row", lambda array: array + np.uint32(9), "points beyond"),
        ("path", lambda array: array + np.uint32(1), "points beyond"),
        ("group", lambda array: array.astype(np.int64), "holds int64"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused_even_under_a_header_that_fits_them(
    tmp_path, rows, name, change, said
):
    def fill(folder):
        write_segment(rows[0].select(*ROWS), folder, exact_only=False)
        np.save(folder / f"{name}.npy", change(np.load(folder / f"{name}.npy")))
        return {"rows": 1}

    create_index(tmp_path / "i", row_format(False), fill)
    with pytest.raises(UserError, match="damaged") as caught:
        load_rows(tmp_path / "i")
    assert said in caught.value.problems[0].found


def test_rows_on_disk_are_indexed_as_rows_in_memory(tmp_path, monkeypatch):
    old = [*distinct_rows(50), {"prompt": "a", "chosen": "b", "rejected": "c"}, {"text": STORY}, b"{]"]
    near = read_corpus([write_rows(tmp_path / "old.jsonl", old)])
    monkeypatch.setattr("curate.spill.SPILL_BYTES", 0)
    monkeypatch.setattr("curate.spill.PART_BYTES", 2000)
    far = read_corpus([tmp_path / "old.jsonl"], folder=tmp_path)
    assert far.spill is not None
    assert index_rows(far).equals(index_rows(near))
    assert index_rows(near).height == 52
