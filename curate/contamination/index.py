"""An index of eval items: runs of words, whole segments and single words as keyed hashes; no text of any item."""

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
QUESTION, CHOICE, ANSWER, PASSAGE = 0, 1, 2, 3
HOT_SHARE, HOT_ITEMS = 0.005, 20
"""A run that more segments than this share of the items, and than this number, hold is not looked for."""
TEMPLATE_SHARE, TEMPLATE_ITEMS = 0.5, 5
"""Words in runs that this share of an eval set's items, and this number, hold are its template and count nothing."""
MAX_PLACES = 4
"""Places of one run in one segment that count: a word repeated a thousand times must not cost a million pairs."""
UNKEYED = (0, 0)
Key = tuple[int, int]
Table = tuple[NDArray[np.uint8], NDArray[np.int32], np.uint64, NDArray[np.uint64]]

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
    """Eval items as hashes. A segment is the question, one choice, one answer or the passage of an item."""

    key: Key
    items: pl.DataFrame
    """Columns of ITEMS_SCHEMA, a row for each item."""
    seg_item: NDArray[np.int32]
    """Ascending: the segments of an item follow one another."""
    seg_kind: NDArray[np.uint8]
    seg_hash: NDArray[np.uint64]
    """Of all words of each segment."""
    seg_begin: NDArray[np.int64]
    """[segments + 1]: where the positions of each segment begin."""
    numbers: NDArray[np.uint8]
    """For each position, whether its word holds a digit."""
    prints: NDArray[np.uint32]
    """For each position, what tells its word from others there, see `kernel.print_of`."""
    grams: NDArray[np.uint64]
    """Sorted and distinct."""
    post_begin: NDArray[np.int32]
    """[grams + 1]: where the postings of each run begin."""
    post_seg: NDArray[np.int32]
    post_place: NDArray[np.int32]
    post_masked: NDArray[np.uint8]
    """Whether the run has its numbers masked."""
    width: int = WIDTH

    @property
    def key_array(self) -> NDArray[np.uint64]:
        """The key as compiled code takes it."""
        return np.array(self.key, dtype=np.uint64)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Words of each segment."""
        return np.diff(self.seg_begin)

    @property
    def post_grams(self) -> NDArray[np.uint64]:
        """The run of each posting."""
        return np.repeat(self.grams, np.diff(self.post_begin))

    @property
    def held(self) -> NDArray[np.int32]:
        """For each run, how many different segments hold it."""
        contents, unit = np.unique(self.seg_hash, return_inverse=True)
        postings, grams = self.postings_of(np.diff(self.post_begin) > 1)  # nearly all runs stand in one place
        pairs = grams.astype(np.int64) * len(contents) + unit[self.post_seg[postings]]
        pairs.sort()
        distinct = pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]] // max(1, len(contents))
        return np.maximum(np.bincount(distinct, minlength=len(self.grams)), 1).astype(np.int32)

    def postings_of(self, wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """(postings, their runs) of some runs.

        Args:
            wanted: [grams].
        """
        counts = np.diff(self.post_begin)
        chosen = np.flatnonzero(wanted)
        return np.flatnonzero(np.repeat(wanted, counts)), np.repeat(chosen, counts[chosen]).astype(np.int32)

    @cached_property
    def telling(self) -> EvalIndex:
        """The same without the runs that so many segments hold that looking for them tells little."""
        rare = self.held <= max(HOT_ITEMS, HOT_SHARE * self.items.height)
        if rare.all():
            return self
        counts = np.diff(self.post_begin)
        kept = np.repeat(rare, counts)
        made = replace(
            self,
            grams=self.grams[rare],
            post_begin=np.concatenate([np.zeros(1, np.int32), np.cumsum(counts[rare])]).astype(np.int32),
            post_seg=self.post_seg[kept],
            post_place=self.post_place[kept],
            post_masked=self.post_masked[kept],
        )
        made.__dict__["template"] = self.template
        return made

    @cached_property
    def template(self) -> NDArray[np.bool_]:
        """For each position, whether its word is the wording that the items of its eval set share."""
        found = np.zeros(len(self.numbers), np.bool_)
        sets = self.items["eval_set"].rank("dense").to_numpy().astype(np.int64) - 1
        if not len(sets):
            return found
        in_often, often = self.postings_of(self.held >= TEMPLATE_ITEMS)
        plain = self.post_masked[in_often] == 0
        in_often, gram = in_often[plain], often[plain].astype(np.int64)
        owner = self.seg_item[self.post_seg[in_often]]
        count = int(sets.max()) + 1
        pairs = np.unique(gram * self.items.height + owner)
        in_set, held = np.unique(
            pairs // self.items.height * count + sets[pairs % self.items.height], return_counts=True
        )
        shared = in_set[held >= np.maximum(TEMPLATE_ITEMS, TEMPLATE_SHARE * np.bincount(sets)[in_set % count])]
        of_set = np.isin(gram * count + sets[owner], shared)
        first = self.seg_begin[self.post_seg[in_often]] + self.post_place[in_often]
        for step in range(self.width):
            found[first[of_set] + step] = True
        return found

    @cached_property
    def idf(self) -> NDArray[np.float32]:
        """ln(1 + items / segments that hold the run), for each run."""
        return np.log1p(self.items.height / np.maximum(self.held, 1)).astype(np.float32)

    @cached_property
    def run_table(self) -> Table:
        """What `kernel.look_up` needs to find runs."""
        return lookup_table(self.grams)

    @cached_property
    def wholes(self) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int64]]:
        """Distinct hashes of whole questions; their items; [hashes + 1] where the items of each begin."""
        asked = np.flatnonzero((self.seg_kind == QUESTION) & (self.sizes > 0))
        hashes, owners = self.seg_hash[asked], self.seg_item[asked]
        order = np.lexsort((owners, hashes))
        distinct, begin = np.unique(hashes[order], return_index=True)
        return distinct, owners[order], np.append(begin, len(order)).astype(np.int64)

    @cached_property
    def whole_table(self) -> Table:
        """What `kernel.look_up` needs to find whole questions."""
        return lookup_table(self.wholes[0])

    @cached_property
    def ambiguous(self) -> NDArray[np.bool_]:
        """For each item, whether another one asks the same of another passage, with other choices or answers."""
        rest = np.zeros(self.items.height, np.uint64)
        others = self.seg_kind != QUESTION
        np.add.at(rest, self.seg_item[others], self.seg_hash[others])
        asked = np.zeros(self.items.height, np.uint64)
        asked[self.seg_item[~others]] = self.seg_hash[~others]
        table = pl.DataFrame({"asked": asked, "rest": rest})
        return table.select(pl.col("rest").n_unique().over("asked") > 1).to_series().to_numpy()

    def lost(self, dropped: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """For each position, whether its word counts nothing: the eval set's shared wording, and words of dropped runs.

        Args:
            dropped: [grams], runs that do not count.
        """
        found = self.template.copy()
        counts = np.diff(self.post_begin)
        gone = np.repeat(dropped, counts) & (self.post_masked == 0)
        first = self.seg_begin[self.post_seg[gone]] + self.post_place[gone]
        for step in range(self.width):
            found[first + step] = True
        return found

    def runs_of(self, wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(postings, their runs) of the unmasked runs of some segments.

        Args:
            wanted: [segments].
        """
        postings = np.flatnonzero(wanted[self.post_seg] & (self.post_masked == 0))
        return postings, np.searchsorted(self.post_begin, postings, "right") - 1

    def weights(self, lost: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> NDArray[np.float32]:
        """What each position of some segments counts: the mean rarity of the runs over it, 0 where it is lost.

        Where no run is kept, it is the least there is.

        Args:
            lost: of `lost`.
            wanted: [segments].
        """
        postings, gram = self.runs_of(wanted)
        first = self.seg_begin[self.post_seg[postings]] + self.post_place[postings]
        rarity = self.idf[gram]
        total, runs = np.zeros(len(lost), np.float32), np.zeros(len(lost), np.uint16)
        for step in range(self.width):
            np.add.at(total, first + step, rarity)
            np.add.at(runs, first + step, np.uint16(1))
        mean = np.where(runs > 0, total / np.maximum(runs, np.uint16(1)), np.float32(np.log1p(1 / HOT_SHARE)))
        return np.where(lost, np.float32(0), mean).astype(np.float32)


def lookup_table(hashes: NDArray[np.uint64]) -> Table:
    """A filter, a directory by the top bits, how far they are shifted, and the hashes, sorted and distinct."""
    size = 1 << max(6, int(np.ceil(np.log2(max(1, len(hashes))))))  # bytes: at least eight bits a hash
    spots = hashes & np.uint64(8 * size - 1)
    bits = np.zeros(size, np.uint8)
    mask = np.uint8(1) << (spots & np.uint64(7)).astype(np.uint8)
    np.bitwise_or.at(bits, (spots >> np.uint64(3)).astype(np.int64), mask)
    top = max(1, int(np.log2(max(2, len(hashes)))) - 2)
    shift = np.uint64(64 - top)
    directory = np.zeros((1 << top) + 1, np.int32)
    np.cumsum(np.bincount((hashes >> shift).astype(np.int64), minlength=1 << top), out=directory[1:])
    return bits, directory, shift, hashes


def build_index(items: Iterable[Item], key: Key = UNKEYED) -> EvalIndex:
    """Index eval items; equal questions are an item each all the same, so that each is reported.

    Args:
        items: of any number of sets.
        key: 128 secret bits as two words; without them nobody can ask the index for a text.
    """
    from curate.contamination.kernel import item_grams, word_prints

    kept = list(items)
    texts, owner, kind = _segments(kept)
    words, numbers, offsets = word_hashes(pl.Series(texts, dtype=pl.String))
    counts = np.diff(offsets)
    keys = np.array(key, dtype=np.uint64)
    hashes = hash_runs(words, offsets[:-1], counts, keys)
    prints = np.empty(len(words), np.uint32)
    word_prints(words, offsets, hashes, keys, prints)
    room = 2 * len(words) + 1
    grams, masked = np.empty(room, np.uint64), np.empty(room, np.uint8)
    owners, places = np.empty(room, np.int32), np.empty(room, np.int32)
    used = item_grams(offsets, words, numbers, WIDTH, keys, grams, owners, places, masked)
    segments = Segments(_items(kept, owner, kind, counts), owner, kind, hashes, offsets, numbers, prints)
    return assemble(key, segments, Postings(grams[:used], owners[:used], places[:used], masked[:used]))


class Segments(NamedTuple):
    """Items and what they consist of, see `EvalIndex`."""

    items: pl.DataFrame
    item: NDArray[np.int32]
    kind: NDArray[np.uint8]
    hash: NDArray[np.uint64]
    begin: NDArray[np.int64]
    numbers: NDArray[np.uint8]
    prints: NDArray[np.uint32]


class Postings(NamedTuple):
    """Runs with the place where each stands, in any order."""

    gram: NDArray[np.uint64]
    seg: NDArray[np.int32]
    place: NDArray[np.int32]
    masked: NDArray[np.uint8]


def assemble(key: Key, segments: Segments, postings: Postings, width: int = WIDTH) -> EvalIndex:
    """An index of its parts, the postings in the order of the runs; the same for the same parts in any order."""
    order = np.lexsort((postings.place, postings.seg, postings.gram))
    order = order[_first_places(postings.gram[order], postings.seg[order])]
    grams, begin = np.unique(postings.gram[order], return_index=True)
    return EvalIndex(
        key=key,
        items=segments.items,
        seg_item=segments.item,
        seg_kind=segments.kind,
        seg_hash=segments.hash,
        seg_begin=segments.begin,
        numbers=segments.numbers,
        prints=segments.prints,
        grams=grams,
        post_begin=np.append(begin, len(order)).astype(np.int32),
        post_seg=postings.seg[order],
        post_place=postings.place[order],
        post_masked=postings.masked[order],
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
        np.concatenate([old.seg_hash, new.seg_hash]),
        np.concatenate([old.seg_begin, new.seg_begin[1:] + old.seg_begin[-1]]),
        np.concatenate([old.numbers, new.numbers]),
        np.concatenate([old.prints, new.prints]),
    )
    postings = Postings(
        np.concatenate([old.post_grams, new.post_grams]),
        np.concatenate([old.post_seg, new.post_seg + np.int32(segs)]),
        np.concatenate([old.post_place, new.post_place]),
        np.concatenate([old.post_masked, new.post_masked]),
    )
    return assemble(old.key, segments, postings, old.width)


def _segments(items: Sequence[Item]) -> tuple[list[str], NDArray[np.int32], NDArray[np.uint8]]:
    texts: list[str] = []
    owner: list[int] = []
    kind: list[int] = []
    for number, item in enumerate(items):
        texts += [item.question, *item.choices, *item.answers, *([item.passage] if item.passage else [])]
        kind += [QUESTION] + [CHOICE] * len(item.choices) + [ANSWER] * len(item.answers)
        kind += [PASSAGE] * (len(texts) - len(kind))
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
