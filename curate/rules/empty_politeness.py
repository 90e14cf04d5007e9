"""QUA608 empty-politeness."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.answers import answers, each_answer, excerpt
from curate.literals import contains_literal
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

OFFERS = (
    r"(?:please )?(?:just )?let me know (?:if|when|whether|how|what)\b[^.!?\n]{0,120}"
    r"|(?:please )?(?:feel free|don'?t hesitate) to (?:ask|reach out|contact|let me know)\b[^.!?\n]{0,120}"
    r"|(?:how|what) (?:can|may|else can|would you like me to) (?:i )?(?:help|assist|do)\b[^.!?\n]{0,80}"
    r"|(?:i'?m|i am|i'?d be|i would be) (?:here|happy|glad|ready|pleased|always here|more than happy) to (?:help|assist)\b[^.!?\n]{0,80}"
    r"|is there anything(?: else)?\b[^.!?\n]{0,80}"
    r"|i hope (?:this|that) helps|hope (?:this|that) helps"
    r"|(?:lassen sie mich|lass mich) (?:bitte )?wissen\b[^.!?\n]{0,120}|wie kann ich (?:ihnen|dir) helfen\b[^.!?\n]{0,80}"
    r"|n'hésitez pas\b[^.!?\n]{0,120}|(?:en quoi|comment) puis-je (?:vous|t')\s?aider\b[^.!?\n]{0,80}"
    r"|(?:no dudes|no dude) en\b[^.!?\n]{0,120}|¿?en qué puedo ayudarte\b[^.!?\n]{0,80}|¿?cómo puedo ayudar\w*\b[^.!?\n]{0,80}"
    r"|(?:fammi|mi faccia) sapere\b[^.!?\n]{0,120}|como posso (?:ajudar|ajudá-lo)\b[^.!?\n]{0,80}"
)
OPENERS = (
    r"sure(?: thing)?|of course|certainly|absolutely|great(?: question)?|good question|no problem|happy to help|you'?re (?:very )?welcome|my pleasure|"
    r"i'?d be happy to help(?: you)?(?: with that)?|i can help(?: you)? with that|"
    r"thank you(?: for (?:asking|your question|reaching out))?|natürlich|gerne|klar|bien sûr|claro|por supuesto|certo|com certeza"
)
POLITE = re.compile(rf"(?:\s*(?:(?P<offer>{OFFERS})|(?:{OPENERS}))[\s.!?,:;\-–—)]*)+\Z", re.IGNORECASE)
LONG_PROMPT_CHARS = 400
ASKS = re.compile(
    r"[?？؟]\s*\Z|\A(?:please |bitte |por favor )?(?:write|translate|explain|give|list|make|create|generate|summari[sz]e|describe|"
    r"calculate|compute|solve|find|tell|show|name|compare|convert|classify|rewrite|draft|schreib|nenne|erkläre|übersetze|"
    r"escribe|explica|traduce|écris|explique|traduis|scrivi|spiega|escreva)\b(?!.{0,40}\bhelp)",
    re.IGNORECASE,
)
GREETING = re.compile(
    r"\b(?:thanks?|thank you|thx|hi|hello|hey|bye|goodbye|good (?:morning|evening|day|night)|ok(?:ay)?|great|cool|perfect|"
    r"awesome|how are you|nice|yes|yo|sup|danke|hallo|merci|bonjour|hola|gracias|ciao|grazie|obrigad[oa]|olá)\b",
    re.IGNORECASE,
)
MARKERS = [
    "et me know", "eel free", "esitate", "elp", "ssist", "nything else", "issen", "hésitez", "aider", "dude", "yuda",
    "sapere", "judar", "I do for you",
]  # fmt: skip


class EmptyPoliteness(Rule):
    """An assistant turn that is nothing but politeness.

    ## What it does
    Reports assistant turns of up to `max_chars` characters that hold nothing but stock openings ("Sure!", "Of course!")
    and at least one stock offer ("Let me know if you need anything else", "How can I help you?"), in six languages,
    after a prompt that asks for something: it ends in a question mark, begins with an order, or is long. Not reported
    where the user greets, thanks or agrees.

    ## Why
    The answer is missing, and the model learns that politeness is one.

    ## Known problems
    Other wordings are not found. In a customer service chat such turns may be what is wanted.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound.

    ## Source
    Reviews of public chat sets, in which the generating model answered an empty or lost prompt.
    """

    code: ClassVar[str] = "QUA608"
    name: ClassVar[str] = "empty-politeness"
    severity: ClassVar[Severity] = Severity.INFO
    help: ClassVar[str] = "write the answer, or remove the row"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Which river runs through Prague?", "Sure! Let me know if you need anything else."),
        Example.chat("Write an essay about the sea.", "You're welcome! Let me know how I can assist you."),
        Example.chat(
            "Translate this letter into French for me, please.", "Of course! I'd be happy to help. How can I help you?"
        ),
        Example.chat(
            "Wann fährt der nächste Zug nach Bonn?", "Natürlich! Lassen Sie mich wissen, wenn Sie Fragen haben."
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("Thanks a lot for that!", "Of course! Let me know if you need anything else."),
        Example.chat("Hello", "How can I help you?"),
        Example.chat(
            "Which river runs through Prague?", "Sure! It is the Vltava. Let me know if you need anything else."
        ),
        Example.chat("Is this a question?", "Sure"),
    )

    max_chars: int = Field(default=300, ge=20)
    """Longer answers are never reported."""
    min_prompt_chars: int = Field(default=20, ge=0)
    """Shorter prompts are taken for small talk."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each turn of politeness alone."""
        content = pl.col("content")
        suspects = answers(corpus).filter(
            (content.str.len_bytes() <= self.max_chars) & (pl.col("prompt").str.len_bytes() >= self.min_prompt_chars)
        )
        for index, turn, text, prompt in each_answer(suspects.filter(contains_literal(pl.col("content"), MARKERS))):
            small_talk = GREETING.search(prompt[:200]) and len(prompt) < 200
            polite = POLITE.match(text.replace("’", "'"))
            asked = len(prompt) >= LONG_PROMPT_CHARS or ASKS.search(prompt)
            if polite and polite["offer"] and asked and not small_talk:
                yield Hit(
                    index, "the assistant's turn is politeness and no answer", turn, {"said": excerpt(text)}, text[:80]
                )
