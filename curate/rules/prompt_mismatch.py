"""PRF904 prompt-mismatch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.dedup import normalise
from curate.preference import answer_pairs
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
"""How Anthropic's published pairs write a conversation into one text."""


def _pair(chosen: tuple[str, ...], rejected: tuple[str, ...]) -> Example:
    sides = [
        [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(side)]
        for side in (chosen, rejected)
    ]
    return Example(({"chosen": sides[0], "rejected": sides[1]},))


def _texts(chosen: str, rejected: str) -> Example:
    return Example(({"chosen": chosen, "rejected": rejected},))


class PromptMismatch(Rule):
    """A preference row whose two answers belong to two prompts.

    ## What it does
    Looks at what the two sides do not share: a side that still begins with a turn of the user or with instructions
    answers another prompt. In texts that spell turns as `Human:` and `Assistant:`, compares everything before the last
    answer; case and white space do not count.

    ## Why
    TRL takes what both sides share as the prompt and trains the rest, so that the user's words are learnt as an answer,
    and an answer is called worse that was given to another question.

    ## Known problems
    Two sides that begin with the same turns and differ in a later turn of the user share the prompt up to there, and
    are not reported.

    ## Source
    TRL's dataset formats, "implicit prompt" and `extract_prompt`; the HH-RLHF format of Bai et al. 2022,
    arXiv:2204.05862.
    """

    code: ClassVar[str] = "PRF904"
    name: ClassVar[str] = "prompt-mismatch"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "pair answers to one prompt, and write it once as `prompt`"
    fires: ClassVar[tuple[Example, ...]] = (
        _pair(("Where is it?", "Left."), ("Who is it?", "Ann.")),
        _pair(("Where is it?", "Left."), ("Where is it, please?", "Right.")),
        _texts("\n\nHuman: Where?\n\nAssistant: Left.", "\n\nHuman: Who?\n\nAssistant: Ann."),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _pair(("Where is it?", "Left."), ("Where is it?", "Right.")),
        _pair(("Where?", "Left.", "Sure?", "Yes."), ("Where?", "Left.", "Sure?", "No.")),
        _texts("\n\nHuman: Where?\n\nAssistant: Left.", "\n\nHuman: where? \n\nAssistant: Right."),
        _texts("Left.", "Who knows?"),
        Example(({"prompt": "Where?", "chosen": "Left.", "rejected": "Right."},)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each such row."""
        pairs = answer_pairs(corpus)
        asks = ["user", "system", "developer"]
        roles = pl.col("chosen_role").is_in(asks) | pl.col("rejected_role").is_in(asks)
        spelt = pl.all_horizontal(
            pl.col(side).str.contains(mark, literal=True)
            for side in ("chosen", "rejected")
            for mark in (HUMAN, ASSISTANT)
        )
        texts = pairs.filter(spelt.fill_null(False) & ~roles.fill_null(False)).select("index", "chosen", "rejected")
        prompts = [
            normalise(texts[side].map_elements(_asked, return_dtype=pl.String)) for side in ("chosen", "rejected")
        ]
        found = pl.concat([pairs.filter(roles).select("index"), texts.filter(prompts[0] != prompts[1]).select("index")])
        for index in found["index"].sort():
            yield Hit(index, "the chosen and the rejected answer belong to different prompts")


def _asked(text: str) -> str:
    return text.rpartition(ASSISTANT)[0]
