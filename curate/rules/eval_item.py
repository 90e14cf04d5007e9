"""LEK401 eval-item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.contamination.ngrams import eval_prompts, words_only
from curate.findings import twin_of
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity


class EvalItem(Rule):
    """A row with a turn that is the question of an eval item.

    ## What it does
    Compares every turn of a row with what each eval item asks; case, punctuation and white space do not count.
    Questions of fewer than `min_words` words are left out.

    ## Why
    A model trained on the questions it is judged by gets a score that says nothing.

    ## Known problems
    A question that many people ask in the same words ("what is the capital of France") is reported; it is a question of
    the eval nonetheless.

    ## Source
    Brown et al. 2020, arXiv:2005.14165, appendix C, for matching on normalised words.
    """

    code: ClassVar[str] = "LEK401"
    name: ClassVar[str] = "eval-item"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "remove the row from training; `assay curate` drops it"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            ({"prompt": "how many  legs have six spiders", "completion": "48"},),
            evals=({"question": "How many legs have six spiders?", "answer": "48"},),
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(
            ({"prompt": "How many legs have five spiders?", "completion": "40"},),
            evals=({"question": "How many legs have six spiders?", "answer": "48"},),
        ),
        Example(({"prompt": "Hi!", "completion": "Hello."},), evals=({"prompt": "hi", "completion": "Hey."},)),
    )

    min_words: int = Field(default=3, ge=1)
    """Shorter questions are not compared."""

    def idle_reason(self, corpus: Corpus) -> str | None:
        """Without eval items there is nothing to compare with."""
        return "no eval items were given (--against, data.evals)" if corpus.evals is None else None

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each turn that asks what an eval item asks."""
        if corpus.evals is None:
            return
        asked = eval_prompts(corpus.evals)
        wanted = (
            asked.select("item", key=words_only(asked["text"]))
            .filter(pl.col("key").str.count_matches(" ") + 1 >= self.min_words)
            .unique("key", keep="first", maintain_order=True)
        )
        turns = corpus.turns.filter(pl.col("content").is_not_null())
        said = turns.select("index", "turn", key=words_only(turns["content"]))
        for index, turn, item in (
            said.join(wanted, on="key", how="inner", maintain_order="left").select("index", "turn", "item").iter_rows()
        ):
            evidence = {"twin": twin_of(corpus.evals, item), "measure": "same-question", "similarity": 1.0}
            place = evidence["twin"]
            message = f"the turn is the question of an eval item ({_address(place)})"
            yield Hit(index, message, turn, evidence, detail=str(corpus.evals.place(item).row_id))


def _address(place: object) -> str:
    assert isinstance(place, dict)
    return f"{place['path']}:{place['line']}" if place["line"] else f"{place['path']}, row {place['row']}"
