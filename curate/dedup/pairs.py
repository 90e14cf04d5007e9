"""Proposing and verifying pairs of rows: sketch, bucket, compare. numba is imported when a search begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import polars as pl

from curate.dedup.ahead import Ahead
from curate.dedup.exact import normalised_hashes
from curate.dedup.kinds import NEAR, NORMALISED, OTHER_ANSWER, SIMILAR, TEMPLATE
from curate.dedup.lsh import Banding, candidate_pairs, distinct
from curate.dedup.slots import Places, Slots
from curate.spill import stored, zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curate.dedup.spans import Spans
    from curate.spill import Spill

Progress = Callable[[str, int, int], None]
T = TypeVar("T")


_SKETCH_BYTES = 4 << 20  # text sketched by one task
_VERIFY_PAIRS = 4096  # pairs verified by one task
LARGE = 500_000
MIN_TOKENS = 8  # shorter rows are proposed by exact keys only
EDITED_REGIONS = 3  # rows that differ in so many places, slots aside, are edited copies
EDITED_ANSWER = 6  # tokens from which on their answers may be edited as well
ANSWER_SLACK = 0.1  # edits of a row may have met its answer more than the rest


@dataclass(frozen=True)
class Setting:
    """One point on the frontier of speed and recall.

    Attributes:
        name: what reports call it.
        banding: MinHash parameters.
        large: MinHash parameters from LARGE rows on, with longer bands: pairs of unrelated rows that share a band by
            chance grow with the square of the rows.
        gram: 0 to decide by token alignment, or the shingle width of a plain Jaccard decision.
        threshold: similarity from which a pair is a near-duplicate, unless the caller says otherwise.
    """

    name: str
    banding: Banding
    large: Banding
    gram: int
    threshold: float

    def banding_for(self, rows: int) -> Banding:
        """The MinHash parameters for a search among so many distinct rows."""
        return self.banding if rows < LARGE else self.large


SETTINGS = {
    "default": Setting("default", Banding(bands=32, rows=5), Banding(bands=26, rows=6), gram=0, threshold=0.7),
    "fast": Setting("fast", Banding(bands=8, rows=5), Banding(bands=10, rows=6), gram=5, threshold=0.8),
}


@dataclass
class Pairs:
    """Verified pairs while they are being collected: rows [p, 2], number of their kind [p], similarity [p]."""

    rows: NDArray[np.int64]
    kind: NDArray[np.uint8]
    similarity: NDArray[np.float64]

    @classmethod
    def empty(cls) -> Pairs:
        """No pairs."""
        return cls(np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.float64))

    def extended(self, other: Pairs) -> Pairs:
        """These pairs, then others."""
        return Pairs(
            np.concatenate((self.rows, other.rows)),
            np.concatenate((self.kind, other.kind)),
            np.concatenate((self.similarity, other.similarity)),
        )

    def where(self, mask: NDArray[np.bool_]) -> Pairs:
        """The pairs a mask selects."""
        return Pairs(self.rows[mask], self.kind[mask], self.similarity[mask])


class PairSearch:
    """Proposes and verifies pairs of one Series."""

    def __init__(  # noqa: PLR0913 - what `find_duplicates` was asked
        self,
        text: pl.Series,
        answer: pl.Series | None,
        setting: Setting,
        floor: float,
        threshold: float,
        workers: int,
        seed: int,
        progress: Progress | None,
        *,
        spill: Spill | None = None,
    ) -> None:
        from curate.dedup.spans import Spans, string_spans

        self.text = text
        self.answer = answer
        self.setting = setting
        self.floor = floor
        self.threshold = threshold
        self.workers = workers
        self.seed = seed
        self.progress = progress
        self.ahead = None if setting.gram else Ahead()
        self.spill = spill
        spans = string_spans(text)
        self.spans = Spans(stored(spans.addresses, spill), stored(spans.lengths, spill), spans.owner)
        self.tokens = zeros((len(text),), "i4", spill)
        self.slots: Slots | None = None

    def verified(self, rows: NDArray[np.int64]) -> Pairs:
        """All verified pairs among some rows."""
        return self.judged(self._proposed(rows))

    def _proposed(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pairs of rows with equal tokens, or that share a band key."""
        sketch = self._sketch(rows)
        self.tokens[rows] = sketch.tokens
        proposed = [_links(sketch.sequence, rows)]
        if self.setting.gram == 0:
            proposed.append(_links(sketch.masked, rows))
        proposed.append(candidate_pairs(sketch.bands, rows, self.workers, sketch.tokens >= MIN_TOKENS))
        return distinct_pairs(np.concatenate(proposed))

    def judged(self, pairs: NDArray[np.int64]) -> Pairs:
        """Verify pairs, sorted by their first row; pairs below the floor are left out.

        What the first pairs that are judged say of slots is used for later ones as well.
        """
        same = self._same_text(pairs)
        alike = same | self._alike_in_size(pairs)
        pairs, rest = pairs[alike], np.flatnonzero(~same[alike])
        kind, similarity = np.full(len(pairs), NORMALISED, dtype=np.uint8), np.ones(len(pairs))
        regions = np.zeros(len(pairs), dtype=np.int64)
        kind[rest], similarity[rest], regions[rest], places = self._judge(self.spans, pairs[rest], self.floor)
        if self.slots is None:
            self.slots = Slots.learned(pairs[rest], kind[rest], places)
        kind[rest[self.slots.filled(pairs[rest], kind[rest], places)]] = TEMPLATE
        self._mark_normalised(pairs, kind, similarity)
        if self.answer is not None:
            self._mark_other_answers(pairs, kind, regions)
        return Pairs(pairs, kind, similarity).where(kind <= SIMILAR)

    def _sketch(self, rows: NDArray[np.int64]) -> Sketch:
        from curate.dedup.tables import permutations

        banding, n = self.setting.banding_for(len(rows)), len(rows)
        drawn = permutations(banding.num_perm, self.seed)
        sketch = Sketch.empty(banding.bands, n, spill=self.spill)

        def work(part: slice) -> None:
            sketch.fill(part, self.spans.take(rows[part]), drawn, banding.rows, words=self.setting.gram > 0)

        self._run("sketch", work, list(text_slices(self.spans.lengths[rows])), n)
        return sketch

    def _same_text(self, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        from curate.dedup.same_text import same_text

        same = np.zeros(len(pairs), dtype=np.bool_)

        def work(part: slice) -> None:
            same_text(self.spans.addresses, self.spans.lengths, pairs[part], same[part])

        self._run("compare", work, _pair_slices(len(pairs)), len(pairs))
        return same

    def _alike_in_size(self, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Pairs whose similarity may reach the floor: no more tokens match than the shorter row has."""
        if self.setting.gram:
            return np.ones(len(pairs), dtype=np.bool_)
        tokens = self.tokens[pairs]
        alike: NDArray[np.bool_] = tokens.min(axis=1) >= self.floor * tokens.max(axis=1)
        return alike

    def _judge(
        self, spans: Spans, pairs: NDArray[np.int64], floor: float, least: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64], Places]:
        """Verdict, similarity and number of changed regions of each pair, and the places of the regions."""
        from curate.dedup.jaccard import judge_pairs_by_sets
        from curate.dedup.tables import pair_space, tokeniser_tables
        from curate.dedup.verify import PLACE, PLACES, judge_pairs

        if self.ahead is not None:
            self.ahead.wait()
        kind = np.zeros(len(pairs), dtype=np.uint8)
        similarity = np.zeros(len(pairs), dtype=np.float64)
        regions = np.zeros(len(pairs), dtype=np.int64)
        tables = tokeniser_tables()

        def work(part: slice) -> Places:
            space = pair_space(int(spans.lengths[pairs[part]].max()))
            if self.setting.gram and least is None:
                judge_pairs_by_sets(
                    spans.addresses, spans.lengths, pairs[part], tables, floor, space, (kind[part], similarity[part])
                )
                return Places.empty()
            found = np.zeros((len(kind[part]), PLACES, PLACE), dtype=np.uint64)
            outputs = (kind[part], similarity[part], regions[part], found)
            shortest = np.zeros(0, dtype=np.int64) if least is None else least[part]
            judge_pairs(spans.addresses, spans.lengths, pairs[part], tables, floor, shortest, space, outputs)
            return Places.of_changes(part.start, kind[part], regions[part], found)

        places = self._run("verify", work, _pair_slices(len(pairs)), len(pairs))
        return kind, similarity, regions, Places.joined(places)

    def _mark_normalised(
        self, pairs: NDArray[np.int64], kind: NDArray[np.uint8], similarity: NDArray[np.float64]
    ) -> None:
        """Pairs whose tokens are all equal may be equal but for case and whitespace."""
        same = np.flatnonzero((similarity == 1.0) & (kind != NORMALISED))
        rows = np.unique(pairs[same])
        hashes = normalised_hashes(self.text.gather(rows)).to_numpy()
        left, right = (hashes[np.searchsorted(rows, pairs[same, side])] for side in (0, 1))
        equal = same[(left == right).all(axis=1)] if len(same) else same
        kind[equal] = NORMALISED

    def _mark_other_answers(
        self, pairs: NDArray[np.int64], kind: NDArray[np.uint8], regions: NDArray[np.int64]
    ) -> None:
        """A pair drops a row only if what the rows teach is a duplicate as well.

        A short answer must be the same, unless the rows differ in so many places that they are edited copies.
        """
        from curate.dedup.spans import string_spans
        from curate.dedup.verify import SHORT_ROW

        assert self.answer is not None
        dropping = np.flatnonzero(kind <= NEAR)
        rows = np.unique(pairs[dropping])
        if not len(rows):
            return
        answers = self.answer.gather(rows)
        hashes = normalised_hashes(answers.fill_null("")).to_numpy()
        local = np.searchsorted(rows, pairs[dropping])
        least = np.where(regions[dropping] >= EDITED_REGIONS, EDITED_ANSWER, SHORT_ROW)
        verdict, _, _, _ = self._judge(string_spans(answers), local, self.threshold - ANSWER_SLACK, least)
        equal = (hashes[local[:, 0]] == hashes[local[:, 1]]).all(axis=1)
        kind[dropping[~equal & (verdict != NEAR)]] = OTHER_ANSWER

    def _run(self, stage: str, work: Callable[[slice], T], parts: list[slice], total: int) -> list[T]:
        """Run tasks on threads, each on its own part of the outputs; what they return, in order."""
        returned: list[T] = []
        if not parts:
            return returned
        with ThreadPoolExecutor(self.workers) as pool:
            for part, value in zip(parts, pool.map(work, parts), strict=True):
                returned.append(value)
                if self.progress is not None:
                    self.progress(stage, min(part.stop, total), total)
        return returned


@dataclass(frozen=True)
class Sketch:
    """What the kernel says of each row: band keys, hash of its tokens, the same with numbers masked, tokens.

    Signatures take much room and are kept where they are asked for: [n, num_perm], otherwise [n, 0].
    """

    bands: NDArray[np.uint32]
    sequence: NDArray[np.uint64]
    masked: NDArray[np.uint64]
    tokens: NDArray[np.int32]
    signatures: NDArray[np.uint32]

    @classmethod
    def empty(cls, bands: int, n: int, num_perm: int = 0, spill: Spill | None = None) -> Sketch:
        """Room for n rows, and for their signatures of `num_perm` values; with a spill, on disk."""
        return cls(
            zeros((bands, n), "u4", spill),
            zeros((n,), "u8", spill),
            zeros((n,), "u8", spill),
            zeros((n,), "i4", spill),
            zeros((n, num_perm), "u4", spill),
        )

    def fill(
        self,
        part: slice,
        spans: Spans,
        drawn: tuple[NDArray[np.uint32], NDArray[np.uint32]],
        band_rows: int,
        words: bool = False,
    ) -> None:
        """Tokenise and sketch some rows.

        Args:
            part: which rows.
            spans: where the text of these rows is.
            drawn: the permutations, of `tables.permutations`.
            band_rows: signature values a band.
            words: sketch pairs of neighbouring words, not content words; the masked hashes stay 0.
        """
        from curate.dedup.kernel import sketch_rows
        from curate.dedup.tables import row_space, tokeniser_tables
        from curate.dedup.word_sketch import sketch_words

        outputs = (
            self.bands,  # whole: a slice of it would be of another type, and compiled apart
            self.sequence[part],
            self.masked[part],
            self.tokens[part],
            self.signatures[part],
            part.start,
        )
        space = row_space(int(spans.lengths.max()), len(drawn[0]))
        kernel = sketch_words if words else sketch_rows
        kernel(spans.addresses, spans.lengths, tokeniser_tables(), *drawn, band_rows, space, outputs)


def text_slices(lengths: NDArray[np.int64]) -> Iterator[slice]:
    """Slices of rows with about as much text each, from the bytes of each row."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(ends):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _SKETCH_BYTES)))
        yield slice(start, stop)
        start = stop


def _pair_slices(count: int) -> list[slice]:
    return [slice(at, at + _VERIFY_PAIRS) for at in range(0, count, _VERIFY_PAIRS)]


def _links(keys: NDArray[np.uint64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows with equal keys, linked to the first of them and to the next: linear in the rows."""
    from curate.dedup.repeats import rows_of_repeated

    some = rows_of_repeated(keys)
    keys, rows = keys[some], rows[some]
    order = np.argsort(keys, kind="stable")
    same = keys[order[1:]] == keys[order[:-1]]
    opening = np.concatenate(([True], ~same)) if len(order) else np.zeros(0, dtype=np.bool_)
    head = order[opening][np.cumsum(opening) - 1] if len(order) else order
    links = np.stack((rows[head[~opening]], rows[order[~opening]]), axis=1)
    chain = np.stack((rows[order[:-1][same]], rows[order[1:][same]]), axis=1)
    return np.concatenate((links, chain))


def distinct_pairs(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of row numbers (below 2**32) as first < second, distinct, sorted."""
    packed = distinct((pairs.min(axis=1) << 32 | pairs.max(axis=1)).astype(np.uint64)).astype(np.int64)
    return np.stack((packed >> 32, packed & 0xFFFFFFFF), axis=1)


def sketch_signatures(text: pl.Series, *, num_perm: int = 128, seed: int = 1) -> NDArray[np.uint32]:
    """MinHash signatures in datasketch's ``affine32`` scheme, for its LSH indexes and storages.

    Args:
        text: String Series; rows without a token, and nulls, get the signature of the empty set.
        num_perm: values a signature.
        seed: of the permutations; datasketch objects made from the values need the same.

    Returns:
        uint32 [n, num_perm]; `MinHash(num_perm, seed, hashvalues=row, scheme="affine32")` takes a row as it is.
    """
    from curate.dedup.spans import string_spans
    from curate.dedup.tables import permutations

    spans = string_spans(text)
    sketch = Sketch.empty(0, len(text), num_perm)
    for part in text_slices(spans.lengths):
        sketch.fill(part, spans.take(part), permutations(num_perm, seed), 1)
    return sketch.signatures
