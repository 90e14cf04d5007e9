"""DUP205 prompt-duplicate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.conflicts import ANSWERED, conflicting_rows
from curate.keys import row_keys
from curate.repeats import with_repeats
from curate.representatives import SimilarityRule
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Scope
from schemas.finding import Severity


class PromptDuplicate(SimilarityRule):
    """A row that asks what another row asks, and is neither its copy nor in conflict with it about a label.

    ## What it does
    Groups rows of one kind with the same tools by their prompt (all turns before the last answer; case and white space
    do not count): preference and feedback rows, rows with a prompt only, free-text answers. One row of each group is
    the representative, every other one is reported. A row gets one verdict: copies are left to exact-duplicate,
    normalised-duplicate and near-duplicate, labels that contradict each other (as in conflict) to conflict. With
    `action: drop` one row of each prompt stays, whether or not the others are copies; labels in conflict are never
    dropped.

    ## Why
    A prompt that comes many times weighs as many times, and what looks like many examples is one question. Where
    several answers to a prompt are wanted, as for preferences, that is as it should be: rows are kept unless you say
    otherwise.

    ## Known problems
    Copies are told apart as the rules for them do by default; if you give `policy`, `threshold` or `setting` to
    near-duplicate, give them to this rule too (`rules: {duplicate: {...}}` reaches all). The same holds for
    `label_chars` of conflict.

    ## Source
    House style; the verdicts by role follow the parts of a row that are trained on.
    """

    code: ClassVar[str] = "DUP205"
    name: ClassVar[str] = "prompt-duplicate"
    severity: ClassVar[Severity] = Severity.INFO
    scope: ClassVar[Scope] = Scope.ALL
    waits: ClassVar[bool] = True
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "nothing, if several answers to one prompt are wanted; otherwise keep one with `action: drop`"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            (
                {"prompt": "Name a colour.", "completion": "Blue, as the sky over the sea at noon."},
                {"prompt": "name a  colour.", "completion": "Perhaps red; it is warm and easy to see from far away."},
            )
        ),
        Example(
            (
                {"prompt": "Why?", "chosen": "Because.", "rejected": "No."},
                {"prompt": "Why?", "chosen": "Because.", "rejected": "Never."},
            )
        ),
        Example(
            (
                {"prompt": "2+2?", "completion": "4", "label": True},
                {"prompt": "2+2?", "completion": "5", "label": False},
            )
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": "2+2?", "completion": "4"}, {"prompt": "2+2?", "completion": "5"})),
        Example(({"prompt": "2+2?", "completion": "4"}, {"prompt": "2+2? ", "completion": "4"})),
        Example(({"prompt": "2+2?", "chosen": "4", "rejected": "5"}, {"prompt": "2+2?", "completion": "4"})),
        Example(({"text": "a"}, {"text": "b"})),
    )

    label_chars: int = Field(default=32, ge=1)
    """Answers up to this length count as labels, as in conflict."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that asks what its representative asks."""
        asked = self._asked(corpus)
        if self.effective_action is not Action.DROP:
            asked = self._without_copies(corpus, asked)
        rows = dict(asked.select("index", "rows").iter_rows())
        for index, twin in self.twins(asked.select("index", "group"), corpus).iter_rows():
            yield Hit(
                index,
                "the same prompt as another row",
                evidence={"rows": rows[index]},
                twin=twin,
                measure="same-prompt",
                similarity=1.0,
            )

    def _asked(self, corpus: Corpus) -> pl.DataFrame:
        """Rows whose prompt is repeated, less labels in conflict: `index`, `full`, `group`, `rows` (of the group)."""
        answered = pl.col("kind").is_in(ANSWERED)
        about = corpus.rows.select(
            "index",
            kind=pl.when(answered).then(pl.lit("answered")).otherwise(pl.col("kind")),
            # What stands beside the turns belongs to the question (tools), but for a verdict on the answer.
            tools=pl.when(pl.col("kind") != "feedback").then(pl.col("beside")).fill_null(""),
        )
        labelled = conflicting_rows(corpus, self.label_chars).filter("labels")
        return (
            with_repeats(row_keys(corpus).drop_nulls("prompt"), "prompt")
            .join(labelled, on="index", how="anti", maintain_order="left")
            .join(about, on="index", how="left", maintain_order="left")
            .select("index", "full", group=pl.concat_str("kind", "tools", "prompt", separator=" "))
            .with_columns(rows=pl.len().over("group"))
            .filter(pl.col("rows") > 1)
        )

    def _without_copies(self, corpus: Corpus, asked: pl.DataFrame) -> pl.DataFrame:
        """The rows that no rule for whole rows reports, in groups of at least two."""
        several = pl.len().over("group") > 1
        worse = self.twins(asked.select("index", group="full"), corpus)
        asked = asked.filter(pl.col("full").is_first_distinct())
        asked = asked.join(worse, on="index", how="anti", maintain_order="left").filter(several)
        if asked.is_empty():  # the search takes long: only where it can matter
            return asked
        near = self.similar(corpus).dropped
        return asked.join(near, on="index", how="anti", maintain_order="left").filter(several)
