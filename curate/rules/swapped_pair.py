"""PRF906 swapped-pair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.preference import answer_pairs
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule, Scope
from schemas.finding import Severity


def _rows(*pairs: tuple[str, str, str]) -> Example:
    return Example(tuple({"prompt": prompt, "chosen": chosen, "rejected": other} for prompt, chosen, other in pairs))


class SwappedPair(Rule):
    """Two preference rows that contradict each other.

    ## What it does
    Reports rows whose prompt and two answers occur in another row the other way round; case and white space do not
    count. Both rows are reported and name each other.

    ## Why
    The two rows cancel out: whichever is wrong takes back what the other one teaches.

    ## Known problems
    Two people may have judged differently; keep both if that is what you want to model.

    ## Source
    House style; the pair of conflict for answers.
    """

    code: ClassVar[str] = "PRF906"
    name: ClassVar[str] = "swapped-pair"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.ALL
    help: ClassVar[str] = "decide which answer is better and remove the other row"
    fires: ClassVar[tuple[Example, ...]] = (
        _rows(("Where?", "Left.", "Right."), ("Where?", "Right.", "Left.")),
        _rows(("Where?", "Left.", "Right."), ("where? ", "right.", "LEFT.")),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _rows(("Where?", "Left.", "Right."), ("Where?", "Left.", "Right.")),
        _rows(("Where?", "Left.", "Right."), ("Who?", "Right.", "Left.")),
        _rows(("Where?", "Left.", "Right."), ("Where?", "Right.", "Up.")),
        _rows(("Where?", "Left.", "Left.")),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row of a contradiction."""
        keys = ["prompt_key", "chosen_key", "rejected_key"]
        tools = corpus.rows.lazy().select("index", beside=pl.col("beside").fill_null(""))
        pairs = answer_pairs(corpus).lazy().filter(pl.col("chosen_key") != pl.col("rejected_key"))
        pairs = pairs.select("index", *keys).join(tools, on="index", how="left", maintain_order="left")
        others = pairs.rename({"index": "twin", "chosen_key": "rejected_key", "rejected_key": "chosen_key"})
        others = others.unique(["beside", *keys], keep="first", maintain_order=True)
        found = pairs.join(others, on=["beside", *keys], how="inner", maintain_order="left").sort("index").collect()
        for index, twin in found.select("index", "twin").iter_rows():
            message = "another row has the same two answers the other way round"
            yield Hit(index, message, twin=twin, measure="swapped", similarity=1.0)
