"""All pairs across splits with at least a given Jaccard similarity, found exactly and without MinHash.

This is the independent check of a split. It shares no code with the search that built the split: its own
tokens (a regular expression over NFKC lower-case text), its own unit (sets of word pairs) and its own
method, a prefix-filter join: two sets can only reach Jaccard t if they share an element among the
``n - ceil(t * n) + 1`` first ones of each in any fixed order, and the order used puts the elements that are
rarest on the smaller side first (Chaudhuri, Ganti and Kaushik, ICDE 2006; Bayardo, Ma and Srikant, WWW 2007).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

# One character of a script written without spaces, or one word of any other script.
_UNSPACED = r"\u{0e00}-\u{0fff}\u{1000}-\u{109f}\u{1780}-\u{17ff}\u{3040}-\u{30ff}\u{3400}-\u{4dbf}\u{4e00}-\u{9fff}"
_WORDS = rf"[{_UNSPACED}]|[\pL\pM\pN_--{_UNSPACED}]+"
_CHUNK_ROWS = 16_384
_HASH_BITS = 64 - 14  # a chunk's row numbers and the hashes are sorted together in 64 bits
_EXPANSION = 4_000_000  # posting entries expanded at a time
_KEPT_BYTES = 2 << 30  # text whose sets are kept for the next check
_KNOWN_BITS = 24
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Sets:
    """Sets of hashes, one a row: `values[starts[i]:starts[i + 1]]`, distinct within the row and ascending."""

    values: NDArray[np.uint64]
    starts: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Elements of each set."""
        return np.diff(self.starts)

    def take(self, rows: NDArray[np.int64]) -> Sets:
        """The sets of some rows, in the order given."""
        sizes = self.sizes[rows]
        ends = np.cumsum(sizes)
        source = np.arange(int(sizes.sum())) + np.repeat(self.starts[rows] - (ends - sizes), sizes)
        return Sets(self.values[source], np.concatenate(([0], ends)))


def word_pair_sets(text: pl.Series) -> Sets:
    """The set of neighbouring word pairs of each row (at most 16,384 rows); one word alone is the set of that word.

    Elements are 50-bit hashes.
    """
    plain = text.fill_null("")
    beyond = plain.str.len_bytes() != plain.str.len_chars()
    if beyond.any():
        plain = plain.clone().scatter(beyond.arg_true(), plain.filter(beyond).str.normalize("NFKC"))
    found = plain.str.to_lowercase().str.extract_all(_WORDS)
    counts = found.list.len().to_numpy().astype(np.int64)
    # A list without elements explodes to one null.
    hashes = found.filter(pl.Series(counts > 0)).explode().hash(0).to_numpy()
    rows = np.repeat(np.arange(len(text), dtype=np.uint64), counts)
    first = np.zeros(len(rows), dtype=np.bool_)
    first[(np.cumsum(counts) - counts)[counts > 0]] = True
    alone = first & (counts[rows] == 1)
    previous = np.roll(hashes, 1)
    pairs = np.where(alone, hashes, (previous ^ (previous >> np.uint64(31))) * _MULTIPLIER + hashes)
    pairs = (pairs ^ (pairs >> np.uint64(29))) * _MULTIPLIER
    made = alone | ~first
    entries = _distinct(rows[made] << np.uint64(_HASH_BITS) | pairs[made] >> np.uint64(64 - _HASH_BITS))
    sizes = np.bincount((entries >> np.uint64(_HASH_BITS)).astype(np.int64), minlength=len(text))
    return Sets(entries & np.uint64((1 << _HASH_BITS) - 1), np.concatenate(([0], np.cumsum(sizes))))


def _distinct(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The distinct values, ascending (sorting is much faster here than numpy's hash-based `unique`)."""
    values = np.sort(values)
    return values[np.concatenate(([True], values[1:] != values[:-1]))] if len(values) else values


class Checker:
    """Checks splits of one text column; what it learns about the text serves the next check."""

    def __init__(self, text: pl.Series) -> None:
        self.text = text
        small = int(text.str.len_bytes().sum() or 0) <= _KEPT_BYTES
        self._kept: dict[int, Sets] | None = {} if small else None

    def chunks(self) -> Iterator[tuple[NDArray[np.int64], Sets]]:
        """Row numbers and sets of the rows, chunk by chunk."""
        for start in range(0, len(self.text), _CHUNK_ROWS):
            rows = np.arange(start, min(len(self.text), start + _CHUNK_ROWS))
            sets = None if self._kept is None else self._kept.get(start)
            if sets is None:
                sets = word_pair_sets(self.text.slice(start, len(rows)))
            if self._kept is not None:
                self._kept[start] = sets
            yield rows, sets

    def cross_pairs(self, splits: pl.Series, thresholds: NDArray[np.float64]) -> pl.DataFrame:
        """Every pair of rows in different splits whose Jaccard similarity reaches both rows' thresholds.

        Args:
            splits: name of each row's split [n].
            thresholds: least similarity that counts, per row [n]; a pair counts from the higher of its two.

        Returns:
            Columns a < b (row numbers), similarity; sorted by a, b. Rows without a word pair with nothing.
        """
        names, split = np.unique(splits.to_numpy().astype(str), return_inverse=True)
        if len(names) < 2:
            return pl.DataFrame(schema={"a": pl.Int64, "b": pl.Int64, "similarity": pl.Float64})
        outside = split != int(np.argmax(np.bincount(split)))
        held = [sets.take(np.flatnonzero(outside[rows])) for rows, sets in self.chunks()]
        sizes = np.concatenate([sets.sizes for sets in held])
        merged = Sets(np.concatenate([sets.values for sets in held]), np.concatenate(([0], np.cumsum(sizes))))
        index = _Index(np.flatnonzero(outside), merged, thresholds, split)
        found = [index.matches(rows, sets) for rows, sets in self.chunks()]
        frame = pl.concat([pl.DataFrame({"a": a, "b": b, "similarity": s}) for a, b, s in found])
        pair = (pl.min_horizontal("a", "b").alias("a"), pl.max_horizontal("a", "b").alias("b"))
        # A pair of two rows outside the largest split is found from both sides.
        return frame.select(*pair, "similarity").unique(["a", "b"]).sort("a", "b")


class _Index:
    """An inverted index over the prefixes of the sets outside the largest split."""

    def __init__(
        self, rows: NDArray[np.int64], sets: Sets, thresholds: NDArray[np.float64], split: NDArray[np.int64]
    ) -> None:
        self.rows, self.sets, self.thresholds, self.split = rows, sets, thresholds, split
        self.elements = _distinct(sets.values)
        place = np.searchsorted(self.elements, sets.values)
        self.frequency = np.bincount(place, minlength=len(self.elements))
        self.known = np.zeros(1 << _KNOWN_BITS, dtype=np.bool_)
        self.known[self.elements >> np.uint64(_HASH_BITS - _KNOWN_BITS)] = True
        owner = np.repeat(np.arange(len(rows)), sets.sizes)
        inside = self._prefix(owner, sets.sizes, place, thresholds[rows])
        order = np.lexsort((owner[inside], place[inside]))
        self.posted = owner[inside][order]
        counts = np.bincount(place[inside], minlength=len(self.elements))
        self.posting_starts = np.concatenate(([0], np.cumsum(counts)))

    def _places(self, values: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Where elements stand in the index, -1 for unknown ones."""
        place = np.full(len(values), -1, dtype=np.int64)
        maybe = np.flatnonzero(self.known[values >> np.uint64(_HASH_BITS - _KNOWN_BITS)])
        at = np.minimum(np.searchsorted(self.elements, values[maybe]), len(self.elements) - 1)
        hit = self.elements[at] == values[maybe]
        place[maybe[hit]] = at[hit]
        return place

    def _prefix(
        self,
        owner: NDArray[np.int64],
        sizes: NDArray[np.int64],
        place: NDArray[np.int64],
        thresholds: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """Entries within the prefix of their set in the order (unknown elements, then by frequency)."""
        frequency = np.where(place < 0, 0, self.frequency[place]) if len(self.elements) else place
        order = np.lexsort((place, frequency, owner))
        starts = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=len(sizes)))))
        rank = np.empty(len(owner), dtype=np.int64)
        rank[order] = np.arange(len(owner)) - starts[owner[order]]
        keep = sizes - np.ceil(thresholds * sizes - 1e-9).astype(np.int64) + 1
        return np.flatnonzero(rank < keep[owner])

    def matches(
        self, rows: NDArray[np.int64], sets: Sets
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Pairs (row of the chunk, row of the index, similarity) in different splits."""
        nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
        if not len(self.elements) or not len(sets.values):
            return nothing
        owner = np.repeat(np.arange(len(rows)), sets.sizes)
        place = self._places(sets.values)
        # A row with too few elements in the index reaches its threshold with no row of the index.
        known = np.bincount(owner[place >= 0], minlength=len(rows))
        hopeful = (known >= np.ceil(self.thresholds[rows] * sets.sizes - 1e-9)) & (sets.sizes > 0)
        place = place[hopeful[owner]]
        rows, sets = rows[hopeful], sets.take(np.flatnonzero(hopeful))
        owner = np.repeat(np.arange(len(rows)), sets.sizes)
        inside = self._prefix(owner, sets.sizes, place, self.thresholds[rows])
        inside = inside[place[inside] >= 0]
        found = [self._compared(owner[part], place[part], rows, sets) for part in self._parts(inside, place)]
        if not found:
            return nothing
        a, b, similarity = (np.concatenate([part[column] for part in found]) for column in range(3))
        distinct = np.unique(a * np.int64(len(self.split)) + b, return_index=True)[1]
        return a[distinct], b[distinct], similarity[distinct]

    def _parts(self, inside: NDArray[np.int64], place: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Prefix entries, cut so that their posting lists together stay within the memory bound."""
        lengths = np.cumsum(np.diff(self.posting_starts)[place[inside]])
        if not len(lengths):
            return []
        return np.split(inside, np.flatnonzero(np.diff(lengths // _EXPANSION)) + 1)

    def _compared(
        self, owner: NDArray[np.int64], place: NDArray[np.int64], rows: NDArray[np.int64], sets: Sets
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Exact similarity of the pairs that some prefix entries propose."""
        starts, ends = self.posting_starts[place], self.posting_starts[place + 1]
        lengths = ends - starts
        shift = np.repeat(starts - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
        partner = self.posted[np.arange(int(lengths.sum())) + shift]
        across = self.split[rows[np.repeat(owner, lengths)]] != self.split[self.rows[partner]]
        pairs = (np.repeat(owner, lengths) * np.int64(len(self.rows)) + partner)[across]
        left, right = np.divmod(_distinct(pairs.astype(np.uint64)).astype(np.int64), np.int64(len(self.rows)))
        least = np.maximum(self.thresholds[rows[left]], self.thresholds[self.rows[right]])
        size_left, size_right = sets.sizes[left], self.sets.sizes[right]
        possible = np.minimum(size_left, size_right) >= least * np.maximum(size_left, size_right) - 1e-9
        left, right, least = left[possible], right[possible], least[possible]
        shared = _shared(sets, left, self.sets, right)
        similarity = shared / (sets.sizes[left] + self.sets.sizes[right] - shared)
        good = similarity >= least - 1e-9
        return rows[left[good]], self.rows[right[good]], similarity[good]


def _shared(one: Sets, left: NDArray[np.int64], other: Sets, right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sizes of the intersections of pairs of sets, some thousand pairs at a time."""
    shared = np.zeros(len(left), dtype=np.int64)
    for start in range(0, len(left), 2048):
        part = slice(start, start + 2048)
        mine, theirs = one.take(left[part]), other.take(right[part])
        entries = [
            np.repeat(np.arange(len(sets.sizes), dtype=np.uint64), sets.sizes) << np.uint64(_HASH_BITS) | sets.values
            for sets in (mine, theirs)
        ]
        both = np.intersect1d(entries[0], entries[1], assume_unique=True)
        pair = (both >> np.uint64(_HASH_BITS)).astype(np.int64)
        shared[part] = np.bincount(pair, minlength=len(mine.sizes))
    return shared
