"""DUP207 prefix-duplicate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import polars as pl

from curate.conflicts import ANSWERED
from curate.keys import turn_keys
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule, Scope
from schemas.finding import Severity

PREFIX = ["beside", "turns", "high", "low"]
"""Columns that are equal where two conversations begin with the same turns."""
SEED = 207
MIN_TURNS = 2


class PrefixDuplicate(Rule):
    """A conversation that is the beginning of a longer one.

    ## What it does
    Compares conversations turn by turn, instructions included (case and white space do not count): one whose turns are
    the first turns of a longer conversation with the same tools is reported, with the longest that contains it as the
    one that stays. Conversations of one turn do not count. Each prefix is hashed once, so the cost grows with the
    number of turns.

    ## Why
    Logs often hold snapshots of one chat, one for each answer. All assistant turns are trained on, so the longest row
    teaches whatever the others do; the first answers would count as often as there are snapshots.

    ## Known problems
    Conversations whose messages have other weights (`weight`) count as different, since the longer one may not train
    what the shorter one does; so do those with other tools. Where `train.max_length` is short, the longest conversation
    loses parts of its prompts or does not fit at all; set `action: keep` there. A conflict about the shorter row's last
    answer is no longer found once the row is dropped; let conflict come first.

    ## Source
    House style; found in exports of shared chats.
    """

    code: ClassVar[str] = "DUP207"
    name: ClassVar[str] = "prefix-duplicate"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.ALL
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "keep the longest conversation; `assay curate` does"
    fires: ClassVar[tuple[Example, ...]] = (
        Example((*Example.chat("Hi", "Hello!").lines, *Example.chat("hi", "Hello!", "Where?", "There.").lines)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example((*Example.chat("Hi", "Hello!").lines, *Example.chat("Hi", "Hello!").lines)),
        Example((*Example.chat("Hi", "Hello!").lines, *Example.chat("Hi", "Hello?", "Where?", "There.").lines)),
        Example((*Example.chat("Hi").lines, *Example.chat("Hi", "Hello!").lines)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each conversation that a longer one contains."""
        prefixes = _prefixes(corpus)
        whole = prefixes.filter((pl.col("turns") == pl.col("of")) & (pl.col("turns") >= MIN_TURNS))
        longer = prefixes.filter(pl.col("turns") < pl.col("of")).join(whole, on=PREFIX, how="semi")
        holders = longer.group_by(PREFIX).agg(
            pl.col("index", "of").sort_by("of", "index", descending=[True, False]).first()
        )
        found = whole.join(holders, on=PREFIX, suffix="_of_twin").sort("index")
        for index, turns, twin, total in found.select("index", "turns", "index_of_twin", "of_of_twin").iter_rows():
            yield Hit(
                index,
                f"the first {turns:,} turns of a conversation of {total:,}",
                evidence={"turns": turns, "turns_of_twin": total},
                twin=twin,
                measure="same-prefix",
                similarity=1.0,
            )


def _prefixes(corpus: Corpus) -> pl.DataFrame:
    """Every beginning of every conversation: `index`, `of` (its turns), and the columns of PREFIX.

    The two 64-bit hashes of a prefix are sums of its turns' hashes, each times an odd random number that belongs to the
    turn's position (multilinear hashing, Dietzfelbinger 1996), so that one pass yields those of all prefixes.
    """
    rows = corpus.rows.filter(pl.col("kind").is_in(ANSWERED)).select("index", pl.col("beside").fill_null(""))
    turns = turn_keys(corpus).join(rows, on="index", maintain_order="left").select("index", "beside", "high", "low")
    turns = turns.with_columns(turns=pl.int_range(1, pl.len() + 1).over("index"), of=pl.len().over("index"))
    position = turns["turns"].to_numpy()
    start = np.arange(turns.height) + 1 - position
    factors = np.random.default_rng(SEED).integers(
        0, 1 << 64, (2, position.max(initial=0)), dtype=np.uint64
    ) | np.uint64(1)
    sums = {}
    for name, factor in zip(("high", "low"), factors, strict=True):
        running = np.concatenate((np.zeros(1, np.uint64), np.cumsum(turns[name].to_numpy() * factor[position - 1])))
        sums[name] = running[1:] - running[start]
    return turns.select("index", "beside", "turns", "of").with_columns(
        **{name: pl.Series(v) for name, v in sums.items()}
    )
