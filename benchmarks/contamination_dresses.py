"""How an eval item may stand in a training row: as it is, in other case, wrapped, embedded, edited, rewritten."""

from __future__ import annotations

import random
import re
import string
import textwrap
from collections.abc import Callable
from typing import Any

from benchmarks.dedup_corpus import Editor

Record = dict[str, Any]
SYNONYMS = {
    "how": "what", "many": "several", "the": "this", "a": "one", "is": "was", "are": "were", "and": "plus",
    "of": "from", "to": "toward", "in": "within", "he": "they", "she": "they", "for": "on", "each": "every",
    "if": "when",
    "which": "what", "has": "had", "have": "had", "does": "did", "his": "their", "her": "their", "with": "using",
}  # fmt: skip
_NUMBER = re.compile(r"(?<![\w^.])\d+(?!\w)")
_WORD = re.compile(r"[^\W\d_]{3,}")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def question_of(item: Record) -> str:
    """What the item asks, without passage and choices."""
    return str(item.get("question") or item.get("prompt"))


def answer_of(item: Record) -> str:
    """What the item wants to hear."""
    if "choices" in item:
        return str(item["choices"]["ABCD".index(item["answer"])])
    return str(item.get("answer") or item.get("canonical_solution"))


class Dresser:
    """Puts items into rows; every choice comes from one random generator."""

    def __init__(self, rng: random.Random, filler: list[str]) -> None:
        self.rng = rng
        self.filler = filler
        words = [word for text in filler for word in text.split() if re.fullmatch("[a-z]{4,}", word)]
        self.editor = Editor(rng, words, [])

    def asked(self, item: Record, question: str | None = None, choices: list[str] | None = None, mark: str = "") -> str:
        """The whole prompt: passage, question, lettered choices."""
        text = question_of(item) if question is None else question
        options = item.get("choices") if choices is None else choices
        if item.get("passage"):
            text = f"{item['passage']}\n\n{text}"
        if options:
            mark = mark or self.rng.choice(("{}. ", "{}) ", "({}) "))
            text += "\n" + "\n".join(mark.format("ABCD"[at]) + option for at, option in enumerate(options))
        return text

    def row(self, prompt: str, answer: str) -> Record:
        """A row of any kind with this prompt and this answer."""
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        match self.rng.randrange(6):
            case 0:
                return {"prompt": prompt, "completion": answer}
            case 1:
                return {"prompt": prompt, "chosen": answer, "rejected": self.rng.choice(self.filler)}
            case 2:
                return {"text": f"{prompt}\n\n{answer}"}
            case 3:
                before = self.rng.sample(self.filler, 2)
                earlier = [{"role": "user", "content": before[0]}, {"role": "assistant", "content": before[1]}]
                return {"messages": earlier + turns}
            case _:
                return {"messages": turns}

    def said(self, item: Record) -> str:
        """The answer in one of the ways in which models give it."""
        answer = answer_of(item)
        if "choices" in item:
            letter = item["answer"]
            return self.rng.choice((letter, f"The answer is ({letter}).", f"{letter}. {answer}", answer))
        return self.rng.choice((answer, answer, f"I think it is this: {answer}"))


def verbatim(dresser: Dresser, item: Record) -> Record | None:
    """The prompt as it stands."""
    return dresser.row(dresser.asked(item), dresser.said(item))


def recased(dresser: Dresser, item: Record) -> Record | None:
    """Other case and other space."""
    text = dresser.asked(item)
    return dresser.row(dresser.editor.respaced(dresser.editor.recased(text)), dresser.said(item))


def wrapped(dresser: Dresser, item: Record) -> Record | None:
    """Hard line breaks, quote marks, or labels around it."""
    text, rng = dresser.asked(item), dresser.rng
    how = rng.randrange(4)
    if how == 0:
        text = "\n".join(textwrap.fill(line, rng.randrange(20, 60)) for line in text.split("\n"))
    elif how == 1:
        text = "\n".join(f"> {line}" for line in textwrap.fill(text, 50).split("\n"))
    elif how == 2:
        text = f"Question: {text}\nAnswer:"
    else:
        text = f'Please answer this question.\n\n"{text}"\n\nThink step by step.'
    return dresser.row(text, dresser.said(item))


def embedded(dresser: Dresser, item: Record) -> Record | None:
    """In the middle of real text, on its own line or within a paragraph."""
    before, after = dresser.rng.sample(dresser.filler, 2)
    gap = dresser.rng.choice(("\n\n", " "))
    return dresser.row(f"{before}{gap}{dresser.asked(item)}{gap}{after}", dresser.said(item))


def edited(rate: float) -> Callable[[Dresser, Record], Record | None]:
    """A share of the question's words replaced, inserted, deleted, swapped or misspelt; items of ten words or more."""

    def dress(dresser: Dresser, item: Record) -> Record | None:
        question, rng = question_of(item), dresser.rng
        if _UNSPACED.search(question):
            marks = list(question)
            for at in rng.sample(range(len(marks)), max(1, round(rate * len(marks)))):
                marks[at] = rng.choice("\u7684\u4e00\u662f\u4e0d\u4e86\u4eba\u6211\u5728\u6709")
            return dresser.row(dresser.asked(item, "".join(marks)), dresser.said(item)) if len(marks) >= 15 else None
        words = question.split()
        if len(words) < 10:
            return None
        if rng.random() < 0.5:
            changed = dresser.editor.edited(question, rate, "mixed")
        else:
            for at in rng.sample(range(len(words)), max(1, round(rate * len(words)))):
                word = words[at].lower()
                words[at] = SYNONYMS.get(word, rng.choice(dresser.editor.vocabulary))
            changed = " ".join(words)
        return dresser.row(dresser.asked(item, changed), dresser.said(item)) if changed != question else None

    return dress


def renumbered(dresser: Dresser, item: Record) -> Record | None:
    """Other numbers, and so another answer."""
    question = question_of(item)
    if "choices" in item or len(question.split()) < 10 or "canonical_solution" in item:
        return None
    told = item.get("passage", "")
    if not _NUMBER.search(question + told):
        return None

    def other(match: re.Match[str]) -> str:
        return str(int(match[0]) + dresser.rng.randrange(1, 50))

    changed = item | {"passage": _NUMBER.sub(other, told)} if told else item
    answer = _NUMBER.sub(other, answer_of(item))
    return dresser.row(dresser.asked(changed, _NUMBER.sub(other, question)), answer)


def shuffled(dresser: Dresser, item: Record) -> Record | None:
    """Choices in another order, with other letters."""
    if "choices" not in item:
        return None
    order = list(item["choices"])
    while order == item["choices"]:
        dresser.rng.shuffle(order)
    marks = dresser.rng.choice(("1234", "abcd", "ABCD", "PQRS", "----"))
    text = question_of(item) + "".join(
        f"\n{mark}{dresser.rng.choice(') . :'.split())} {option}" for mark, option in zip(marks, order, strict=True)
    )
    at = order.index(answer_of(item))
    return dresser.row(text, dresser.rng.choice((marks[at], f"{marks[at]}) {order[at]}", order[at])))


def marked_up(dresser: Dresser, item: Record) -> Record | None:
    """Markdown or HTML around words, LaTeX around numbers, or LaTeX written out."""
    text, rng = dresser.asked(item), dresser.rng
    if "\\" in text:
        plain = text.replace("$", "").replace(r"\overline", "").replace(r"\text", "")
        text = re.sub(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", plain) if rng.random() < 0.5 else plain
        return dresser.row(text.replace("{", "").replace("}", ""), dresser.said(item))
    left, right = rng.choice((("**", "**"), ("_", "_"), ("`", "`"), ("<b>", "</b>"), ("\\textbf{", "}"), ("*", "*")))
    text = _WORD.sub(lambda match: f"{left}{match[0]}{right}" if rng.random() < 0.2 else match[0], text)
    if left != "`" and "$" not in text:
        text = _NUMBER.sub(lambda match: rng.choice((f"${match[0]}$", f"\\({match[0]}\\)", match[0])), text)
    return dresser.row(rng.choice(("### Question\n\n", "- ", "1. ", "")) + text, dresser.said(item))


def short_pair(dresser: Dresser, item: Record) -> Record | None:
    """A question of at most twelve words with its answer, in a sentence or a few."""
    question, rng = question_of(item), dresser.rng
    if len(question.split()) > 12 or len(question) > 90 or "choices" in item or "passage" in item or "prompt" in item:
        return None
    answer = answer_of(item)
    bare = question.strip(string.punctuation + " ")
    asked = rng.choice(
        (question, bare.lower(), f"Q: {question}", f"Hi! {question} Thanks.", f"Please tell me: {question}",
         f"I have a question. {question}", f"{question} Answer briefly.", f"{bare}??")
    )  # fmt: skip
    said = rng.choice((answer, f"It is {answer}", f"A: {answer}", f"The answer is **{answer}**, of course."))
    return dresser.row(asked, said)


def answer_only(dresser: Dresser, item: Record) -> Record | None:
    """A long answer without its question."""
    answer = answer_of(item)
    if len(answer.split()) < 20:
        return None
    return dresser.row("Here is what somebody wrote. What do you think?", f"I found this:\n\n{answer}")


DRESSES: dict[str, Callable[[Dresser, Record], Record | None]] = {
    "verbatim": verbatim,
    "case and whitespace": recased,
    "wrapped": wrapped,
    "embedded": embedded,
    "5% edited": edited(0.05),
    "10% edited": edited(0.10),
    "choices shuffled": shuffled,
    "Markdown and LaTeX": marked_up,
    "short pairs": short_pair,
    "numbers changed": renumbered,
    "answer only": answer_only,
}
GATED = tuple(kind for kind in DRESSES if kind not in ("numbers changed", "answer only"))
"""Dresses in which an item must not pass the gate; the other two are reported and do not gate."""
