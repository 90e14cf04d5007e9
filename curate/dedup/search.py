"""Duplicate search over a polars Series: hash, propose, verify, choose.

numba is imported when a search begins, not when this module is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from curate.dedup.exact import exact_hashes, normalised_hashes
from curate.dedup.lsh import Banding, candidate_pairs, distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curate.dedup.spans import Spans

Policy = Literal["longest", "first", "best"]
Progress = Callable[[str, int, int], None]

KINDS = ("exact", "normalised", "near", "template", "other-answer", "similar")
EXACT, NORMALISED, NEAR, TEMPLATE, OTHER_ANSWER, SIMILAR = range(6)

_SKETCH_BYTES = 4 << 20  # text sketched by one task
_VERIFY_PAIRS = 4096  # pairs verified by one task
_MIN_TOKENS = 8  # shorter rows are proposed by exact keys only
_SECOND_CHANCES = 4


@dataclass(frozen=True)
class Setting:
    """One point on the frontier of speed and recall.

    Attributes:
        name: what reports call it.
        banding: MinHash parameters.
        gram: 0 to decide by token alignment, or the shingle width of a plain Jaccard decision.
        threshold: similarity from which a pair is a near-duplicate, unless the caller says otherwise.
    """

    name: str
    banding: Banding
    gram: int
    threshold: float


SETTINGS = {
    "default": Setting("default", Banding(bands=24, rows=5), gram=0, threshold=0.7),
    "fast": Setting("fast", Banding(bands=8, rows=8), gram=5, threshold=0.8),
}


@dataclass(frozen=True)
class DuplicateResult:
    """What a search found. Rows are 0-based positions in the Series searched.

    Attributes:
        pairs: verified pairs, columns a < b (Int64), kind (String, one of KINDS), measure (String), similarity
            (Float64). Every row has a pair with its representative; not every pair of a large group is listed.
        representative: Int64 per row, the kept row it was dropped for; null where the row is kept.
        kind: String per row, the verdict it was dropped for; null where kept.
        similarity: Float64 per row, of the row and its representative; null where kept.
        parameters: thresholds, MinHash parameters, S-curve, kept rows against threshold, counts.
    """

    pairs: pl.DataFrame
    representative: pl.Series
    kind: pl.Series
    similarity: pl.Series
    parameters: dict[str, object] = field(default_factory=dict)


@dataclass
class _Pairs:
    """Verified pairs while they are being collected."""

    rows: NDArray[np.int64]
    kind: NDArray[np.uint8]
    similarity: NDArray[np.float64]

    def extended(self, other: _Pairs) -> _Pairs:
        return _Pairs(
            np.concatenate((self.rows, other.rows)),
            np.concatenate((self.kind, other.kind)),
            np.concatenate((self.similarity, other.similarity)),
        )

    def where(self, mask: NDArray[np.bool_]) -> _Pairs:
        return _Pairs(self.rows[mask], self.kind[mask], self.similarity[mask])


def find_duplicates(
    text: pl.Series,
    *,
    threshold: float | None = None,
    floor: float | None = None,
    policy: Policy = "longest",
    priority: pl.Series | None = None,
    order: pl.Series | None = None,
    answer: pl.Series | None = None,
    setting: str = "default",
    workers: int | None = None,
    seed: int = 1,
    progress: Progress | None = None,
) -> DuplicateResult:
    """Find exact, normalised and near duplicates and choose which rows stay.

    Args:
        text: String Series; null rows match nothing and are kept.
        threshold: similarity from which a pair is a near-duplicate; null for the setting's own.
        floor: similarity down to which pairs are listed (kind ``similar``); at most `threshold`.
        policy: which row of a group stays: ``longest``, ``first``, or ``best`` by `priority` (highest first).
        priority: numbers per row, for ``best``; nulls last.
        order: distinct integers per row that break ties (path, then line); the row number when null.
        answer: what the row teaches (the assistant's text). A pair whose answers are not themselves duplicates is
            reported as ``other-answer`` and drops nothing.
        setting: ``default`` (token alignment) or ``fast`` (Jaccard 0.8 over word 5-grams).
        workers: threads; all cores when null. The result does not depend on it.
        seed: of the permutations, as in datasketch.
        progress: called with (stage, done, total).

    Raises:
        ValueError: an unknown policy or setting, or Series of different lengths.
        TypeError: `text` is not a String Series.
    """
    chosen = _setting(setting)
    threshold = chosen.threshold if threshold is None else threshold
    floor = max(0.0, threshold - 0.1) if floor is None else min(floor, threshold)
    for other in (priority, order, answer):
        if other is not None and len(other) != len(text):
            raise ValueError(f"expected {len(text)} values beside the text, found {len(other)}")
    rank = _policy_rank(text, policy, priority, order)
    exact, leaders = _exact_groups(text, rank)
    search = _Search(text, answer, chosen, floor, workers or os.cpu_count() or 1, seed, progress)
    found = search.verified(leaders)
    found.kind[(found.kind == NEAR) & (found.similarity < threshold)] = SIMILAR
    found, representative, via = _choose(search, found, rank, threshold)
    return _result(_Outcome(exact, found, representative, via), chosen, threshold, floor, rank)


def _setting(name: str) -> Setting:
    if name not in SETTINGS:
        raise ValueError(f"unknown setting {name!r}; expected one of {', '.join(SETTINGS)}")
    return SETTINGS[name]


def _policy_rank(
    text: pl.Series, policy: Policy, priority: pl.Series | None, order: pl.Series | None
) -> NDArray[np.int64]:
    """The place of each row in the policy's order: 0 is the first to be kept."""
    n = len(text)
    tie = np.arange(n) if order is None else order.to_numpy()
    if policy == "first":
        keys: tuple[NDArray[np.generic], ...] = (tie,)
    elif policy == "longest":
        keys = (tie, -text.str.len_bytes().fill_null(0).cast(pl.Int64).to_numpy())
    elif policy == "best":
        if priority is None:
            raise ValueError("policy 'best' needs a priority for each row")
        keys = (tie, -priority.cast(pl.Float64).fill_nan(None).fill_null(-np.inf).to_numpy())
    else:
        raise ValueError(f"unknown policy {policy!r}; expected longest, first or best")
    rank = np.empty(n, dtype=np.int64)
    rank[np.lexsort(keys)] = np.arange(n)
    return rank


def _exact_groups(text: pl.Series, rank: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(leader of each row's byte-identical group [n], distinct leaders ascending); null rows lead themselves."""
    frame = exact_hashes(text).with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64), rank=pl.Series(rank))
    leader = frame.select(
        pl.when(pl.col("high").is_null())
        .then(pl.col("row"))
        .otherwise(pl.col("row").sort_by("rank").first().over("high", "low"))
    ).to_series()
    lead = leader.to_numpy().copy()
    own = lead == np.arange(len(lead))
    return lead, np.flatnonzero(own & ~text.is_null().to_numpy())


class _Search:
    """Proposes and verifies pairs of one Series."""

    def __init__(
        self,
        text: pl.Series,
        answer: pl.Series | None,
        setting: Setting,
        floor: float,
        workers: int,
        seed: int,
        progress: Progress | None,
    ) -> None:
        from curate.dedup.spans import string_spans

        self.text = text
        self.answer = answer
        self.setting = setting
        self.floor = floor
        self.workers = workers
        self.seed = seed
        self.progress = progress
        self.spans = string_spans(text)
        self.templates = pl.DataFrame(schema={"row": pl.Int64, "key": pl.UInt64})

    def verified(self, rows: NDArray[np.int64]) -> _Pairs:
        """All verified pairs among some rows."""
        sketch = self._sketch(rows)
        proposed = [_links(sketch.sequence, rows)]
        if self.setting.gram == 0:
            proposed.append(_links(sketch.masked, rows))
        enough = sketch.tokens >= _MIN_TOKENS
        proposed.append(candidate_pairs(sketch.bands[:, enough], rows[enough], self.workers))
        return self.judged(_distinct_pairs(np.concatenate(proposed)), learn_slots=True)

    def judged(self, pairs: NDArray[np.int64], learn_slots: bool = False) -> _Pairs:
        """Verify pairs, sorted by their first row; pairs below the floor are left out."""
        kind, similarity, slots = self._judge(self.spans, pairs, self.floor)
        if learn_slots:
            self.templates = _template_rows(pairs, kind, slots)
        kind[(kind == NEAR) & _same_template(pairs, self.templates)] = TEMPLATE
        self._mark_normalised(pairs, kind, similarity)
        if self.answer is not None:
            self._mark_other_answers(pairs, kind)
        return _Pairs(pairs, kind, similarity).where(kind <= SIMILAR)

    def _sketch(self, rows: NDArray[np.int64]) -> _Sketch:
        from curate.dedup.kernel import sketch_rows
        from curate.dedup.tables import permutations, tokeniser_tables

        banding, n = self.setting.banding, len(rows)
        spans = self.spans.take(rows)
        a, b = permutations(banding.num_perm, self.seed)
        tables = tokeniser_tables()
        sketch = _Sketch.empty(banding.bands, n)
        none = np.zeros((n, 0), dtype=np.uint32)

        def work(part: slice) -> None:
            outputs = (
                sketch.bands[:, part],
                sketch.sequence[part],
                sketch.masked[part],
                sketch.tokens[part],
                none[part],
            )
            sketch_rows(spans.addresses[part], spans.lengths[part], tables, a, b, banding.rows, outputs)

        self._run("sketch", work, list(_text_slices(spans)), n)
        return sketch

    def _judge(
        self, spans: Spans, pairs: NDArray[np.int64], floor: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.uint64]]:
        from curate.dedup.tables import tokeniser_tables
        from curate.dedup.verify import judge_pairs

        kind = np.zeros(len(pairs), dtype=np.uint8)
        similarity = np.zeros(len(pairs), dtype=np.float64)
        slots = np.zeros((len(pairs), 3), dtype=np.uint64)
        tables, gram = tokeniser_tables(), self.setting.gram

        def work(part: slice) -> None:
            outputs = (kind[part], similarity[part], slots[part])
            judge_pairs(spans.addresses, spans.lengths, pairs[part], tables, gram, floor, floor, outputs)

        parts = [slice(at, at + _VERIFY_PAIRS) for at in range(0, len(pairs), _VERIFY_PAIRS)]
        self._run("verify", work, parts, len(pairs))
        return kind, similarity, slots

    def _mark_normalised(
        self, pairs: NDArray[np.int64], kind: NDArray[np.uint8], similarity: NDArray[np.float64]
    ) -> None:
        """Pairs whose tokens are all equal may be equal but for case and whitespace."""
        same = np.flatnonzero(similarity == 1.0)
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
        verdict, _, _ = self._judge(string_spans(answers), local, self.floor)
        equal = (hashes[local[:, 0]] == hashes[local[:, 1]]).all(axis=1)
        kind[dropping[~equal & (verdict != NEAR)]] = OTHER_ANSWER

    def _run(self, stage: str, work: Callable[[slice], None], parts: list[slice], total: int) -> None:
        """Run tasks on threads; each writes its own part of the outputs."""
        if not parts:
            return
        with ThreadPoolExecutor(self.workers) as pool:
            for part, _ in zip(parts, pool.map(work, parts), strict=True):
                if self.progress is not None:
                    self.progress(stage, min(part.stop, total), total)


@dataclass(frozen=True)
class _Sketch:
    """What the kernel says of each row: band keys, 128-bit hash of its tokens, hash with numbers masked, tokens."""

    bands: NDArray[np.uint32]
    sequence: NDArray[np.uint64]
    masked: NDArray[np.uint64]
    tokens: NDArray[np.int32]

    @classmethod
    def empty(cls, bands: int, n: int) -> _Sketch:
        return cls(
            np.zeros((bands, n), dtype=np.uint32),
            np.zeros((n, 2), dtype=np.uint64),
            np.zeros((n, 1), dtype=np.uint64),
            np.zeros(n, dtype=np.int32),
        )


def _text_slices(spans: Spans) -> Iterator[slice]:
    """Slices of rows with about as much text each."""
    ends = np.cumsum(spans.lengths)
    start = 0
    while start < len(spans):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _SKETCH_BYTES)))
        yield slice(start, stop)
        start = stop


def _links(keys: NDArray[np.uint64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows with equal keys, linked to the first of them and to the next: linear in the rows."""
    order = np.lexsort((rows, *keys.T))
    same = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)
    opening = np.concatenate(([True], ~same)) if len(order) else np.zeros(0, dtype=np.bool_)
    head = order[opening][np.cumsum(opening) - 1] if len(order) else order
    links = np.stack((rows[head[~opening]], rows[order[~opening]]), axis=1)
    chain = np.stack((rows[order[:-1][same]], rows[order[1:][same]]), axis=1)
    return np.concatenate((links, chain))


def _distinct_pairs(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
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


def _choose(
    search: _Search, found: _Pairs, rank: NDArray[np.int64], threshold: float
) -> tuple[_Pairs, NDArray[np.int64], NDArray[np.int64]]:
    """Choose representatives; a row whose only twin was dropped is compared with that twin's representative."""
    from curate.dedup.clusters import choose_representatives

    for _ in range(_SECOND_CHANCES):
        dropping = np.flatnonzero(found.kind <= NEAR)
        strength = found.similarity[dropping] + 10.0 * (NEAR - found.kind[dropping])
        representative, via = choose_representatives(found.rows[dropping], strength, rank)
        edges = found.rows[dropping]
        both = np.concatenate((edges, edges[:, ::-1]))
        kept, dropped = representative[both[:, 0]] < 0, representative[both[:, 1]] >= 0
        more = both[kept & dropped]
        more = np.stack((more[:, 0], representative[more[:, 1]]), axis=1)
        more = _distinct_pairs(more[more[:, 0] != more[:, 1]])
        known = found.rows[:, 0] << 32 | found.rows[:, 1]
        more = more[~np.isin(more[:, 0] << 32 | more[:, 1], known)]
        if not len(more):
            break
        extra = search.judged(more)
        extra.kind[(extra.kind == NEAR) & (extra.similarity < threshold)] = SIMILAR
        if not (extra.kind <= NEAR).any():
            break
        found = found.extended(extra)
    via[via >= 0] = dropping[via[via >= 0]]
    return found, representative, via


@dataclass(frozen=True)
class _Outcome:
    """Everything the result is made of."""

    leader: NDArray[np.int64]
    found: _Pairs
    representative: NDArray[np.int64]
    via: NDArray[np.int64]


def _result(
    outcome: _Outcome, setting: Setting, threshold: float, floor: float, rank: NDArray[np.int64]
) -> DuplicateResult:
    """Frames and parameters of a search; a byte-identical copy shares its leader's verdict."""
    leader, found = outcome.leader, outcome.found
    n = len(leader)
    copy = leader != np.arange(n)
    lead_rep = outcome.representative[leader]
    representative = np.where(lead_rep >= 0, lead_rep, np.where(copy, leader, -1))
    via = outcome.via[leader]
    kind = np.where(via >= 0, found.kind[via] if len(found.kind) else 0, EXACT)
    similarity = np.where(via >= 0, found.similarity[via] if len(found.kind) else 1.0, 1.0)
    copies = np.flatnonzero(copy)
    twins = np.sort(np.stack((leader[copies], copies), axis=1), axis=1)
    pairs = found.extended(_Pairs(twins, np.zeros(len(twins), np.uint8), np.ones(len(twins))))
    names = np.array(KINDS)
    measure = f"jaccard-{setting.gram}" if setting.gram else "alignment"
    frame = pl.DataFrame(
        {"a": pairs.rows[:, 0], "b": pairs.rows[:, 1], "kind": names[pairs.kind], "similarity": pairs.similarity}
    )
    hashed = pl.col("kind").is_in(["exact", "normalised"])
    frame = frame.select(
        "a",
        "b",
        "kind",
        pl.when(hashed).then(pl.lit("hash-128")).otherwise(pl.lit(measure)).alias("measure"),
        "similarity",
    ).sort("a", "b")
    kept = pl.Series(representative < 0)
    columns = pl.DataFrame({"representative": representative, "kind": names[kind], "similarity": similarity})
    columns = columns.select(pl.when(~kept).then(pl.all()))
    parameters = _parameters(setting, threshold, floor) | {
        "rows": n,
        "kept": int(kept.sum()),
        "kept_by_threshold": _kept_curve(outcome, rank, floor),
    }
    return DuplicateResult(frame, *columns.get_columns(), parameters)


def _parameters(setting: Setting, threshold: float, floor: float) -> dict[str, object]:
    banding = setting.banding
    return {
        "setting": setting.name,
        "threshold": threshold,
        "floor": floor,
        "measure": f"jaccard-{setting.gram}" if setting.gram else "alignment",
        "num_perm": banding.num_perm,
        "bands": banding.bands,
        "rows_per_band": banding.rows,
        "scheme": "affine32",
        "s_curve": banding.s_curve(),
    }


def _kept_curve(outcome: _Outcome, rank: NDArray[np.int64], floor: float) -> list[tuple[float, int]]:
    """Rows that would stay at each threshold from the floor to 1, from the pairs verified once."""
    from curate.dedup.clusters import choose_representatives

    found = outcome.found
    copies = int((outcome.leader != np.arange(len(rank))).sum())
    curve = []
    for threshold in [step / 20 for step in range(int(np.ceil(floor * 20 - 1e-9)), 21)]:
        dropping = (found.kind <= NORMALISED) | ((found.kind == NEAR) & (found.similarity >= threshold))
        representative, _ = choose_representatives(found.rows[dropping], found.similarity[dropping], rank)
        curve.append((threshold, len(rank) - copies - int((representative >= 0).sum())))
    return curve


def similarity_components(
    result: DuplicateResult, *, threshold: float = 0.6, max_share: float = 0.05
) -> tuple[pl.Series, list[dict[str, float | int]]]:
    """Components of the verified similarity graph before anything is dropped, for leak-free splits.

    Args:
        result: of `find_duplicates` with a floor at or below `threshold`.
        threshold: pairs from this similarity connect, whatever their kind.
        max_share: components above this share of the rows are cut by a higher threshold.

    Returns:
        (Int64 per row, the smallest row number of its component; the cuts made, empty when none).
    """
    from curate.dedup.clusters import cut_components

    n = len(result.representative)
    rows = result.pairs.select("a", "b").to_numpy()
    label, cuts = cut_components(rows, result.pairs["similarity"].to_numpy(), n, threshold, max(1, int(max_share * n)))
    return pl.Series("component", label), cuts
