"""What makes turns and rows equal up to normalisation: hashes of 128 bits, and for rows a number for each hash.

Hashes mean something within one corpus and one process only, numbers within one corpus. A number takes four bytes where
a key spelt out would take more than a short row itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.dedup import normalised_hashes
from curate.rows import Corpus

LANES = ("high", "low")
ANSWERING = ("assistant", "reference", "text")
"""Roles whose last turn is the answer."""
BESIDE = np.int64(-1)
"""The place of what stands beside the turns, which have places from 0 on."""

Hashes = dict[str, NDArray[np.uint64]]
"""The two halves of 128-bit hashes, by LANES."""


def row_keys(corpus: Corpus) -> pl.DataFrame:
    """Which rows are equal up to normalisation: `index`, `prompt`, `full`, `answer_key`, and `answer` as it stands.

    `answer` is what the last assistant turn says (or the completion, the chosen answer, the reference, the plain text),
    `prompt` stands for all turns before it, `full` for the whole content: all turns, the rejected answer, and what
    stands beside the turns. The three are numbers (UInt32), equal where the texts are; null without such a turn.
    """

    def whole() -> pl.DataFrame:
        large = corpus.is_large
        keyed = corpus.turns.with_columns(turn_keys(corpus).select(LANES))
        found = replace(corpus, turns=keyed, memo={}).in_parts(_row_hashes)
        numbers = (_numbers(found, name, large) for name in ("prompt", "full", "answer"))
        return corpus.stored(found.select("index", "answer").with_columns(numbers))

    return corpus.remembered("row_keys", whole)


def turn_keys(corpus: Corpus) -> pl.DataFrame:
    """What makes turns equal up to normalisation: `index`, and the hash `high`, `low`, in the order of the turns.

    The hash is made of the normalised text, the speaker and the tool calls, so that moving text from one speaker to
    another makes another hash.
    """
    large = corpus.is_large

    def compute(part: Corpus) -> pl.DataFrame:
        content, role, calls = (part.turns[name] for name in ("content", "role", "calls"))
        said = _compiled_keys(content) if large else normalised_hashes(content.fill_null(""))
        about = [role.fill_null("")] + ([calls.fill_null("")] if calls.null_count() < calls.len() else [])
        hashes = {lane: said[lane].to_numpy() for lane in LANES}
        for place, column in enumerate(about, 1):
            hashes = {lane: _mixed(hashes[lane] + column.hash(n).to_numpy(), place) for n, lane in enumerate(LANES)}
        return pl.DataFrame(hashes)

    def whole() -> pl.DataFrame:
        return corpus.turns.select("index").hstack(corpus.in_parts(compute))

    return corpus.remembered("turn_keys", whole)


def _compiled_keys(text: pl.Series) -> pl.DataFrame:
    from curate.dedup.text_keys import text_keys

    return text_keys(text)


def _row_hashes(part: Corpus) -> pl.DataFrame:
    """The hashes of prompt, full content and answer of each row that has turns, whether it has them, and `answer`.

    A hash of several turns is the sum of those of the turns, each mixed with its place.
    """
    turns = part.turns
    index, turn = turns["index"].to_numpy(), turns["turn"].to_numpy()
    starts = np.flatnonzero(np.append(True, index[1:] != index[:-1])[: len(index)])
    row = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(index))))
    main = (turns["part"] != "rejected").to_numpy()
    answers = main & turns["role"].is_in(ANSWERING).fill_null(False).to_numpy()

    def over_rows(function: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
        return function.reduceat(values, starts) if len(starts) else values[:0]

    last = over_rows(np.maximum, np.where(answers, turn, -1))[row]
    asked, place = main & ((last < 0) | (turn < last)), np.arange(len(index)) - starts[row]
    before: NDArray[np.int64] = np.cumsum(asked) - asked
    answer = over_rows(np.maximum, np.where(main & (turn == last), np.arange(len(index)), -1))
    columns: Hashes = {}
    for lane, beside in _beside(part, index[starts]).items():
        key = turns[lane].to_numpy()
        parts = key + turns["part"].hash(LANES.index(lane)).to_numpy()
        columns[f"prompt_{lane}"] = over_rows(np.add, np.where(asked, _mixed(key, before - before[starts][row]), 0))
        columns[f"full_{lane}"] = over_rows(np.add, _mixed(parts, place)) + beside
        columns[f"answer_{lane}"] = key[answer]
    answered = answer >= 0
    has = {"has_prompt": over_rows(np.logical_or, asked), "has_full": answered | True, "has_answer": answered}
    said = turns["content"].gather(pl.Series(answer).replace(-1, None))
    return pl.DataFrame({"index": index[starts], **columns, **has, "answer": said})


def _beside(part: Corpus, index: NDArray[np.uint32]) -> Hashes:
    """A hash of what stands beside the turns of these rows."""
    places = np.searchsorted(part.rows["index"].to_numpy(), index)
    beside = part.rows["beside"].gather(places).fill_null("")
    return {lane: _mixed(beside.hash(number).to_numpy(), BESIDE) for number, lane in enumerate(LANES)}


def _mixed(values: NDArray[np.uint64], place: NDArray[np.int64] | np.int64 | int) -> NDArray[np.uint64]:
    """Hashes of values at their places (the finaliser of SplitMix64, Steele, Lea and Flood, OOPSLA 2014)."""
    value = values + np.asarray(place).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
    mixed: NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed


def _numbers(found: pl.DataFrame, name: str, large: bool) -> pl.Series:
    """For each row the first one with an equal hash, UInt32; null where there is nothing that was hashed."""
    high, low = (found[f"{name}_{lane}"].to_numpy() for lane in LANES)
    rows = np.arange(len(low))
    if large:
        from curate.dedup.repeats import rows_of_repeated

        rows = rows_of_repeated(low)
    rows = rows[np.lexsort((high[rows], low[rows]))]
    opening = np.append(True, (high[rows[1:]] != high[rows[:-1]]) | (low[rows[1:]] != low[rows[:-1]]))[: len(rows)]
    number = np.arange(len(low), dtype=np.uint32)
    if len(rows):
        number[rows] = rows[opening][np.cumsum(opening) - 1]
    present = pl.when(found[f"has_{name}"]).then(pl.Series(number))
    return pl.select(present).to_series().alias("answer_key" if name == "answer" else name)
