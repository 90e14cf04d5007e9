"""What the rules for personal data and secrets share: finding values in text, and putting pseudonyms in their place."""

from __future__ import annotations

import functools
import hashlib
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl
from pydantic import Field

from curate.rows import Corpus, all_texts
from curate.rules.base import Action, Hit, Rule
from schemas.finding import Severity

ESCAPE = re.compile(r"\\{1,8}(?:u00([2-7][0-9A-Fa-f])|([nrt\"/_]))")
"""One character as JSON writes it in a string, or an underscore as Markdown does; more backslashes where one lies in
another."""
ESCAPED = pl.col("text").str.contains(r"\\(?:u00[2-7]|/)")
"""Texts in which an escape may hide a value from a rule's `candidate`s."""
PLAIN = {"n": "\n", "r": "\n", "t": "\t", '"': '"', "/": "/", "_": "_"}
DIGITS = (r"[0-9](?:[ ().\-/A-Z\u00a0\u2010-\u2013]{0,3}[0-9]){5}",)
"""The `coarse` expression of rules whose values have six digits or more; it begins with a digit, so it is fast."""
SHORTEST_KNOWN = 5
"""Characters from which on a value is also replaced where it stands alone in the same row."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value that must not be shown: its place in the text, and what its pseudonym is made of."""

    start: int
    stop: int
    kind: str
    same: str
    """Equal for two spellings of one value, such as a number with and without spaces."""
    severity: Severity | None = None
    """Where it differs from the rule's."""


class SensitiveRule(Rule):
    """Base of the rules that find personal data or secrets: says where the values are; the rest is shared."""

    default_action: ClassVar[Action] = Action.REDACT
    actions: ClassVar[tuple[Action, ...]] = (Action.KEEP, Action.DROP, Action.REDACT)
    coarse: ClassVar[tuple[str, ...]] = ()
    """Cheap expressions, one of which must be found before `candidate` is tried; equal ones are searched for once."""
    narrow: ClassVar[tuple[str, ...]] = ()
    """Expressions that must all be found, cheapest first, before `candidate` is tried."""
    candidate: ClassVar[tuple[str, ...]]
    """Expressions without look-around, in the syntax that Rust and Python share: a text with none of them has no value.
    Together with `coarse` they decide what the rule costs: two long ones with many repetitions are fast one by one
    and many times slower as one."""
    loose: ClassVar[str] = ""
    """The candidate for masking, where words around a value may be missing; empty where it is the same. Python's."""
    noun: ClassVar[tuple[str, str]]
    """What one value is called, and several."""

    pseudonym_chars: int = Field(default=4, ge=4, le=32)
    """Hexadecimal digits of a pseudonym; more tell more values apart and are easier to reverse by guessing."""

    @abstractmethod
    def values(self, text: str, strict: bool = True) -> Iterator[Value]:
        """Every value in the order of the text, which has no JSON escapes.

        Args:
            text: what is searched.
            strict: whether doubt counts against a value. Not when text is masked for showing: there a value may have
                lost the words around it that made it certain.
        """

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each text with at least one value."""

        def containing(*expressions: str) -> pl.Expr:
            return pl.any_horizontal("escaped", *(pl.col("text").str.contains(found) for found in expressions))

        texts = corpus.remembered("escaped", lambda: all_texts(corpus).with_columns(escaped=ESCAPED))
        if self.coarse:
            texts = corpus.remembered(
                ("coarse", self.coarse), lambda: corpus.stored(texts.filter(containing(*self.coarse)))
            )
        for expression in self.narrow:
            texts = texts.filter(containing(expression))
        for index, turn, content in (
            texts.filter(containing(*self.candidate)).select("index", "turn", "text").iter_rows()
        ):
            found = list(self.values(without_escapes(content)))
            if found:
                yield self._hit(index, turn, found)

    def _hit(self, index: int, turn: int | None, found: list[Value]) -> Hit:
        distinct = list(dict.fromkeys(self.pseudonym(value.kind, value.same) for value in found))
        one, several = self.noun
        counted = one if len(distinct) == 1 else f"{len(distinct)} {several}"
        message = f"{counted} in {'the metadata' if turn is None else 'the turn'}: {', '.join(distinct[:3])}"
        levels = [value.severity or self.severity for value in found]
        evidence = {"masked": distinct[:20], "count": len(found)}
        severity = min(levels, key=lambda level: level.rank)
        return Hit(index, message, turn, evidence, detail=" ".join(distinct), severity=severity)

    def pseudonym(self, kind: str, same: str) -> str:
        """`<kind-3f2a>`: from the digest of the value."""
        return f"<{kind}-{hashlib.sha256(same.encode('utf-8', 'replace')).hexdigest()[: self.pseudonym_chars]}>"

    def replacements(self, plain: str, strict: bool) -> list[tuple[int, int, str]]:
        """Start, stop and pseudonym of each value of a text without escapes."""
        if not strict and not quick(self.loose or "|".join(self.candidate)).search(plain):
            return []
        return [(v.start, v.stop, self.pseudonym(v.kind, v.same)) for v in self.values(plain, strict)]

    def rewrite(self, text: str) -> str:
        """The text with every value replaced by its pseudonym."""
        return replaced(text, lambda plain: self.replacements(plain, strict=True))

    def rewriter(self, texts: Iterable[str]) -> Callable[[str], str]:
        """`rewrite` for one row: a value found in one of its texts is replaced wherever the row repeats it."""
        known: dict[str, str] = {}
        for text in texts:
            plain = without_escapes(text)
            for start, stop, pseudonym in self.replacements(plain, strict=True):
                known.setdefault(plain[start:stop], pseudonym)
        spelt = sorted((value for value in known if len(value) >= SHORTEST_KNOWN), key=len, reverse=True)
        if not spelt:
            return self.rewrite
        repeated = re.compile(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, spelt))})(?![^\W_])")

        def rewrite(text: str) -> str:
            def places(plain: str) -> list[tuple[int, int, str]]:
                again = [(match.start(), match.end(), known[match[0]]) for match in repeated.finditer(plain)]
                return self.replacements(plain, strict=True) + again

            return replaced(text, places)

        return rewrite


@functools.cache
def quick(candidate: str) -> re.Pattern[str]:
    """The candidate expression for single texts."""
    return re.compile(candidate)


def escapable(form: str) -> str:
    """An expression that also finds its underscores where Markdown has put backslashes before them."""
    return re.sub(r"\[[^\]]*\]|_", lambda part: _with_backslash(part[0]), form)


def _with_backslash(part: str) -> str:
    if "_" not in part:
        return part
    return r"\\{0,8}_" if part == "_" else rf"[\\{part[1:]}"


def without_escapes(text: str) -> str:
    """The text with the escapes of JSON and Markdown undone."""
    return ESCAPE.sub(_character, text) if "\\" in text else text


def _character(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else PLAIN[escape[2]]


def unescaped(text: str) -> tuple[str, list[int] | None]:
    """`without_escapes`, and the place of each character (and the end) before that.

    The places are null where nothing was escaped.
    """
    if "\\" not in text or not ESCAPE.search(text):
        return text, None
    pieces: list[str] = []
    places: list[int] = []
    done = 0
    for match in ESCAPE.finditer(text):
        pieces += (text[done : match.start()], _character(match))
        places += range(done, match.start() + 1)
        done = match.end()
    pieces.append(text[done:])
    places += range(done, len(text) + 1)
    return "".join(pieces), places


def replaced(text: str, places_of: Callable[[str], Iterable[tuple[int, int, str]]]) -> str:
    """The text with spans replaced; where spans meet, the first takes in what the others cover.

    Args:
        text: any text, JSON or not.
        places_of: from the text without escapes to start, stop and replacement of each span.
    """
    plain, places = unescaped(text)
    spans = sorted(places_of(plain), key=lambda span: (span[0], -span[1]))
    if not spans:
        return text
    pieces: list[str] = []
    done = 0
    end = -1
    for start, stop, pseudonym in spans:
        begin, after = (start, stop) if places is None else (places[start], places[stop])
        if begin < end:  # meets the span before it
            end = done = max(end, after)
            continue
        pieces += (text[done:begin], pseudonym)
        end = done = after
    return "".join([*pieces, text[done:]])


def masker(rules: Iterable[Rule]) -> Callable[[str], str]:
    """One function that hides what any of the rules knows to be personal or secret.

    All rules look at the text as it came, so that none can hide half of what another would have found.
    """
    sensitive = [rule for rule in rules if isinstance(rule, SensitiveRule)]

    @functools.lru_cache(maxsize=1 << 12)
    def mask(text: str) -> str:
        return replaced(text, lambda plain: [r for rule in sensitive for r in rule.replacements(plain, strict=False)])

    return mask


def masked(value: Any, mask: Callable[[str], str]) -> Any:
    """Plain data with every text and every key in it masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(key) if isinstance(key, str) else key: masked(item, mask) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, mask) for item in value]
    return value


@functools.cache
def stems(words: str) -> re.Pattern[str]:
    """Literals of which one stands in every text, in small letters, that one of the words of an expression is in.

    Looking for them first is many times faster than looking for the expression.
    """
    found = []
    # A full stop counts as a letter inside of a word.
    spelt = re.sub(r"\\[a-zA-Z]|\\?.[?]|\[[^\]]*\]|\{[^}]*\}", " ", words).replace(r"\.", "\x00")
    for word in spelt.split("|"):
        found.append(max(re.findall(r"[^\W\d_]+(?:\x00[^\W\d_]+)*", word) or [""], key=len).replace("\x00", "."))
    return re.compile("|".join(map(re.escape, dict.fromkeys(found))))


def called(words: str) -> str:
    """A candidate for numbers that need one of some words before them: no more digits between than the number's own.

    Word boundaries become characters: with the Unicode kind, a text beyond ASCII takes Rust's slowest engine.
    """
    boundary = "(?:^|[^A-Za-z])"
    return rf"(?i:{words.replace(chr(92) + 'b', boundary)})[ -/:-~\\s]*{DIGITS[0]}"


def near(text: str, value: tuple[int, int], words: re.Pattern[str], before: int = 40, after: int = 0) -> bool:
    """Whether one of the words, which are in small letters, stands so many characters before a value, or after it."""
    start, stop = value
    said = text[max(0, start - before) : start].lower()
    if stems(words.pattern).search(said) and words.search(said):
        return True
    return bool(after and words.search(text[stop : stop + after].lower()))
