"""An index of eval items: runs of words, whole questions and answers as keyed hashes; no text of any item."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.contamination.items import Item
from curate.contamination.words import comparable
from curate.dedup.spans import string_spans

WIDTH = 5
"""Words of a run: long enough that strangers share few, short enough that one edited word leaves most runs whole."""
QUESTION, CHOICE, ANSWER = 0, 1, 2
MAX_ANSWER_WORDS = 30
"""Answers of up to so many words are looked for as a whole; longer ones by their runs."""
HOT_SHARE, HOT_ITEMS = 0.005, 20
"""A run that more items than this share, and than this number, hold is the eval's own wording and proves nothing."""
MAX_PLACES = 4
"""Places of one run in one segment that count: a word repeated a thousand times must not cost a million pairs."""
UNKEYED = (0, 0)
Key = tuple[int, int]

ITEMS_SCHEMA = {
    "eval_set": pl.String,
    "path": pl.String,
    "line": pl.Int64,
    "row": pl.Int64,
    "row_id": pl.String,
    "words": pl.Int32,
    "has_answer": pl.Boolean,
}


@dataclass(frozen=True)
class EvalIndex:
    """Eval items as hashes. A segment is the question, one choice, or one long answer of an item."""

    key: Key
    items: pl.DataFrame
    """Columns of ITEMS_SCHEMA, a row for each item."""
    seg_item: NDArray[np.int32]
    seg_kind: NDArray[np.uint8]
    seg_begin: NDArray[np.int64]
    """[segments + 1]: where the positions of each segment begin."""
    numbers: NDArray[np.uint8]
    """For each position, whether its word holds a digit."""
    grams: NDArray[np.uint64]
    """Sorted and distinct."""
    post_begin: NDArray[np.int64]
    """[grams + 1]: where the postings of each run begin."""
    post_seg: NDArray[np.int32]
    post_place: NDArray[np.int32]
    post_masked: NDArray[np.uint8]
    """Whether the run has its numbers masked."""
    whole: NDArray[np.uint64]
    """Sorted hashes of whole questions."""
    whole_item: NDArray[np.int32]
    answer_begin: NDArray[np.int64]
    """[items + 1]: where the answers of each item begin."""
    answer_hash: NDArray[np.uint64]
    answer_words: NDArray[np.int32]
    width: int = WIDTH

    @property
    def key_array(self) -> NDArray[np.uint64]:
        """The key as compiled code takes it."""
        return np.array(self.key, dtype=np.uint64)

    @property
    def post_grams(self) -> NDArray[np.uint64]:
        """The run of each posting."""
        return self.grams[self.gram_numbers]

    @cached_property
    def gram_numbers(self) -> NDArray[np.int64]:
        """For each posting, the place of its run in `grams`."""
        return np.repeat(np.arange(len(self.grams)), np.diff(self.post_begin))

    @cached_property
    def held(self) -> NDArray[np.int64]:
        """For each run, how many items hold it."""
        pairs = np.unique(self.gram_numbers * (self.items.height + 1) + self.seg_item[self.post_seg])
        return np.bincount(pairs // (self.items.height + 1), minlength=len(self.grams))

    @cached_property
    def telling(self) -> EvalIndex:
        """The same without the runs that so many items hold that they prove nothing."""
        rare = self.held <= max(HOT_ITEMS, HOT_SHARE * self.items.height)
        kept = rare[self.gram_numbers]
        lengths = np.diff(self.post_begin)[rare]
        return replace(
            self,
            grams=self.grams[rare],
            post_begin=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
            post_seg=self.post_seg[kept],
            post_place=self.post_place[kept],
            post_masked=self.post_masked[kept],
        )

    @cached_property
    def idf(self) -> NDArray[np.float32]:
        """ln(1 + items / items that hold the run), for each run."""
        return np.log1p(self.items.height / np.maximum(self.held, 1)).astype(np.float32)

    @cached_property
    def lookup(self) -> tuple[NDArray[np.uint8], NDArray[np.int64], np.uint64, NDArray[np.uint64]]:
        """What `kernel.look_up` needs: a filter, a directory by the top bits, how far they are shifted, the runs."""
        size = 1 << max(6, int(np.ceil(np.log2(max(1, len(self.grams))))))  # bytes: at least eight bits a run
        spots = self.grams & np.uint64(8 * size - 1)
        bits = np.zeros(size, np.uint8)
        mask = np.uint8(1) << (spots & np.uint64(7)).astype(np.uint8)
        np.bitwise_or.at(bits, (spots >> np.uint64(3)).astype(np.int64), mask)
        top = max(1, int(np.log2(max(2, len(self.grams)))) - 2)
        shift = np.uint64(64 - top)
        directory = np.zeros((1 << top) + 1, np.int64)
        np.cumsum(np.bincount((self.grams >> shift).astype(np.int64), minlength=1 << top), out=directory[1:])
        return bits, directory, shift, self.grams

    def weights(self, dropped: NDArray[np.bool_]) -> NDArray[np.float32]:
        """What each position counts: the mean rarity of the unmasked runs over it, 0 where none is left.

        Args:
            dropped: [grams], runs that do not count.
        """
        total, runs = np.zeros(len(self.numbers), np.float32), np.zeros(len(self.numbers), np.int32)
        gram = self.gram_numbers
        counts = (self.post_masked == 0) & ~dropped[gram]
        first = self.seg_begin[self.post_seg[counts]] + self.post_place[counts]
        rarity = self.idf[gram[counts]]
        for step in range(self.width):
            np.add.at(total, first + step, rarity)
            np.add.at(runs, first + step, 1)
        return (total / np.maximum(runs, 1)).astype(np.float32)


def build_index(items: Iterable[Item], key: Key = UNKEYED) -> EvalIndex:
    """Index eval items; equal questions are an item each all the same, so that each is reported.

    Args:
        items: of any number of sets.
        key: 128 secret bits as two words; without them nobody can ask the index for a text.
    """
    from curate.contamination.kernel import item_grams

    kept = list(items)
    texts, owner, kind = _segments(kept)
    words, numbers, offsets = word_hashes(pl.Series(texts, dtype=pl.String))
    counts = np.diff(offsets)
    keys = np.array(key, dtype=np.uint64)
    room = 2 * len(words) + 1
    grams, masked = np.empty(room, np.uint64), np.empty(room, np.uint8)
    owners, places = np.empty(room, np.int32), np.empty(room, np.int32)
    used = item_grams(offsets, words, numbers, WIDTH, keys, grams, owners, places, masked)
    is_whole = (kind == QUESTION) & (counts > 0)
    whole = hash_runs(words, offsets[:-1][is_whole], counts[is_whole], keys)
    answers = answers_of([item.answers for item in kept], keys)
    segments = Segments(_items(kept, owner, kind, counts), owner, kind, offsets, numbers)
    postings = Postings(grams[:used], owners[:used], places[:used], masked[:used])
    return assemble(key, segments, postings, (whole, owner[is_whole]), answers)


class Segments(NamedTuple):
    """Items and what they consist of, see `EvalIndex`."""

    items: pl.DataFrame
    item: NDArray[np.int32]
    kind: NDArray[np.uint8]
    begin: NDArray[np.int64]
    numbers: NDArray[np.uint8]


class Postings(NamedTuple):
    """Runs with the place where each stands, in any order."""

    gram: NDArray[np.uint64]
    seg: NDArray[np.int32]
    place: NDArray[np.int32]
    masked: NDArray[np.uint8]


def assemble(
    key: Key,
    segments: Segments,
    postings: Postings,
    wholes: tuple[NDArray[np.uint64], NDArray[np.int32]],
    answers: tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int32]],
    width: int = WIDTH,
) -> EvalIndex:
    """An index of its parts, everything in the order of the runs; the same for the same parts in any order."""
    order = np.lexsort((postings.place, postings.seg, postings.gram))
    order = order[_first_places(postings.gram[order], postings.seg[order])]
    grams, begin = np.unique(postings.gram[order], return_index=True)
    whole_order = np.lexsort((wholes[1], wholes[0]))
    return EvalIndex(
        key=key,
        items=segments.items,
        seg_item=segments.item,
        seg_kind=segments.kind,
        seg_begin=segments.begin,
        numbers=segments.numbers,
        grams=grams,
        post_begin=np.append(begin, len(order)).astype(np.int64),
        post_seg=postings.seg[order],
        post_place=postings.place[order],
        post_masked=postings.masked[order],
        whole=wholes[0][whole_order],
        whole_item=wholes[1][whole_order],
        answer_begin=answers[0],
        answer_hash=answers[1],
        answer_words=answers[2],
        width=width,
    )


def _first_places(grams: NDArray[np.uint64], segs: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which postings are among the first MAX_PLACES of their run and segment, in sorted order."""
    first = np.ones(len(grams), np.bool_)
    first[MAX_PLACES:] = (grams[MAX_PLACES:] != grams[:-MAX_PLACES]) | (segs[MAX_PLACES:] != segs[:-MAX_PLACES])
    return first


def merge(old: EvalIndex, new: EvalIndex) -> EvalIndex:
    """One index of the items of both, those of `old` first: what building it from all items gives.

    Raises:
        ValueError: they have different keys or widths.
    """
    if (old.key, old.width) != (new.key, new.width):
        raise ValueError("indexes of different keys or widths cannot be merged")
    items, segs = old.items.height, len(old.seg_item)
    segments = Segments(
        pl.concat([old.items, new.items]),
        np.concatenate([old.seg_item, new.seg_item + np.int32(items)]),
        np.concatenate([old.seg_kind, new.seg_kind]),
        np.concatenate([old.seg_begin, new.seg_begin[1:] + old.seg_begin[-1]]),
        np.concatenate([old.numbers, new.numbers]),
    )
    postings = Postings(
        np.concatenate([old.post_grams, new.post_grams]),
        np.concatenate([old.post_seg, new.post_seg + np.int32(segs)]),
        np.concatenate([old.post_place, new.post_place]),
        np.concatenate([old.post_masked, new.post_masked]),
    )
    wholes = np.concatenate([old.whole, new.whole]), np.concatenate([old.whole_item, new.whole_item + np.int32(items)])
    answers = (
        np.concatenate([old.answer_begin, new.answer_begin[1:] + old.answer_begin[-1]]),
        np.concatenate([old.answer_hash, new.answer_hash]),
        np.concatenate([old.answer_words, new.answer_words]),
    )
    return assemble(old.key, segments, postings, wholes, answers, old.width)


def _segments(items: Sequence[Item]) -> tuple[list[str], NDArray[np.int32], NDArray[np.uint8]]:
    texts: list[str] = []
    owner: list[int] = []
    kind: list[int] = []
    for number, item in enumerate(items):
        texts += [item.question, *item.choices, *item.answers]
        kind += [QUESTION] + [CHOICE] * len(item.choices) + [ANSWER] * len(item.answers)
        owner += [number] * (len(texts) - len(owner))
    return texts, np.array(owner, np.int32), np.array(kind, np.uint8)


def _items(
    items: Sequence[Item], owner: NDArray[np.int32], kind: NDArray[np.uint8], counts: NDArray[np.int64]
) -> pl.DataFrame:
    asked = np.zeros(len(items), np.int32)
    asked[owner[kind == QUESTION]] = counts[kind == QUESTION]
    return pl.DataFrame(
        {
            "eval_set": [item.eval_set for item in items],
            "path": [item.path for item in items],
            "line": [item.line for item in items],
            "row": [item.row for item in items],
            "row_id": [item.row_id for item in items],
            "words": asked,
            "has_answer": [bool(item.answers) for item in items],
        },
        schema=ITEMS_SCHEMA,
    )


def answers_of(
    answers: Sequence[tuple[str, ...]], key: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int32]]:
    """Keyed hashes of the answers that are short enough to be looked for as a whole: (begin, hash, words)."""
    texts = [text for item in answers for text in item]
    owner = np.array([number for number, item in enumerate(answers) for _ in item], dtype=np.int64)
    words, _, offsets = word_hashes(pl.Series(texts, dtype=pl.String))
    counts = np.diff(offsets)
    short = (counts > 0) & (counts <= MAX_ANSWER_WORDS)
    hashes = hash_runs(words, offsets[:-1][short], counts[short], key)
    begin = np.zeros(len(answers) + 1, np.int64)
    np.cumsum(np.bincount(owner[short], minlength=len(answers)), out=begin[1:])
    return begin, hashes, counts[short].astype(np.int32)


def word_hashes(texts: pl.Series) -> tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.int64]]:
    """Words of texts: (hashes, whether each holds a digit, [n + 1] where the words of each text begin)."""
    from curate.contamination.kernel import word_table

    spans = string_spans(comparable(texts))
    room = int(((spans.lengths + 1) // 2 + 2).sum()) + 2
    hashes, numbers, lines = np.empty(room, np.uint64), np.empty(room, np.uint8), np.empty(room, np.uint8)
    offsets = np.zeros(len(spans) + 1, np.int64)
    word_table(spans.addresses, spans.lengths, offsets, hashes, numbers, lines)
    used = int(offsets[-1])
    return hashes[:used].copy(), numbers[:used].copy(), offsets


def hash_runs(
    words: NDArray[np.uint64], starts: NDArray[np.int64], counts: NDArray[np.int64], key: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Keyed hash of each run of words."""
    from curate.contamination.kernel import run_hashes

    out = np.empty(len(starts), np.uint64)
    run_hashes(words, starts, counts, key, out)
    return out
