"""Rows as a persisted index sees them, and which of them an earlier dataset holds already.

Digests that are kept on disk must mean the same in every process and on every machine, so that they are made of
BLAKE2 over normalised text, not of the hashes that serve within one process.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curate.conflicts import ANSWERED
from curate.dedup import normalise
from curate.dedup.index import RowIndex
from curate.dedup.segments import ROWS
from curate.keys import ANSWERING
from curate.rows import Corpus
from curate.similar import comparable_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

APART = "\x1e"
"""Stands between the parts of what is hashed; normalised text holds none."""


@dataclass(frozen=True)
class Earlier:
    """An index of earlier rows, and the rows that are looked for in it."""

    index: RowIndex
    rows: pl.DataFrame
    """Of `index_rows`, as they would be published: an earlier dataset holds them redacted, too."""


def index_rows(corpus: Corpus) -> pl.DataFrame:
    """The readable rows of a corpus with the columns of `segments.ROWS`, and `index`; in parts where it is large."""
    readable = corpus.without(corpus.rows.filter(pl.col("kind").is_null())["index"])
    return readable.in_parts(lambda part: _rows_of(replace(part, spill=None, memo={})))


def _rows_of(part: Corpus) -> pl.DataFrame:
    rows = part.rows.select("index", "source", "line", "row", "row_id", "kind", "beside")
    paths = pl.Series("path", [source.path for source in part.sources], dtype=pl.String)
    keys = _row_keys(part, _turn_digests(part.turns))
    said = pl.concat_str("answer", "rejected", separator="\n", ignore_nulls=True)
    texts = comparable_texts(part).select(
        "index",
        "system",
        text=pl.concat_str("text", "rejected", separator="\n", ignore_nulls=True),
        answer=pl.when(pl.any_horizontal(pl.col("answer", "rejected").is_not_null())).then(said),
    )
    found = rows.join(keys, on="index", how="left", maintain_order="left")
    found = found.join(texts, on="index", how="left", maintain_order="left")
    asked = pl.col("kind").is_in(ANSWERED) & (pl.col("prompt") != "") & pl.col("answer_key").is_not_null()
    contradicted = found.select(pl.when(asked).then("prompt").otherwise(pl.lit("")))["prompt"]
    group = pl.concat_str(normalise(found["system"].fill_null("")), pl.col("beside").fill_null(""), separator=APART)
    return found.select(
        "index",
        **_words("content", found["full"].fill_null("")),
        **_words("prompt", contradicted),
        answer_key=pl.Series(digests(found["answer_key"].fill_null(""))[:, 0]),
        group=pl.Series(digests(found.select(group).to_series())[:, 0]),
        text="text",
        answer="answer",
        path=paths.gather(found["source"]),
        line="line",
        row="row",
        row_id="row_id",
    ).select("index", *ROWS)


def _row_keys(part: Corpus, keys: pl.Series) -> pl.DataFrame:
    """Keys of the turns before the answer, of all that a row holds, and of the answer, for each row.

    Gives `index`, `prompt`, `full` and `answer_key`; a row without turns before its answer has an empty prompt.

    Args:
        part: rows.
        keys: of each of their turns.
    """
    turns = part.turns.select("index", "turn", "part", "role", key=keys, main=pl.col("part") != "rejected")
    answers = pl.col("main") & pl.col("role").is_in(ANSWERING).fill_null(False)
    turns = turns.with_columns(last=pl.col("turn").filter(answers).max().over("index"))
    answer = pl.col("main") & (pl.col("turn") == pl.col("last"))
    asked = pl.col("main") & (pl.col("last").is_null() | (pl.col("turn") < pl.col("last")))
    found = turns.group_by("index", maintain_order=True).agg(
        prompt=pl.col("key").filter(asked).str.join(" "),
        full=pl.concat_str("part", "key", separator=" ").str.join(" "),
        answer_key=pl.col("key").filter(answer).last(),
    )
    beside = found.select("index").join(part.rows.select("index", "beside"), on="index", how="left")["beside"]
    return found.with_columns(full=pl.concat_str("full", beside.fill_null(""), separator=" "))


def _words(name: str, keys: pl.Series) -> dict[str, pl.Series]:
    found = digests(keys)
    found[(keys == "").to_numpy()] = 0
    return {f"{name}_high": pl.Series(found[:, 0]), f"{name}_low": pl.Series(found[:, 1])}


def digests(texts: Iterable[str]) -> NDArray[np.uint64]:
    """BLAKE2b digests of 128 bits as two words each, [n, 2]."""
    found = b"".join(blake2b(text.encode(), digest_size=16).digest() for text in texts)
    return np.frombuffer(found, "<u8").reshape(-1, 2).astype(np.uint64)


def _turn_digests(turns: pl.DataFrame) -> pl.Series:
    """A digest of each turn's speaker, tool calls and normalised text."""
    speaker = [pl.col(name).fill_null("") for name in ("role", "calls")]
    told = pl.concat_str(*speaker, normalise(turns["content"].fill_null("")), separator=APART)
    keys = [blake2b(text.encode(), digest_size=16).hexdigest() for text in turns.select(told).to_series()]
    return pl.Series(keys, dtype=pl.String)


def held_rows(corpus: Corpus, threshold: float) -> pl.DataFrame:
    """Rows that the earlier datasets hold: `index`, `number` (in the index), `kind`, `similarity`, by row.

    Raises:
        ValueError: the corpus has no index of earlier rows.
    """

    def compute() -> pl.DataFrame:
        rows, index = _present(corpus)
        number = index.same_content(rows)
        known = rows.select("index", "row_id", number=pl.Series(number)).filter(pl.col("number") >= 0)
        same = [index.place(row)["row_id"] == row_id for row, row_id in known.select("number", "row_id").iter_rows()]
        kinds = pl.Series(["exact" if equal else "normalised" for equal in same], dtype=pl.String)
        known = known.select("index", "number", kind=kinds, similarity=pl.lit(1.0))
        rest = rows.filter(pl.Series(number < 0))
        similar = index.similar(rest, threshold)
        similar = similar.with_columns(index=rest["index"].gather(similar["place"])).select(known.columns)
        return pl.concat([known, similar]).sort("index")

    return corpus.remembered(("held_rows", threshold), compute)


def contradicted_rows(corpus: Corpus) -> pl.DataFrame:
    """Rows that answer a prompt otherwise than an earlier dataset does: `index`, `number` (in the index), `answer`.

    Raises:
        ValueError: the corpus has no index of earlier rows.
    """
    rows, index = _present(corpus)
    number = index.other_answer(rows)
    found = rows.select("index", "answer", number=pl.Series(number)).filter(pl.col("number") >= 0)
    return found.select("index", "number", "answer")


def _present(corpus: Corpus) -> tuple[pl.DataFrame, RowIndex]:
    """The rows that are still there."""
    if corpus.earlier is None:
        raise ValueError("there is no index of earlier rows")
    there = corpus.rows.select("index")
    return corpus.earlier.rows.join(there, on="index", how="semi", maintain_order="left"), corpus.earlier.index
