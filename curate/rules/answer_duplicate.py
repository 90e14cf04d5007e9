"""DUP206 answer-duplicate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.keys import row_keys
from curate.repeats import with_repeats
from curate.representatives import RepresentativeRule
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Scope
from schemas.finding import Severity

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
WORD = rf"[{UNSPACED}]|[^\s{UNSPACED}]+"
"""One word; in scripts that are written without spaces, one character."""
REFUSAL = (
    "I am sorry, but as a language model I can neither open links nor look at pages, so please paste the text here "
    "and ask me again."
)


class AnswerDuplicate(RepresentativeRule):
    """A long answer that another row gives to a different prompt.

    ## What it does
    Groups rows by their last answer (case and white space do not count) where it has at least `min_words` words, so
    that labels and "yes" never count. Reports every row whose prompt differs from that of the group's representative;
    rows with the same prompt are copies of it and left to the rules for whole rows. In scripts without spaces every
    character counts as a word.

    ## Why
    One text as the answer to many prompts is boilerplate: a refusal, an apology, a template that was not filled in. The
    model learns to say it whatever is asked.

    ## Known problems
    Paraphrased prompts with one good answer are reported too, and so are tasks in which long answers repeat by right
    (quotations, standard clauses). That is why the rows are kept unless you say otherwise.

    ## Source
    House style.
    """

    code: ClassVar[str] = "DUP206"
    name: ClassVar[str] = "answer-duplicate"
    severity: ClassVar[Severity] = Severity.INFO
    scope: ClassVar[Scope] = Scope.ALL
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "read the answer: rewrite or drop it where it is boilerplate (`action: drop` keeps one row)"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            (
                {"prompt": "What does example.org say?", "completion": REFUSAL},
                {"prompt": "Sum up this page.", "completion": REFUSAL.upper()},
            )
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": "Is it spam?", "completion": "yes"}, {"prompt": "Is it ham?", "completion": "yes"})),
        Example(
            (
                {"prompt": "Sum up this page.", "completion": REFUSAL},
                {"prompt": "sum up  this page.", "completion": REFUSAL},
            )
        ),
        Example(({"text": REFUSAL}, {"text": REFUSAL})),
    )

    min_words: int = Field(default=20, ge=1)
    """Words from which on an answer counts."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that gives its representative's answer to another prompt."""
        shared = (
            with_repeats(row_keys(corpus).drop_nulls("prompt"), "answer_key")
            .filter(pl.col("prompt").n_unique().over("answer_key") > 1)
            .filter(pl.col("answer").str.count_matches(WORD) >= self.min_words)
            .select("index", "prompt", group="answer_key")
            .with_columns(rows=pl.len().over("group"), prompts=pl.col("prompt").n_unique().over("group"))
        )
        prompts = shared.select("index", "prompt")
        found = (
            self.twins(shared.select("index", "group"), corpus)
            .join(shared, on="index", how="left", maintain_order="left")
            .join(prompts, left_on="twin", right_on="index", how="left", suffix="_of_twin", maintain_order="left")
            .filter(pl.col("prompt") != pl.col("prompt_of_twin"))
        )
        for index, twin, rows, asked in found.select("index", "twin", "rows", "prompts").iter_rows():
            yield Hit(
                index,
                f"{rows:,} rows give this answer to {asked:,} prompts",
                evidence={"rows": rows, "prompts": asked},
                twin=twin,
                measure="same-answer",
                similarity=1.0,
            )
