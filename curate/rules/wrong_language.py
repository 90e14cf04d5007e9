"""QUA611 wrong-language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.answers import answers
from curate.language import ENOUGH_WORDS, english_words, languages
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

SAME_ENGLISH = 2
"""English function words in the prompt and in the answer from which on the two are taken for English without a look."""
ASKED = re.compile(
    r"translat|language|tradu|überset|vertaal|перев[её]|перекла|翻译|翻譯|翻訳|번역|ترجم|अनुवाद|çevir|tłumacz|"
    r"\b(?:in|into|to|auf|en|em|in|на) (?:[a-z]{0,12} )?(?:[A-Z]?(?:english|spanish|french|german|italian|portuguese|dutch|russian|ukrainian|"
    r"polish|chinese|mandarin|japanese|korean|arabic|hebrew|hindi|turkish|vietnamese|indonesian|swedish|danish|"
    r"norwegian|finnish|greek|czech|hungarian|romanian|latin|persian|farsi|thai|bengali|urdu|tamil)|"
    r"englisch|deutsch|französisch|spanisch|inglés|español|francés|anglais|français|espagnol|allemand|inglês|"
    r"português|inglese|italiano|английск|русск|испанск)|"
    r"英文|英语|英語|日本語|中文|汉语|韩语|영어|한국어|\b(?:english|spanish|french|german|italian|portuguese|russian|chinese|japanese|"
    r"korean|arabic|hindi|turkish|dutch|latin)\b",
    re.IGNORECASE,
)
ALIKE = (
    {"hr", "bs", "sr", "sl", "mk"}, {"no", "da", "sv"}, {"id", "ms", "jv", "su"}, {"es", "gl", "pt", "ca", "ast"},
    {"cs", "sk"}, {"ru", "uk", "be", "bg"}, {"nl", "af"}, {"hi", "mr", "ne"}, {"fa", "ps", "ckb", "ku"}, {"ar", "ur"},
    {"it", "co", "la"}, {"fr", "oc"}, {"de", "lb"}, {"en", "sco"}, {"tr", "az"}, {"zh", "ja"},
)  # fmt: skip
"""Languages that short texts do not tell apart."""


class WrongLanguage(Rule):
    """An answer in another language than its prompt.

    ## What it does
    Compares the language of the last user turn with that of the answer: Compact Language Detector 2 on the first 400
    characters, without code and addresses. Fires only where both texts have `min_chars` characters, both languages are
    certain, they are not easily confused (such as Danish and Norwegian), and the prompt neither names a language nor
    asks for a translation.

    ## Why
    The tuned model answers in the wrong language. It is the most frequent fault of sets that were translated by machine
    in part.

    ## Known problems
    Prompts that hold foreign material to work on ("summarise this: ...") are judged by the language at their beginning.
    A system prompt or an earlier turn that asks for another language is looked for in the system turn only.
    English prompts about a foreign text and lessons without the word "language" are reported.

    ## Source
    CLD2, the detector of the Chromium browser, through pycld2 (Apache-2.0).
    """

    code: ClassVar[str] = "QUA611"
    name: ClassVar[str] = "wrong-language"
    severity: ClassVar[Severity] = Severity.INFO
    help: ClassVar[str] = "answer in the language of the prompt, or say in the prompt which language is wanted"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat(
            "Warum ist der Himmel am Abend rot und am Mittag blau? Bitte erkläre es mir ganz einfach.",
            "The sky is blue because air scatters short waves of light more than it does long ones.",
        ),
        Example.chat(
            "Why is the sky red in the evening and blue at noon? Please explain it to me in simple words.",
            "Небо голубое, потому что воздух рассеивает короткие волны света сильнее, чем длинные.",
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat(
            "Warum ist der Himmel am Abend rot und am Mittag blau? Bitte erkläre es mir ganz einfach.",
            "Weil die Luft kurze Wellen des Lichts stärker streut als lange, und am Abend ist der Weg länger.",
        ),
        Example.chat(
            "Please translate this into German for me: the sky is blue because air scatters short waves of light.",
            "Der Himmel ist blau, weil die Luft kurze Wellen des Lichts stärker streut als die langen Wellen.",
        ),
        Example.chat("Ist diese Nachricht Spam oder nicht? Antworte mit einem Wort und mit nichts anderem.", "spam"),
        Example.chat(
            "Schreibe mir bitte eine kurze Funktion, die den Mittelwert einer Liste von Zahlen berechnet.",
            "```python\ndef mean(values: list[float]) -> float:\n    return sum(values) / len(values)\n```",
        ),
    )

    min_chars: int = Field(default=40, ge=10)
    """Least length of the prompt and of the answer; for Chinese, Japanese and Korean a third of it is enough."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each answer in another language."""
        long = [pl.col(name).str.len_bytes() >= self.min_chars for name in ("prompt", "content")]
        pairs = answers(corpus).filter(pl.all_horizontal(long))
        words = [english_words(pairs[name]) for name in ("prompt", "content")]
        same = (words[0] >= SAME_ENGLISH) & (words[1] >= SAME_ENGLISH)
        pairs = pairs.filter(~(same | (words[0] >= ENOUGH_WORDS) & (words[1] >= ENOUGH_WORDS)))
        told = pairs.with_columns(answer=languages(pairs["content"])).filter(pl.col("answer").is_not_null())
        told = told.with_columns(asked=languages(told["prompt"])).filter(pl.col("asked") != pl.col("answer"))
        system = dict(
            corpus.turns.filter((pl.col("role") == "system") & pl.col("index").is_in(told["index"].implode()))
            .select("index", "content")
            .iter_rows()
        )
        for index, turn, prompt, asked, answer in told.select("index", "turn", "prompt", "asked", "answer").iter_rows():
            if any(asked in group and answer in group for group in ALIKE):
                continue
            if not ASKED.search(prompt[:4000]) and not ASKED.search((system.get(index) or "")[:4000]):
                message = f"the prompt is in {asked!r}, the answer in {answer!r}"
                yield Hit(index, message, turn, {"prompt": asked, "answer": answer}, f"{asked} {answer}")
