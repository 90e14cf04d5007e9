"""TOK705 double-start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

import polars as pl

from curate.row_tokens import TRAINED_KINDS
from curate.rows import Corpus
from curate.rules.base import Example, FileHit, Hit, Need, Rule, Scope
from schemas.finding import Severity


class DoubleStart(Rule):
    """A chat template and a tokenizer that both write the token a text begins with.

    ## What it does
    Reports the file if the template of `--model` begins with the special token that its tokenizer puts before every
    text by itself, such as `<s>`. Rows that contain the token are another rule's.

    ## Why
    Whoever renders rows first and tokenises the text afterwards with default settings trains on two of them, and the
    model then sees one in use.

    ## Known problems
    The fault only exists for trainers that add special tokens to rendered text; `assay train` does not.

    ## Source
    `add_special_tokens` of transformers' tokenizers, and its warning in the documentation of chat templates.
    """

    code: ClassVar[str] = "TOK705"
    name: ClassVar[str] = "double-start"
    severity: ClassVar[Severity] = Severity.INFO
    scope: ClassVar[Scope] = Scope.FILE
    needs: ClassVar[Need | None] = Need.MODEL
    help: ClassVar[str] = "tokenise rendered text with `add_special_tokens=False`"
    fires: ClassVar[tuple[Example, ...]] = (Example(Example.chat("Hi", "Hello").lines, template="started"),)
    silent: ClassVar[tuple[Example, ...]] = (Example(Example.chat("Hi", "Hello").lines, template="chatml"),)

    def find(self, corpus: Corpus) -> Iterable[Hit]:
        """Nothing: the fault is no row's."""
        return ()

    def find_in_files(self, corpus: Corpus) -> Iterator[FileHit]:
        """One hit for each file with rows that a template renders."""
        assert corpus.token_settings is not None
        supervisor = corpus.token_settings.supervisor
        assert supervisor is not None
        start = supervisor.added_start
        if not start or not supervisor.prompt([{"role": "user", "content": "a"}]).startswith(start):
            return
        rendered = corpus.rows.filter(pl.col("kind").is_in(TRAINED_KINDS))["source"].unique().sort()
        for source in rendered:
            message = f"the chat template writes {start} and so does the tokenizer: rows would begin with it twice"
            yield FileHit(source, None, message, {"token": start})
