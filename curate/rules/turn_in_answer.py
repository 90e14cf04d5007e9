"""QUA616 turn-in-answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.answers import answers, each_answer, without_code
from curate.literals import contains_literal
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

MARKERS = ["Human:", "User:", "HUMAN:", "USER:", "Assistant:", "ASSISTANT:", "ChatGPT:", "AI:"]
OTHERS_TURN = re.compile(r"^[ \t]*(?:#{1,4} )?(?:\*\*)?(Human|User|HUMAN|USER):(?:\*\*)?(?=\s)", re.MULTILINE)
OWN_LABEL = re.compile(r"\A\s*(?:#{1,4} )?(?:\*\*)?(Assistant|ASSISTANT|ChatGPT|AI):(?:\*\*)?(?=\s)")
ANSWERED = re.compile(r"^[ \t]*(?:#{1,4} )?(?:\*\*)?(?:Assistant|ASSISTANT|ChatGPT|AI|Bot):(?:\*\*)?\s", re.MULTILINE)
DIALOGUE = re.compile(
    r"dialog|conversation|script|chat|transcript|role[- ]?play|interview|example|prompt|(?:human|user|assistant|ai|chatgpt)\s?:|"
    r"\bstor(?:y|ies)|user (?:stor|persona|journey|flow|manual)|template|pretend|\bact as\b|simulat|\bplay\b|scene",
    re.IGNORECASE,
)


class TurnInAnswer(Rule):
    """An answer that goes on to speak for the user.

    ## What it does
    Reports assistant turns that begin with a speaker's label of their own ("Assistant:"), and those in which a line
    begins with the user's ("Human:", "User:") and a later one with the assistant's. Not reported where the prompt asks for a dialogue, an example or a
    prompt, or holds such labels itself, and not inside code.

    ## Why
    Turns were not split where they should have been. The model learns to answer, and then to ask itself the next
    question.

    ## Known problems
    Labels in other languages, and invented names, are not known.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound.

    ## Source
    The transcripts of completion models, in which `Human:` ends the answer only if it is given as a stop word.
    """

    code: ClassVar[str] = "QUA616"
    name: ClassVar[str] = "turn-in-answer"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "split the text into turns, or cut it off before the label"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Which river?", "The Vltava.\nHuman: And in Vienna?\nAssistant: The Danube."),
        Example.chat("Which river?", "Assistant: The Vltava."),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("Write a dialogue with a user", "User: Hello\nAssistant: Hi"),
        Example.chat("Which fields?", "Name: the name. Power User: a kind of user."),
        Example.chat("Log?", "```\nUser: root\n```"),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each answer with another turn in it."""
        suspects = answers(corpus).filter(contains_literal(pl.col("content"), MARKERS))
        for index, turn, text, prompt in each_answer(suspects):
            if DIALOGUE.search(prompt[:20_000]):
                continue
            found = OWN_LABEL.match(text) or self._spoken_for(without_code(text))
            if found:
                message = f"the assistant's turn holds the label of a turn: '{found[1]}:'"
                yield Hit(index, message, turn, {"label": f"{found[1]}:"}, found[1])

    @staticmethod
    def _spoken_for(text: str) -> re.Match[str] | None:
        """The label of the user, if the assistant's follows somewhere: one alone may be a heading."""
        asked = OTHERS_TURN.search(text)
        return asked if asked and ANSWERED.search(text, asked.end()) else None
