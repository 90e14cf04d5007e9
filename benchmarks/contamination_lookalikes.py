"""Rows that share words with eval items and are none: they must not gate."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Record = dict[str, Any]
LookAlike = tuple[str, Record, list[Record]]

QUOTATIONS = (
    ("It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness",
     "Charles Dickens"),
    ("To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer the slings and arrows of "
     "outrageous fortune", "William Shakespeare"),
    ("Four score and seven years ago our fathers brought forth on this continent a new nation, conceived in liberty",
     "Abraham Lincoln"),
    ("It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a "
     "wife", "Jane Austen"),
    ("We hold these truths to be self-evident, that all men are created equal, that they are endowed by their Creator "
     "with certain unalienable rights", "Thomas Jefferson"),
    ("All happy families are alike; each unhappy family is unhappy in its own way", "Leo Tolstoy"),
    ("Two roads diverged in a wood, and I took the one less traveled by, and that has made all the difference",
     "Robert Frost"),
    ("The only thing we have to fear is fear itself", "Franklin D. Roosevelt"),
    ("If I have seen further, it is by standing on the shoulders of giants", "Isaac Newton"),
    ("In the beginning God created the heaven and the earth. And the earth was without form, and void", "Genesis"),
)  # fmt: skip
ASKED_OF_QUOTATIONS = (
    'Who wrote the words "{}"?', '"{}" Which author is this from?', "Name the author of this passage: {}.",
    'Which famous person said: "{}"?',
)  # fmt: skip
FORMULAS = (
    ("E = m c^2", "mass-energy equivalence"), ("a^2 + b^2 = c^2", "the theorem of Pythagoras"),
    ("x = (-b + sqrt(b^2 - 4 a c)) / (2 a)", "the quadratic formula"), ("F = G m_1 m_2 / r^2", "the law of gravity"),
    ("e^{i \\pi} + 1 = 0", "Euler's identity"), ("P V = n R T", "the ideal gas law"),
    ("\\int_a^b f'(x) dx = f(b) - f(a)", "the fundamental theorem of calculus"),
    ("P(A | B) = P(B | A) P(A) / P(B)", "Bayes' theorem"), ("\\nabla \\cdot E = \\rho / \\epsilon_0", "Gauss's law"),
)  # fmt: skip
TEMPLATES = (
    ("Classify the sentiment of the following sentence as positive, negative or neutral. Answer with one word and "
     "nothing else.\n\nSentence: {}\nSentiment:", ("positive", "negative", "neutral")),
    ("Read the text below carefully and decide whether its claim is supported by common knowledge. Reply with yes, no "
     "or unsure, and do not explain your choice.\n\n{}", ("yes", "no", "unsure")),
    ("You are an expert translator with many years of experience. Translate the sentence between the marks into French "
     "and keep its tone, its punctuation and its names.\n<<<{}>>>", ("Je ne sais pas.", "Bien entendu.", "Voici.")),
    ("Below is an instruction that describes a task, paired with an input that provides further context. Write a "
     "response that appropriately completes the request.\n\n### Instruction:\nSummarise.\n\n### Input:\n{}\n\n"
     "### Response:", ("A short text.", "It is about work.", "Something is explained.")),
    ("Does the first sentence entail the second? {} Options: entailment, contradiction, neutral.",
     ("entailment", "contradiction", "neutral")),
)  # fmt: skip
SCAFFOLDS = (
    "The following is a multiple choice question. Choose the one correct answer out of A, B, C and D and reply with "
    "its letter only.\n\nQuestion: {}\nA. All of the above\nB. None of the above\nC. Both of them\n"
    "D. It cannot be known\nAnswer:",
    "Which of the following statements is true?\nA. {}\nB. None of the above\nC. All of the above\nD. I do not know",
    "Which one of these is not like the others, and why? Pick the best answer.\n(a) {}\n(b) neither\n(c) both",
)
SYSTEM = (
    "You are a careful assistant who answers questions about school subjects. Think step by step, show your work, and "
    "give the final answer on a line of its own after the words The answer is. If you do not know, say so honestly."
)
COUNTRIES = "France Spain Italy Norway Kenya Peru Chile Japan Egypt Ghana Cuba India Nepal Iran Iraq Oman Mali".split()
CAPITALS = "Paris Madrid Rome Oslo Nairobi Lima Santiago Tokyo Cairo Accra Havana Delhi Kathmandu Tehran Baghdad Muscat"
SMALL_TALK = (
    ("How are you?", "I am fine, thanks."), ("What is your name?", "Alice"), ("Tell me a joke", "No joke today."),
    ("What can you do?", "I answer questions."), ("Continue", "And then they went home."), ("Why?", "Because of rain."),
    ("Can you help me?", "I can help with maths."), ("What do you mean?", "I mean what I say."),
)  # fmt: skip


def sentences(text: str) -> list[str]:
    """Its sentences of middling length."""
    return re.findall(r"(?<=[.!?] )[A-Z][^.!?\n]{40,140}[.!?]", text)


def look_alikes(rng: random.Random, filler: list[str], unsaid: list[str], per_kind: int) -> Iterator[LookAlike]:
    """(kind, row, eval items that it resembles), `per_kind` rows of each kind.

    Args:
        rng: of every choice.
        filler: real text to put around things.
        unsaid: sentences that no other row holds, for items and what is asked in their place.
        per_kind: rows of each kind.
    """
    distinct = sorted(set(unsaid))
    fresh = unlike(rng.sample(distinct, len(distinct)))
    makers: dict[str, Callable[[int], tuple[Record, list[Record]]]] = {
        "famous quotation": lambda at: _quotation(rng, filler, at),
        "formula": lambda at: _formula(rng, filler, at),
        "instruction template": lambda at: _template(rng, fresh, at),
        "same topic": lambda at: _same_topic(fresh),
        "choice scaffolding": lambda at: _scaffold(rng, fresh, at),
        "system prompt": lambda at: _system(fresh),
        "common question": lambda at: _common(rng, at),
    }
    for kind, make in makers.items():
        for at in range(per_kind):
            row, items = make(at)
            yield kind, row, items


def unlike(sentences: Iterable[str]) -> Iterator[str]:
    """The sentences that share less than half of their words with each one before: no look-alike is an edited item."""
    given: list[set[str]] = []
    for sentence in sentences:
        words = set(re.findall(r"\w+", sentence.lower()))
        if all(2 * len(words & other) < min(len(words), len(other)) for other in given):
            given.append(words)
            yield sentence


def _chat(prompt: str, answer: str, system: str = "") -> Record:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": ([{"role": "system", "content": system}] if system else []) + turns}


def _quotation(rng: random.Random, filler: list[str], at: int) -> tuple[Record, list[Record]]:
    said, who = QUOTATIONS[at % len(QUOTATIONS)]
    items = [{"question": ASKED_OF_QUOTATIONS[at % 4].format(said), "answer": who}] if at < len(QUOTATIONS) else []
    one, other = rng.sample(filler, 2)
    if at % 2:
        return _chat(f"{one}\n\nAs they say, {said}. Comment on this.", other), items
    return _chat("Write an essay with a quotation.", f"{one} I think of {who}: {said}. {other}"), items


def _formula(rng: random.Random, filler: list[str], at: int) -> tuple[Record, list[Record]]:
    formula, name = FORMULAS[at % len(FORMULAS)]
    items = (
        [{"question": f"What is expressed by the formula ${formula}$?", "answer": name}] if at < len(FORMULAS) else []
    )
    return _chat(f"{rng.choice(filler)} Derive {formula}.", f"We start from ${formula}$. {rng.choice(filler)}"), items


def _template(rng: random.Random, fresh: Iterator[str], at: int) -> tuple[Record, list[Record]]:
    template, labels = TEMPLATES[at % len(TEMPLATES)]
    label = rng.choice(labels)
    item = {"question": template.format(next(fresh)), "answer": label if at % 2 else rng.choice(labels)}
    return _chat(template.format(next(fresh)), label), [item]


def _same_topic(fresh: Iterator[str]) -> tuple[Record, list[Record]]:
    """One passage, two questions."""
    told = " ".join(next(fresh) for _ in range(4))
    item = {"passage": told, "question": f"What follows from this: {next(fresh)}", "answer": next(fresh)}
    return _chat(f"{told}\n\nHow does this go together with the claim: {next(fresh)}", next(fresh)), [item]


def _scaffold(rng: random.Random, fresh: Iterator[str], at: int) -> tuple[Record, list[Record]]:
    scaffold = SCAFFOLDS[at % len(SCAFFOLDS)]
    item = {"question": scaffold.format(next(fresh)), "answer": rng.choice("ABCD")}
    return _chat(scaffold.format(next(fresh)), rng.choice("ABCD")), [item]


def _system(fresh: Iterator[str]) -> tuple[Record, list[Record]]:
    item = _chat(next(fresh), next(fresh), SYSTEM)
    return _chat(next(fresh), next(fresh), SYSTEM), [item]


def _common(rng: random.Random, at: int) -> tuple[Record, list[Record]]:
    """A short question with one other word, or the same small talk with another answer."""
    if at % 2:
        asked, said = SMALL_TALK[at // 2 % len(SMALL_TALK)]
        items = [{"question": asked, "answer": said}] if at // 2 < len(SMALL_TALK) else []
        return _chat(asked, rng.choice(("Let us talk about something else.", "Sure! What do you need?"))), items
    capitals = CAPITALS.split()
    first, second = rng.randrange(8), rng.randrange(8, len(capitals))  # no row asks what an item asks
    item = {"question": f"What is the capital of {COUNTRIES[first]}?", "answer": capitals[first]}
    return _chat(f"What is the capital of {COUNTRIES[second]}?", f"{capitals[second]}."), [item]
