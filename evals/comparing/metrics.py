"""How an answer is scored, between 0 and 1, and whether it has the agreed form."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.compare_config import CompareConfig
from schemas.errors import UserError

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Metric:
    """One way to score, with what it needs."""

    name: str
    labels: tuple[str, ...] = ()
    format: str | None = None
    """Regular expression of a whole answer."""

    def score(self, answer: str, expected: str) -> float:
        """How good an answer is, in [0, 1]."""
        if self.name == "label":
            return float(self._named(answer) == {fold(expected)})
        if self.name == "exact":
            return float(fold(answer) == fold(expected))
        if self.name == "contains":
            return float(fold(expected) in fold(answer))
        return token_f1(answer, expected)

    def formatted(self, answer: str) -> bool | None:
        """Whether an answer has the agreed form; null where none is agreed on."""
        if self.format is not None:
            return re.fullmatch(self.format, answer.strip()) is not None
        return answer.strip() in self.labels if self.labels else None

    def _named(self, answer: str) -> set[str]:
        """The labels that stand in an answer as whole words; of one inside another, the longer."""
        longest = sorted({fold(label) for label in self.labels}, key=lambda label: (-len(label), label))
        either = "|".join(map(re.escape, longest))
        return set(re.findall(rf"(?<!\w)(?:{either})(?!\w)", fold(answer)))


def chosen_metric(config: CompareConfig, labels: Sequence[str]) -> Metric:
    """The metric that the config names, or the one that suits the answers.

    Args:
        config: the section.
        labels: the answers where they are labels, else none.

    Raises:
        UserError: labels are asked for and the answers are text.
    """
    if config.metric == "label" and not labels:
        raise UserError(
            "the answers are text, not labels",
            where="compare.metric: label",
            expected="2 to 20 short answers, each of which is trained several times",
            help="use metric: f1, exact or contains",
        )
    name = config.metric if config.metric != "auto" else "label" if labels else "f1"
    return Metric(name, tuple(labels), config.format)


def fold(text: str) -> str:
    """A text without differences of case and blanks."""
    return " ".join(text.casefold().split())


def token_f1(answer: str, expected: str) -> float:
    """Harmonic mean of precision and recall of words, without case, punctuation and articles.

    As SQuAD has it (Rajpurkar et al. 2016, arXiv 1606.05250). Two texts without words are equal.
    """
    said, wanted = _words(answer), _words(expected)
    if not said or not wanted:
        return float(said == wanted)
    shared = sum((Counter(said) & Counter(wanted)).values())
    return 2 * shared / (len(said) + len(wanted))


def _words(text: str) -> list[str]:
    return ARTICLES.sub(" ", text.casefold().translate(PUNCTUATION)).split()
