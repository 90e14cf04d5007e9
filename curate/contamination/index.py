"""An index of eval items: runs of words, whole questions and answers as keyed hashes; no text of any item."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

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
"""A run that more items than this share, than this number, hold is the eval's own wording and proves nothing."""
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

    @cached_property
    def idf(self) -> NDArray[np.float32]:
        """ln(1 + items / items that hold the run), for each run."""
        owners = self.seg_item[self.post_seg]
        gram = np.repeat(np.arange(len(self.grams)), np.diff(self.post_begin))
        pairs = np.unique(gram.astype(np.int64) * (self.items.height + 1) + owners)
        held = np.bincount((pairs // (self.items.height + 1)).astype(np.int64), minlength=len(self.grams))
        return np.log1p(self.items.height / np.maximum(held, 1)).astype(np.float32)

    @cached_property
    def lookup(self) -> tuple[NDArray[np.uint8], NDArray[np.int64], np.uint64, NDArray[np.uint64]]:
        """What `kernel.look_up` needs: a filter, a directory by the top bits, how far they are shifted, the runs."""
        size = 1 << max(6, int(np.ceil(np.log2(max(1, len(self.grams))))))  # bytes: at least eight bits a run
        spots = self.grams & np.uint64(8 * size - 1)
        bits = np.zeros(size, np.uint8)
        np.bitwise_or.at(bits, (spots >> np.uint64(3)).astype(np.int64), np.uint8(1) << (spots & np.uint64(7)).astype(np.uint8))
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
        gram = np.repeat(np.arange(len(self.grams)), np.diff(self.post_begin))
        counts = (self.post_masked == 0) & ~dropped[gram]
        first = self.seg_begin[self.post_seg[counts]] + self.post_place[counts]
        rarity = self.idf[gram[counts]]
        for step in range(self.width):
            np.add.at(total, first + step, rarity)
            np.add.at(runs, first + step, 1)
        return total / np.maximum(runs, 1)


def build_index(items: Iterable[Item], key: Key = UNKEYED) -> EvalIndex:
    """Index eval items; equal questions of one set are one item each all the same, so that each is reported.

    Args:
        items: of any number of sets.
        key: 128 secret bits as two words; without them anyone can ask the index for a text.
    """
    from curate.contamination.kernel import item_grams

    kept = list(items)
    texts, owner, kind = _segments(kept)
    words, numbers, offsets = word_hashes(pl.Series(texts, dtype=pl.String))
    counts = np.diff(offsets)
    frame = _items(kept, owner, kind, counts)
    room = 2 * len(words) + 1
    grams, owners = np.empty(room, np.uint64), np.empty(room, np.int32)
    places, masked = np.empty(room, np.int32), np.empty(room, np.uint8)
    keys = np.array(key, dtype=np.uint64)
    used = item_grams(offsets, words, numbers, WIDTH, keys, grams, owners, places, masked)
    order = np.lexsort((places[:used], owners[:used], grams[:used]))
    sorted_grams, seg = grams[:used][order], owners[:used][order]
    keep = ~_hot(sorted_grams, seg, owner, frame.height)
    distinct, begin = np.unique(sorted_grams[keep], return_index=True)
    whole = hash_runs(words, offsets[:-1], counts, keys)
    is_whole = (kind == QUESTION) & (counts > 0)
    whole_order = np.argsort(whole[is_whole], kind="stable")
    answer_begin, answer_hash, answer_words = answers_of([item.answers for item in kept], keys)
    return EvalIndex(
        key=key,
        items=frame,
        seg_item=owner,
        seg_kind=kind,
        seg_begin=offsets,
        numbers=numbers,
        grams=distinct,
        post_begin=np.append(begin, keep.sum()).astype(np.int64),
        post_seg=seg[keep],
        post_place=places[:used][order][keep],
        post_masked=masked[:used][order][keep],
        whole=whole[is_whole][whole_order],
        whole_item=owner[is_whole][whole_order],
        answer_begin=answer_begin,
        answer_hash=answer_hash,
        answer_words=answer_words,
    )


def _segments(items: Sequence[Item]) -> tuple[list[str], NDArray[np.int32], NDArray[np.uint8]]:
    texts, owner, kind = [], [], []
    for number, item in enumerate(items):
        parts = [(QUESTION, item.question), *((CHOICE, text) for text in item.choices), *((ANSWER, a) for a in item.answers)]
        for what, text in parts:
            texts.append(text)
            owner.append(number)
            kind.append(what)
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


def _hot(
    grams: NDArray[np.uint64], seg: NDArray[np.int32], owner: NDArray[np.int32], items: int
) -> NDArray[np.bool_]:
    """For each posting, in the order of the runs, whether too many items hold its run."""
    pairs = pl.DataFrame({"gram": grams, "item": owner[seg]})
    held = pairs.with_columns(items=pl.col("item").n_unique().over("gram"))["items"].to_numpy()
    hot: NDArray[np.bool_] = held > max(HOT_ITEMS, HOT_SHARE * items)
    return hot


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
