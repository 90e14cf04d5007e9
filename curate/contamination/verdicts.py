"""From measured matches to verdicts: the eval item, an edit of it, a variant, or something that looks like it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import polars as pl

from curate.contamination.index import QUESTION, EvalIndex, word_hashes
from curate.contamination.scan import VERBATIM, Scan, answer_shares, choice_shares, scan_rows
from curate.rows import Corpus

WITH_LONG_ANSWER, EDITED, EDITED_ALONE, LONG_EDITED = 0.35, 0.6, 0.8, 0.7
"""Shares of a question from which on it is the item with edits: with a long answer, with a short one, where there is
none to compare, and for long questions whatever the answer."""
MIN_EDITED_WORDS, LONG_WORDS, SHORT_WORDS, LEAST_WORDS = 10, 20, 8, 4
"""Words: of fewer an edited question is not recognised; long; fewer may be asked by chance, so that the answer must
match as well; hardly a question."""
MAX_GAP_WORDS, MAX_GAP_SHARE = 6, 0.2
"""Most words in a row that edits may have replaced: a longer gap is other text, not an edit."""
SAME_ANSWER, ANSWER_ALONE = 0.6, 0.8
"""Share of a long answer that a row must hold: beside the question, and by itself."""
CHOICES, HALF = 0.8, 0.5
"""Share of question and choices together that is the item; share of a question that is worth a note."""


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
    whole: bool
    """Whether a turn, or a line of one, is the whole question."""
    answer: bool
    """Whether the item's answer stands in the row's answer."""
    scores: Mapping[str, Any]
    """Of the question, by method; empty where only the answer or the whole question matched."""


def contamination(corpus: Corpus, index: EvalIndex) -> tuple[list[Verdict], Scan]:
    """The verdicts, by row, then worst grade, then item; and the scan that they rest on."""
    scan = scan_rows(corpus, index)
    found = [verdict for verdict in _verdicts(corpus, index, scan) if verdict is not None]
    return sorted(found, key=lambda v: (v.index, RANK[v.grade], v.item)), scan


def _verdicts(corpus: Corpus, index: EvalIndex, scan: Scan) -> Iterator[Verdict | None]:
    questions = _best_questions(scan, index)
    wholes = _rows_of(scan.whole, scan)
    answers = _rows_of(answer_shares(scan, index), scan)
    choices = _rows_of(choice_shares(scan, index), scan)
    keys = sorted(
        {*questions, *wholes, *choices, *(key for key, row in answers.items() if row["share"] >= ANSWER_ALONE)}
    )
    spoken = _Answers(corpus, index, {row for row, _ in keys})
    for row, item in keys:
        match, whole = questions.get((row, item)), wholes.get((row, item))
        long_answer = answers.get((row, item), {}).get("share", 0.0)
        evidence = _Evidence(
            words=index.items["words"][item],
            match=match,
            whole=whole is not None,
            answered=long_answer >= SAME_ANSWER or spoken.holds(row, item),
            comparable=bool(index.items["has_answer"][item]) and spoken.any(row),
            long_answer=long_answer,
            choices=choices.get((row, item), {}).get("share", 0.0),
        )
        grade = evidence.grade()
        if grade is not None:
            where = whole or match or choices.get((row, item)) or answers[row, item]
            scores = {} if match is None else {name: match[name] for name in SCORES}
            yield Verdict(row, item, grade, where["turn"], where["role"], evidence.whole, evidence.answered, scores)


SCORES = ("exact", "masked", "coverage", "overlap", "longest", "gap", "changed", "start", "stop")


@dataclass(frozen=True)
class _Evidence:
    """What is known of one row and one item."""

    words: int
    """Of the question."""
    match: Mapping[str, Any] | None
    """The turn that holds most of the question, and its scores."""
    whole: bool
    answered: bool
    comparable: bool
    """Whether both the item and the row have an answer, so that another answer tells something."""
    long_answer: float
    choices: float
    """Share of the question and the choices together."""

    def grade(self) -> Grade | None:
        """The worst that the evidence bears out."""
        seen = Grade.BOTH if self.answered else Grade.QUESTION
        if self._only_numbers_differ():
            return Grade.VARIANT
        if self.whole or self._exact >= VERBATIM:
            return seen if self._counts_alone() else Grade.PARTIAL
        if self._is_edit() or self.choices >= CHOICES:
            return seen
        if self.long_answer >= ANSWER_ALONE:
            return Grade.ANSWER
        near = self.match is not None and self.match["masked"] >= HALF and self.words >= SHORT_WORDS
        return Grade.PARTIAL if near else None

    @property
    def _exact(self) -> float:
        return 0.0 if self.match is None else float(self.match["exact"])

    def _only_numbers_differ(self) -> bool:
        changed = self.match is not None and self.match["changed"] and self.match["masked"] >= EDITED_ALONE
        return bool(changed) and not self.whole

    def _counts_alone(self) -> bool:
        """Whether a question that stands there whole says enough: short ones are asked by chance."""
        alone = self.whole and self.words >= LEAST_WORDS and not self.comparable
        return self.words >= SHORT_WORDS or self.answered or alone

    def _is_edit(self) -> bool:
        if self.match is None:
            return False
        if self.long_answer >= SAME_ANSWER and self._exact >= WITH_LONG_ANSWER:
            return True
        if self.words < MIN_EDITED_WORDS or self.match["gap"] > max(MAX_GAP_WORDS, MAX_GAP_SHARE * self.words):
            return False
        with_answer = self.answered and self._exact >= EDITED
        long = self.words >= LONG_WORDS and self._exact >= LONG_EDITED
        return with_answer or long or (not self.comparable and self._exact >= EDITED_ALONE)


def _best_questions(scan: Scan, index: EvalIndex) -> dict[tuple[int, int], dict[str, Any]]:
    """(row, item) -> the turn that holds most of the question, and how much by each measure."""
    kinds, owners = pl.Series(index.seg_kind), pl.Series(index.seg_item)
    asked = scan.matches.filter(kinds.gather(scan.matches["seg"]) == QUESTION)
    found = asked.with_columns(item=owners.gather(asked["seg"]).cast(pl.Int64)).join(scan.texts, on="text")
    found = (
        found.filter(~pl.Series(scan.own_wording[found["item"].to_numpy()], dtype=pl.Boolean))
        if found.height
        else found
    )
    best = found.sort("exact", "masked", "text", descending=[True, True, False]).unique(
        ["index", "item"], keep="first", maintain_order=True
    )
    return {(row["index"], row["item"]): row for row in best.iter_rows(named=True)}


def _rows_of(matches: pl.DataFrame, scan: Scan) -> dict[tuple[int, int], dict[str, Any]]:
    """(row, item) -> the first of its turns, the one with the greatest share where there are shares."""
    found = matches.join(scan.texts, on="text")
    order = ["share", "text"] if "share" in matches.columns else ["text"]
    best = found.sort(order, descending=[name == "share" for name in order]).unique(
        ["index", "item"], keep="first", maintain_order=True
    )
    return {(row["index"], row["item"]): row for row in best.iter_rows(named=True)}


class _Answers:
    """The words of what the assistant says in some rows, or of the whole text of a plain row."""

    def __init__(self, corpus: Corpus, index: EvalIndex, rows: set[int]) -> None:
        self._index = index
        chosen = pl.Series("index", sorted(rows), dtype=pl.UInt32)
        said = corpus.turns.filter(
            pl.col("index").is_in(chosen.implode())
            & pl.col("content").is_not_null()
            & (pl.col("role").is_in(["assistant", "reference"]) | (pl.col("part") == "text"))
        )
        self._words, _, offsets = word_hashes(said["content"])
        self._spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for row, begin, end in zip(said["index"].to_list(), offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
            self._spans[row].append((begin, end))

    def any(self, row: int) -> bool:
        """Whether the row answers anything."""
        return bool(self._spans.get(row))

    def holds(self, row: int, item: int) -> bool:
        """Whether one of the item's short answers stands in what the row answers."""
        from curate.contamination.kernel import holds_run

        first, end = self._index.answer_begin[item], self._index.answer_begin[item + 1]
        key = self._index.key_array
        wanted = [(np.uint64(self._index.answer_hash[k]), int(self._index.answer_words[k])) for k in range(first, end)]
        return any(
            holds_run(self._words, begin, stop, count, key, value) >= 0
            for begin, stop in self._spans.get(row, ())
            for value, count in wanted
        )
