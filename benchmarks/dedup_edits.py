"""Other ways of writing the same text, for the duplicate benchmarks: by hand, by a program, by a converter."""

from __future__ import annotations

import html
import random
import re
import unicodedata
from collections.abc import Callable
from functools import partial

SYNONYMS = dict(
    pair.split("/")
    for pair in (
        "use/utilize help/assist need/require show/display make/create important/crucial different/various "
        "many/numerous "
        "get/obtain give/provide find/locate start/begin big/huge small/tiny quickly/rapidly also/additionally "
        "because/since "
        "however/nevertheless example/instance way/manner people/persons good/great ensure/guarantee allow/permit "
        "based/founded using/employing improve/enhance provide/supply include/contain create/build value/amount "
        "information/details following/subsequent specific/particular main/principal possible/feasible like/such"
    ).split()
)
BRITISH = {"or": "our", "ize": "ise", "izing": "ising", "ized": "ised", "ization": "isation", "er": "re", "og": "ogue"}
CURLY = {'"': "\u201d", "'": "\u2019", "...": "\u2026", " - ": " \u2013 "}


def _some(words: list[str], rate: float, rng: random.Random, fits: Callable[[str], bool]) -> list[int]:
    """Places of a share of all words, among those that fit."""
    places = [at for at, word in enumerate(words) if fits(word)]
    return rng.sample(places, min(len(places), max(1, round(rate * len(words) / 2))))


def _each(text: str, rate: float, rng: random.Random, fits: Callable[[str], bool], change: Callable[[str], str]) -> str:
    parts = re.split(r"(\s+)", text)
    for at in _some(parts, rate, rng, fits):
        parts[at] = change(parts[at])
    return "".join(parts)


def synonyms(text: str, rate: float, rng: random.Random) -> str:
    """Ordinary words by words of the same meaning."""
    return _each(text, rate, rng, SYNONYMS.__contains__, SYNONYMS.__getitem__)


def typos(text: str, rate: float, rng: random.Random) -> str:
    """A letter of a word doubled, left out or replaced."""

    def slip(word: str) -> str:
        at = rng.randrange(1, len(word) - 1)
        return rng.choice((word[:at] + word[at:at + 1] * 2 + word[at + 1:], word[:at] + word[at + 1:],
                           word[:at] + rng.choice("etaoinsr") + word[at + 1:]))  # fmt: skip

    return _each(text, rate, rng, lambda word: bool(re.fullmatch("[a-z]{4,}", word)), slip)


def dropped(text: str, rate: float, rng: random.Random) -> str:
    """Words left out, small ones as well."""
    return _each(text, rate, rng, lambda word: bool(re.fullmatch("[a-z]+", word)), lambda word: "")


def punctuation(text: str, rate: float, rng: random.Random) -> str:
    """Marks at the ends of words exchanged, added or left out."""
    return _each(
        text,
        rate,
        rng,
        lambda word: bool(re.fullmatch("[a-z]+[,.;:!]?", word)),
        lambda word: word.rstrip(",.;:!") + ("" if word[-1] in ",.;:!" else rng.choice(",;.!")),
    )


def swapped(text: str, rate: float, rng: random.Random) -> str:
    """Neighbouring words that changed places; each exchange changes two words."""
    words = text.split(" ")
    for at in _some(words, rate, rng, lambda word: bool(re.fullmatch("[a-z]+", word))):
        if at + 1 < len(words) and re.fullmatch("[a-z]+", words[at + 1]):
            words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def british(text: str) -> str:
    """Endings as they are spelt on the other side of the ocean."""
    spelt = re.sub(r"\b([a-z]{3,})(ize|izing|ized|ization)\b", lambda hit: hit[1] + BRITISH[hit[2]], text)
    return re.sub(r"\b(col|fav|hon|lab|flav|behavi|neighb|hum|harb)or", r"\1our", spelt).replace("center", "centre")


def curly(text: str) -> str:
    """Quotes, dashes and dots as a word processor sets them."""
    for plain, set_in_type in CURLY.items():
        text = text.replace(plain, set_in_type)
    return text


def plain_letters(text: str) -> str:
    """Accents left out."""
    return "".join(char for char in unicodedata.normalize("NFD", text) if not 0x300 <= ord(char) < 0x370)


def markdown(text: str, rng: random.Random) -> str:
    """A heading, and some words in bold, italics or code."""
    marked = re.sub(
        r"(?<= )([a-z]{5,})(?= )", lambda hit: rng.choice(("{}",) * 9 + ("**{}**", "*{}*", "`{}`")).format(hit[1]), text
    )
    return f"# Answer\n\n{marked}"


def lists(text: str) -> str:
    """Bullets and numbers of lists in another style, sentences on lines of their own."""
    return re.sub(r"(?m)^(\s*)([-*]|\d+\.) ", "\\1\u2022 ", text.replace(". ", ".\n"))


def zero_width(text: str, rng: random.Random) -> str:
    """Invisible characters inside and between words."""
    return re.sub(r"(?<=\w)(?=\w{3})", lambda _: rng.choice(("", "", "\u200b", "\u00ad", "\u2060")), text)


def other_edits(rng: random.Random) -> dict[str, Callable[[str], str]]:
    """Name of a kind of edit -> the edit."""
    rated = {"synonyms": synonyms, "typos": typos, "dropped": dropped, "punctuation": punctuation, "swapped": swapped}
    made: dict[str, Callable[[str], str]] = {
        f"{rate:.0%} {name}": partial(edit, rate=rate, rng=rng)
        for name, edit in rated.items()
        for rate in (0.01, 0.05, 0.10)
    }
    return made | {
        "British spelling": british,
        "sentence before": lambda text: f"Here is what I found about it, please read it with care. {text}",
        "sentence behind": lambda text: f"{text} I hope that this is of some use; ask again whenever you like.",
        "lists": lists,
        "Markdown": partial(markdown, rng=rng),
        "entities": html.escape,
        "curly quotes": curly,
        "accents stripped": plain_letters,
        "zero width": partial(zero_width, rng=rng),
    }
