"""TOK701 over-length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.row_tokens import estimated_tokens, row_tokens
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Need, Rule
from schemas.finding import Severity


class OverLength(Rule):
    """A row with more tokens than training takes.

    ## What it does
    Counts the tokens of each row, chat template included, and reports rows above the greatest length (`--max-length`,
    `train.max_length` of the config, or what the tokenizer of `--model` states). Without a model the count is estimated
    from the bytes of the text, four a token and four tokens around a turn; such findings say so and weigh as notes.

    ## Why
    Trainers cut such rows, most of them at the end, where the answer is, and say nothing.

    ## Known problems
    An estimate says little about a single row: code, digits and rare scripts take more tokens than prose. Packing
    several rows into one sequence is not considered.

    ## Source
    `max_length` of TRL, `sequence_len` of axolotl, `cutoff_len` of LLaMA-Factory, which cut.
    """

    code: ClassVar[str] = "TOK701"
    name: ClassVar[str] = "over-length"
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[Need | None] = Need.LENGTH
    help: ClassVar[str] = "raise the length, split the row, or shorten its context"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(Example.chat("why " * 40, "because").lines, max_length=100, template="chatml"),
        Example(Example.chat("why " * 400, "because").lines, max_length=100),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(Example.chat("why?", "because").lines, max_length=100, template="chatml"),
        Example(Example.chat("why " * 40, "because").lines, max_length=100),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that is too long."""
        settings = corpus.token_settings
        assert settings is not None
        limit, exact = settings.max_length, settings.supervisor is not None
        counts = row_tokens(corpus) if exact else estimated_tokens(corpus)
        for index, tokens in counts.filter(pl.col("tokens") > limit).select("index", "tokens").iter_rows():
            about = f"{tokens:,} tokens" if exact else f"about {tokens:,} tokens (estimated from its length)"
            evidence = {"tokens": tokens, "max_length": limit, "estimated": not exact}
            yield Hit(index, f"{about}, {limit:,} are taken", None, evidence, severity=None if exact else Severity.INFO)
