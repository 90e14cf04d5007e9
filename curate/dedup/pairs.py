"""Proposing and verifying pairs of rows: sketch, bucket, compare. numba is imported when a search begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curate.dedup.exact import normalised_hashes
from curate.dedup.lsh import Banding, candidate_pairs, distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curate.dedup.spans import Spans

Progress = Callable[[str, int, int], None]

KINDS = ("exact", "normalised", "near", "template", "other-answer", "similar")
EXACT, NORMALISED, NEAR, TEMPLATE, OTHER_ANSWER, SIMILAR = range(6)

_SKETCH_BYTES = 4 << 20  # text sketched by one task
_VERIFY_PAIRS = 4096  # pairs verified by one task
LARGE = 500_000
_MIN_TOKENS = 8  # shorter rows are proposed by exact keys only


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

    def __init__(
        self,
        text: pl.Series,
        answer: pl.Series | None,
        setting: Setting,
        floor: float,
        threshold: float,
        workers: int,
        seed: int,
        progress: Progress | None,
    ) -> None:
        from curate.dedup.spans import string_spans

        self.text = text
        self.answer = answer
        self.setting = setting
        self.floor = floor
        self.threshold = threshold
        self.workers = workers
        self.seed = seed
        self.progress = progress
        self.spans = string_spans(text)
        self.tokens = np.zeros(len(text), dtype=np.int64)
        self.templates = pl.DataFrame(schema={"row": pl.Int64, "key": pl.UInt64})

    def verified(self, rows: NDArray[np.int64]) -> Pairs:
        """All verified pairs among some rows."""
        sketch = self._sketch(rows)
        self.tokens[rows] = sketch.tokens
        proposed = [_links(sketch.sequence, rows)]
        if self.setting.gram == 0:
            proposed.append(_links(sketch.masked, rows))
        enough = sketch.tokens >= _MIN_TOKENS
        if enough.all():  # copying the keys of all rows would double the memory they take
            proposed.append(candidate_pairs(sketch.bands, rows, self.workers))
        else:
            proposed.append(candidate_pairs(sketch.bands[:, enough], rows[enough], self.workers))
        return self.judged(distinct_pairs(np.concatenate(proposed)), learn_slots=True)

    def judged(self, pairs: NDArray[np.int64], learn_slots: bool = False) -> Pairs:
        """Verify pairs, sorted by their first row; pairs below the floor are left out."""
        same = self._same_text(pairs)
        alike = same | self._alike_in_size(pairs)
        pairs, rest = pairs[alike], np.flatnonzero(~same[alike])
        kind, similarity = np.full(len(pairs), NORMALISED, dtype=np.uint8), np.ones(len(pairs))
        kind[rest], similarity[rest], slots = self._judge(self.spans, pairs[rest], self.floor)
        if learn_slots:
            self.templates = _template_rows(pairs[rest], kind[rest], slots)
        kind[(kind == NEAR) & _same_template(pairs, self.templates)] = TEMPLATE
        self._mark_normalised(pairs, kind, similarity)
        if self.answer is not None:
            self._mark_other_answers(pairs, kind)
        return Pairs(pairs, kind, similarity).where(kind <= SIMILAR)

    def _sketch(self, rows: NDArray[np.int64]) -> Sketch:
        from curate.dedup.tables import permutations

        banding, n = self.setting.banding_for(len(rows)), len(rows)
        spans = self.spans.take(rows)
        drawn = permutations(banding.num_perm, self.seed)
        sketch = Sketch.empty(banding.bands, n)

        def work(part: slice) -> None:
            sketch.fill(part, spans, drawn, banding.rows, words=self.setting.gram > 0)

        self._run("sketch", work, list(_text_slices(spans)), n)
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
        self, spans: Spans, pairs: NDArray[np.int64], floor: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.uint64]]:
        from curate.dedup.jaccard import judge_pairs_by_sets
        from curate.dedup.tables import pair_space, tokeniser_tables
        from curate.dedup.verify import judge_pairs

        kind = np.zeros(len(pairs), dtype=np.uint8)
        similarity = np.zeros(len(pairs), dtype=np.float64)
        slots = np.zeros((len(pairs), 3), dtype=np.uint64)
        tables = tokeniser_tables()
        verify = judge_pairs_by_sets if self.setting.gram else judge_pairs

        def work(part: slice) -> None:
            outputs = (kind[part], similarity[part], slots[part])
            space = pair_space(int(spans.lengths[pairs[part]].max()))
            verify(spans.addresses, spans.lengths, pairs[part], tables, floor, space, outputs)

        self._run("verify", work, _pair_slices(len(pairs)), len(pairs))
        return kind, similarity, slots

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

    def _mark_other_answers(self, pairs: NDArray[np.int64], kind: NDArray[np.uint8]) -> None:
        """A pair drops a row only if what the rows teach is a duplicate as well."""
        from curate.dedup.spans import string_spans

        assert self.answer is not None
        dropping = np.flatnonzero(kind <= NEAR)
        rows = np.unique(pairs[dropping])
        if not len(rows):
            return
        answers = self.answer.gather(rows)
        hashes = normalised_hashes(answers.fill_null("")).to_numpy()
        local = np.searchsorted(rows, pairs[dropping])
        verdict, similarity, _ = self._judge(string_spans(answers), local, self.threshold)
        equal = (hashes[local[:, 0]] == hashes[local[:, 1]]).all(axis=1)
        kind[dropping[~equal & ((verdict != NEAR) | (similarity < self.threshold))]] = OTHER_ANSWER

    def _run(self, stage: str, work: Callable[[slice], None], parts: list[slice], total: int) -> None:
        """Run tasks on threads; each writes its own part of the outputs."""
        if not parts:
            return
        with ThreadPoolExecutor(self.workers) as pool:
            for part, _ in zip(parts, pool.map(work, parts), strict=True):
                if self.progress is not None:
                    self.progress(stage, min(part.stop, total), total)


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
    def empty(cls, bands: int, n: int, num_perm: int = 0) -> Sketch:
        """Room for n rows, and for their signatures of `num_perm` values."""
        return cls(
            np.zeros((bands, n), dtype=np.uint32),
            np.zeros(n, dtype=np.uint64),
            np.zeros(n, dtype=np.uint64),
            np.zeros(n, dtype=np.int32),
            np.zeros((n, num_perm), dtype=np.uint32),
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
            spans: where the text of all rows is.
            drawn: the permutations, of `tables.permutations`.
            band_rows: signature values a band.
            words: sketch pairs of neighbouring words, not content words; the masked hashes stay 0.
        """
        from curate.dedup.kernel import sketch_rows
        from curate.dedup.tables import row_space, tokeniser_tables
        from curate.dedup.word_sketch import sketch_words

        outputs = (
            self.bands[:, part],
            self.sequence[part],
            self.masked[part],
            self.tokens[part],
            self.signatures[part],
        )
        lengths = spans.lengths[part]
        space = row_space(int(lengths.max()), len(drawn[0]))
        kernel = sketch_words if words else sketch_rows
        kernel(spans.addresses[part], lengths, tokeniser_tables(), *drawn, band_rows, space, outputs)


def _text_slices(spans: Spans) -> Iterator[slice]:
    """Slices of rows with about as much text each."""
    ends = np.cumsum(spans.lengths)
    start = 0
    while start < len(spans):
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


def _template_rows(pairs: NDArray[np.int64], kind: NDArray[np.uint8], slots: NDArray[np.uint64]) -> pl.DataFrame:
    """Which rows are made from which template: texts around changed regions seen with three or more fillers.

    Two copies of one text differ where one of them was edited; only a template differs in one place many times.
    """
    near = (kind == NEAR) & (slots[:, 0] != 0)
    seen = pl.DataFrame(
        {
            "row": np.concatenate((pairs[near, 0], pairs[near, 1])),
            "key": np.concatenate((slots[near, 0], slots[near, 0])),
            "filler": np.concatenate((slots[near, 1], slots[near, 2])),
        }
    )
    return seen.filter(pl.col("filler").n_unique().over("key") >= 3).select("row", "key").unique().sort("key", "row")


def _same_template(pairs: NDArray[np.int64], templates: pl.DataFrame) -> NDArray[np.bool_]:
    """Pairs whose rows are known to be made from the same template."""
    if templates.is_empty():
        return np.zeros(len(pairs), dtype=np.bool_)
    frame = pl.DataFrame({"a": pairs[:, 0], "b": pairs[:, 1], "pair": np.arange(len(pairs))})
    left = frame.join(templates, left_on="a", right_on="row")
    both = left.join(templates, left_on=["b", "key"], right_on=["row", "key"], how="semi")
    same = np.zeros(len(pairs), dtype=np.bool_)
    same[both["pair"].to_numpy()] = True
    return same


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
    for part in _text_slices(spans):
        sketch.fill(part, spans, permutations(num_perm, seed), 1)
    return sketch.signatures
