"""TOK704 answer-truncated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.row_tokens import row_tokens
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Need, Rule
from schemas.finding import Severity


class AnswerTruncated(Rule):
    """A row whose answer does not survive the length limit.

    ## What it does
    Reports rows that are over the greatest length and lose tokens of their answers when they are cut. Rows that fit
    once their prompt is shortened, as `assay train` shortens it, are reported for trainers that cut the end; rows whose
    answers are too long by themselves fit with no trainer and weigh as errors.

    ## Why
    An answer that stops in the middle teaches the model to stop in the middle; where the whole answer is cut off, the
    row teaches nothing.

    ## Known problems
    A trainer that drops long rows instead of cutting them has another problem: rows that nobody sees.

    ## Source
    `truncation_mode` of TRL (`keep_start` by default).
    """

    code: ClassVar[str] = "TOK704"
    name: ClassVar[str] = "answer-truncated"
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[Need | None] = Need.MODEL
    help: ClassVar[str] = "raise the length, shorten the context, or drop the row"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(Example.chat("why " * 40, "because").lines, max_length=100, template="chatml"),
        Example(Example.chat("why?", "because " * 40).lines, max_length=100, template="chatml"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(Example.chat("why?", "because").lines, max_length=100, template="chatml"),
        Example(Example.chat("why?", "because " * 40).lines, template="chatml"),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that loses a part of its answers."""
        settings = corpus.token_settings
        assert settings is not None
        lossy = row_tokens(corpus).filter(pl.col("kept") < pl.col("supervised"))
        for index, tokens, supervised, kept, fits in lossy.select(
            "index", "tokens", "supervised", "kept", "answer_fits"
        ).iter_rows():
            evidence = {"tokens": tokens, "supervised_tokens": supervised, "kept_tokens": kept, "answer_fits": fits}
            what = f"cut at {settings.max_length:,} tokens, {kept:,} of its {supervised:,} answer tokens are left"
            message = what if fits else f"{what}, and the answer is too long even without its prompt"
            yield Hit(index, message, None, evidence, severity=None if fits else Severity.ERROR)
