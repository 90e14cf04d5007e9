"""Both sides as one sample: each set of near-duplicates counts once, and which of its rows stands for it is chance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.keys import ANSWERING, row_keys
from curate.labels import MIN_ROWS_A_LABEL
from curate.metadata import field_values
from curate.readers.records import corpus_of_records
from curate.rows import Corpus
from curate.similar import INSTRUCTIONS
from curate.splitting import components
from evals.drift.dataset import Known
from evals.drift.new_rows import NewRows
from evals.drift.sample import Flags, Sample, generator
from evals.drift.vectors import vectors_of
from evals.references import why_none
from schemas.config import SplitConfig
from schemas.drift import RowAccount
from schemas.drift_config import DriftConfig


@dataclass(frozen=True)
class Pool:
    """A sample, and the rows behind it."""

    sample: Sample
    rows: pl.DataFrame
    """For each row of the sample `place`, `record`, `row_id`, `split`, `copies` (the new rows that it stands for),
    `unlike_known` (whether no known row is alike) and `shown`, its text for people."""
    account: RowAccount
    with_answers: bool
    """Whether the texts hold the answers."""


def pooled(known: Known, new: NewRows, config: DriftConfig, embedding: Path | None) -> Pool:
    """Join the two sides, find what is alike, and draw one row of each set.

    Args:
        known: the dataset's rows.
        new: the new ones.
        config: how many rows, which seed.
        embedding: folder of an embedding model; null for TF-IDF.

    Raises:
        UserError: the embedding model cannot be used.
    """
    table = pl.concat([known.rows, new.rows], how="diagonal")
    records = {"known": known.rows["record"].to_list(), "new": new.rows["record"].to_list()}
    corpus = corpus_of_records(records, known.reading)
    is_new = np.arange(table.height) >= known.rows.height
    alike = alike_rows(corpus, known.threshold, known.group_by)
    drawn = representatives(alike, config.seed)
    chosen = np.sort(np.concatenate([_at_most(drawn[is_new[drawn] == side], config) for side in (False, True)]))
    told = said_in(corpus)
    labels = labels_of(told["answer"].filter(pl.Series(~is_new)).drop_nulls().to_list())
    with_answers = new.answered and not labels
    if not new.answered:
        told = told.with_columns(answer=pl.when(pl.Series(~is_new)).then("answer"))
    prompt = pl.when(pl.col("prompt") != "").then("prompt").otherwise("whole")
    texts = told.select(text="whole" if with_answers else prompt)["text"].gather(chosen).to_list()
    sample = Sample(
        texts=texts,
        new=is_new[chosen],
        vectors=vectors_of(texts, embedding, config.seed),
        answers=told["answer"].gather(chosen).to_list(),
        labels=labels,
        seed=config.seed,
    )
    copies = np.bincount(alike[is_new], minlength=len(alike))
    fresh = np.bincount(alike[~is_new], minlength=len(alike)) == 0
    rows = table.with_columns(
        copies=pl.Series(copies[alike]), unlike_known=pl.Series(fresh[alike]), shown=told["shown"]
    )[chosen]
    return Pool(sample, rows, _account(new, alike, is_new, drawn, sample), with_answers)


def alike_rows(corpus: Corpus, threshold: float | None, group_by: str | None) -> NDArray[np.int64]:
    """The set that each row is of: near-duplicates, rows with the same prompt, rows of one group.

    Args:
        corpus: all rows of both sides.
        threshold: similarity from which on rows are alike; null takes the default of `curate.split`.
        group_by: metadata field; null for none.
    """
    index = corpus.rows["index"]
    groups = field_values(corpus, group_by, "data.group_by") if group_by else None
    found = components(corpus, threshold or SplitConfig().threshold, index, groups).rows
    joined = corpus.rows.select("index").join(
        found.select("index", "component"), on="index", how="left", maintain_order="left"
    )
    return joined["component"].fill_null(index.cast(pl.Int64)).to_numpy()


def representatives(alike: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Places of one row of each set, each of its rows being as likely as the others, whichever side it is of."""
    order = generator(seed, "representatives").permutation(len(alike))
    _, first = np.unique(alike[order], return_index=True)
    return np.asarray(np.sort(order[first]))


def _at_most(places: NDArray[np.int64], config: DriftConfig) -> NDArray[np.int64]:
    return generator(config.seed, "most").permutation(places)[: config.max_rows]


def labels_of(answers: list[str]) -> frozenset[str]:
    """The labels among a dataset's answers; none where these are text."""
    few = len(answers) >= MIN_ROWS_A_LABEL * len(set(answers))
    return frozenset(answers) if few and not why_none(answers) else frozenset()


def said_in(corpus: Corpus) -> pl.DataFrame:
    """What each row says, a line a row in their order.

    `whole` is all that is said, `prompt` all but the answer, `shown` all but instructions and answer; `answer` is null
    where there is none.
    """
    turns = corpus.turns.filter(pl.col("part") != "rejected")
    last = pl.int_range(pl.len()).over("index") == pl.len().over("index") - 1
    said, answers = pl.col("said"), pl.col("answers")
    turns = turns.select(
        "index",
        said=pl.col("content").fill_null(""),
        answers=last & pl.col("role").is_in(ANSWERING).fill_null(False),
        instructs=pl.col("role").is_in(INSTRUCTIONS).fill_null(False),
    )
    texts = turns.group_by("index", maintain_order=True).agg(
        whole=said.str.join("\n"),
        prompt=said.filter(~answers).str.join("\n"),
        shown=said.filter(~answers & ~pl.col("instructs")).str.join("\n"),
    )
    texts = texts.with_columns(shown=pl.when(pl.col("shown") != "").then("shown").otherwise("whole"))
    given = row_keys(corpus).select("index", answer=pl.col("answer").str.strip_chars())
    rows = corpus.rows.select("index")
    joined = rows.join(texts, on="index", how="left", maintain_order="left").fill_null("")
    return joined.join(given, on="index", how="left", maintain_order="left")


def _account(
    new: NewRows, alike: NDArray[np.int64], is_new: Flags, drawn: NDArray[np.int64], sample: Sample
) -> RowAccount:
    stands_for = dict(zip(alike[drawn].tolist(), is_new[drawn].tolist(), strict=True))
    of_new = Counter(stands_for[one] for one in alike[is_new].tolist())
    sets = int(is_new[drawn].sum())
    compared = int(sample.new.sum())
    with_known = set(alike[~is_new].tolist())
    return RowAccount(
        read=new.read,
        unreadable=new.unreadable,
        dropped=sum(new.dropped_by.values()),
        dropped_by=new.dropped_by,
        copies=of_new[True] - sets,
        known=of_new[False],
        not_drawn=sets - compared,
        compared=compared,
        like_known=sum(one in with_known for one in alike[is_new].tolist()),
        changed=new.changed,
        unreadable_at=new.unreadable_at,
    )
