"""From measured matches to verdicts: the eval item, an edit of it, a variant, or something that looks like it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import polars as pl

from curate.contamination.index import ANSWER, PASSAGE, QUESTION, EvalIndex
from curate.contamination.scan import Scan, best_matches, choice_shares, scan_rows
from curate.contamination.spoken import NO, RARE, Spoken
from curate.rows import Corpus

VERBATIM = 0.97
"""Share of a question from which on it stands there as it is."""
WITH_LONG_ANSWER, SUPPORTED, EDITED, LONG_EDITED = 0.5, 0.7, 0.75, 0.7
"""Shares of a question from which on it is the item with edits: beside its long answer, beside its rare answer, its
choices or its passage, where there is no answer to compare, and for long questions whatever the answer."""
LEAST_WORDS, SUPPORTED_WORDS, SHORT_WORDS, EDITED_WORDS, LONG_WORDS = 4, 7, 8, 10, 20
"""Words: of fewer hardly a question; of fewer an edit is not recognised, however it is supported; fewer may be asked by
chance, so that something else must match as well; of fewer an edit needs support; of so many it is one whatever the
answer."""
MAX_HOLE, MAX_EDGE = 4, 3
"""Most of eight words in a row that edits may have replaced, and most at the beginning or the end: more is a slot of a
template that was filled in another way, or a quotation without what is asked about it."""
SPREAD, SPREAD_WORDS = 1.3, 4
"""A question stands within so many times its words, and these: the rest are insertions."""
SAME_ANSWER, ANSWER_ALONE = 0.6, 0.8
"""Share of a long answer that a row must hold: beside the question, and by itself."""
SAME_PASSAGE = 0.5
CHOICES, HALF = 0.8, 0.5
"""Share of question and choices together that is the item; share of a question that is worth a note."""
VARIANT = 0.8
"""Share of a question, numbers masked, that makes a variant."""


class Grade(StrEnum):
    """What a row holds of an eval item, worst first."""

    BOTH = "question-and-answer"
    QUESTION = "question"
    VARIANT = "variant"
    ANSWER = "answer"
    PARTIAL = "partial"


GATING = (Grade.BOTH, Grade.QUESTION)
"""Grades that mean that the item was seen."""
RANK = {grade: rank for rank, grade in enumerate(Grade)}
Match = Mapping[str, Any]
SCORES = ("exact", "masked", "coverage", "overlap", "longest", "gap", "hole", "edge", "missing", "changed", "telling")


@dataclass(frozen=True)
class Verdict:
    """One row and one item."""

    index: int
    """Row index in the corpus."""
    item: int
    """Row of `EvalIndex.items`."""
    grade: Grade
    turn: int | None
    role: str | None
    text: int
    """Number of the turn among all of the corpus."""
    span: tuple[int, int]
    """First and last word of the turn that belong to the item."""
    whole: bool
    """Whether a turn, or a line or a sentence of one, is the whole question."""
    answer: bool
    """Whether the item's answer stands in the row's answer."""
    scores: Mapping[str, Any]
    """Of the question, by method, and shares of its long answer, its passage, and question and choices together;
    methods that found nothing are left out."""


def contamination(corpus: Corpus, index: EvalIndex) -> tuple[list[Verdict], Scan]:
    """The verdicts, by row, then worst grade, then item; and the scan that they rest on."""
    scan = scan_rows(corpus, index)
    found = [verdict for verdict in _verdicts(corpus, index, scan) if verdict is not None]
    return sorted(found, key=lambda v: (v.index, RANK[v.grade], v.item)), scan


def _verdicts(corpus: Corpus, index: EvalIndex, scan: Scan) -> Iterator[Verdict]:
    compared = ~pl.Series(scan.own_wording, dtype=pl.Boolean)
    asked = best_matches(scan, index, QUESTION)
    questions = _by_row(asked.filter(compared.gather(asked["item"])), scan, "exact", "masked")
    wholes = _by_row(scan.whole.with_columns(unit=~pl.col("within")), scan, "unit")
    answers = _by_row(best_matches(scan, index, ANSWER), scan, "exact")
    passages = _by_row(best_matches(scan, index, PASSAGE), scan, "masked")
    choices = _by_row(choice_shares(scan, index), scan, "share")
    alone = {key for key, match in answers.items() if match["exact"] >= ANSWER_ALONE}
    keys = sorted({*questions, *wholes, *choices, *alone})
    spoken = Spoken(corpus, index, {row for row, _ in keys})
    words = index.items["words"].to_list()
    for row, item in keys:
        key = row, item
        match, whole = questions.get(key), wholes.get(key)
        stands = whole or match or choices.get(key) or answers[key]
        near, far = spoken.answered(row, item, stands)
        evidence = Evidence(
            words=words[item],
            match=match,
            whole=whole,
            long_answer=answers.get(key, {}).get("exact", 0.0),
            answered=near > NO or (far == RARE and not (whole and whole["within"])),
            rare_answer=near == RARE,
            comparable=spoken.comparable(row, item),
            ambiguous=bool(index.ambiguous[item]),
            choices=choices.get(key, {}).get("share", 0.0),
            choices_held=spoken.holds_choices(row, item),
            passage=passages.get(key),
        )
        grade = evidence.grade()
        if grade is not None:
            place = (stands["turn"], stands["role"], stands["text"], (stands["start"], stands["stop"]))
            answered = evidence.answered or evidence.long_answer >= SAME_ANSWER
            is_whole = whole is not None and not whole["within"]
            yield Verdict(row, item, grade, *place, is_whole, answered, evidence.scores())


@dataclass(frozen=True)
class Evidence:
    """What is known of one row and one item."""

    words: int
    """Of the question."""
    match: Match | None
    """The turn that holds most of the question, and its scores."""
    whole: Match | None
    """The turn that the whole question, or a line or sentence that is it, stands in."""
    long_answer: float
    answered: bool
    """Whether a short answer of the item stands where the row answers."""
    rare_answer: bool
    """Whether it is one that few other items have, so that it tells something."""
    comparable: bool
    """Whether both the item and the row have answers of a kind that would be equal if the question is."""
    ambiguous: bool
    """Whether another item asks the same of something else."""
    choices: float
    """Share of the question and the choices together."""
    choices_held: bool
    """Whether the row names nearly all choices."""
    passage: Match | None

    def grade(self) -> Grade | None:
        """The worst that the evidence bears out."""
        seen = Grade.BOTH if self.answered or self.long_answer >= SAME_ANSWER else Grade.QUESTION
        if self._only_numbers_differ():
            return Grade.VARIANT
        if self.whole is not None or self._stands():
            if self._counts():
                return seen
            return Grade.PARTIAL if self.words >= LEAST_WORDS and not self._within else None
        if self._is_edit() or self.choices >= CHOICES:
            return seen
        if self.long_answer >= ANSWER_ALONE:
            return Grade.ANSWER
        near = self.match is not None and self.match["masked"] >= HALF and self.match["longest"] >= SHORT_WORDS
        return Grade.PARTIAL if near else None

    def scores(self) -> dict[str, Any]:
        """What each method measured."""
        found = {} if self.match is None else {name: self.match[name] for name in SCORES}
        if self.long_answer:
            found["answer"] = self.long_answer
        if self.choices:
            found["choices"] = self.choices
        return found if self.passage is None else found | {"passage": self.passage["exact"]}

    @property
    def _exact(self) -> float:
        return 0.0 if self.match is None else float(self.match["exact"])

    @property
    def _within(self) -> bool:
        """Whether all that stands there is a question of a few words within a sentence."""
        return self.whole is not None and bool(self.whole["within"])

    @property
    def _supported(self) -> bool:
        """Whether something besides the question matches that would not by chance."""
        passage = self.passage is not None and self.passage["exact"] >= SAME_PASSAGE
        return self.rare_answer or self.choices_held or passage or self.long_answer >= SAME_ANSWER

    def _only_numbers_differ(self) -> bool:
        for match in (self.passage, self.match):
            if match is not None and match["changed"] and match["masked"] >= VARIANT and _whole_shape(match):
                return self.whole is None or match is self.passage
        return False

    def _stands(self) -> bool:
        """Whether the question stands somewhere within a turn, word for word."""
        return self.match is not None and self._exact >= VERBATIM and _whole_shape(self.match)

    def _counts(self) -> bool:
        """Whether a question that stands there says enough: short ones are asked by chance."""
        if self.ambiguous or self._within:
            return self._supported
        alone = self.whole is not None and self.words >= LEAST_WORDS and not self.comparable
        words = self.words if self.whole is not None or self.match is None else self.match["telling"]
        return words >= SHORT_WORDS or self.answered or self._supported or alone

    def _is_edit(self) -> bool:
        if self.match is None:
            return False
        if self.long_answer >= SAME_ANSWER and self._exact >= WITH_LONG_ANSWER:
            return True
        words = self.match["telling"]
        if not _whole_shape(self.match):
            return False
        if self._supported:
            return bool(words >= SUPPORTED_WORDS and self._exact >= SUPPORTED)
        if self.comparable or self.ambiguous:
            return bool(words >= LONG_WORDS and self._exact >= LONG_EDITED)
        return bool(words >= EDITED_WORDS and self._exact >= EDITED)


def _whole_shape(match: Match) -> bool:
    """Whether what is missing, and what stands between, is little enough everywhere."""
    # Edits are scattered: where several words are missing at one end, some are elsewhere as well.
    scattered = match["edge"] <= 1 or match["missing"] >= 2 * match["edge"] - 1
    held = match["hole"] <= MAX_HOLE and match["edge"] <= MAX_EDGE and scattered
    return bool(held and match["stop"] - match["start"] < SPREAD * match["words"] + SPREAD_WORDS)


def _by_row(matches: pl.DataFrame, scan: Scan, *best: str) -> dict[tuple[int, int], dict[str, Any]]:
    """(row, item) -> the match of the turn that has most by these columns; the first one of equals."""
    found = matches.join(scan.texts, on="text").sort(*best, "text", descending=[*[True] * len(best), False])
    found = found.unique(["index", "item"], keep="first", maintain_order=True)
    return {(row["index"], row["item"]): row for row in found.iter_rows(named=True)}
