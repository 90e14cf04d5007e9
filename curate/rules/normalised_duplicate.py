"""DUP202 normalised-duplicate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.rows import Corpus, row_keys
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity


class NormalisedDuplicate(Rule):
    """A row that equals an earlier one but for case, white space and Unicode form.

    ## What it does
    Compares the whole row, speakers included, in NFKC, in lower case, with single spaces. Rows that are equal as they
    stand are left to exact-duplicate.

    ## Why
    The same reasons as for exact duplicates; re-wrapped lines and changed case are the commonest ways of missing them.

    ## Known problems
    Where case carries meaning (code, passwords, chemical formulas) two different rows may be taken as one; set
    `action: keep` for such data.

    ## Source
    Unicode Standard Annex 15 (NFKC).
    """

    code: ClassVar[str] = "DUP202"
    name: ClassVar[str] = "normalised-duplicate"
    severity: ClassVar[Severity] = Severity.WARNING
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "keep one of the copies; `assay curate` keeps the first"
    fires: ClassVar[tuple[Example, ...]] = (Example(({"text": "One  two\nthree"}, {"text": "one two three "})),)
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"text": "one two"}, {"text": "one two"})),
        Example(({"text": "onetwo"}, {"text": "one two"})),
        Example(({"prompt": "a b", "completion": "c"}, {"prompt": "a", "completion": "b c"})),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that repeats an earlier one up to normalisation."""
        ids = corpus.rows.select("index", "row_id").filter(pl.col("row_id").is_first_distinct())
        texts = row_keys(corpus).join(ids, on="index", how="inner", maintain_order="left").select("index", text="full")
        copies = texts.with_columns(twin=pl.col("index").first().over("text")).filter(pl.col("index") != pl.col("twin"))
        for index, twin in copies.select("index", "twin").iter_rows():
            message = "equal to an earlier row but for case, white space or Unicode form"
            yield Hit(index, message, twin=twin, measure="normalised-equality", similarity=1.0)
