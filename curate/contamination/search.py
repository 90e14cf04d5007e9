"""The search for eval items as the rules see it: one search a corpus, findings of the grades they ask for."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from curate.contamination.index import EvalIndex, build_index
from curate.contamination.items import eval_items
from curate.contamination.scan import Scan
from curate.contamination.verdicts import Grade, Verdict, contamination
from curate.contamination.words import words_of
from curate.rows import Corpus
from curate.rules.base import Hit

SHOWN_WORDS = 40
MORE_ITEMS = 5


@dataclass(frozen=True)
class Found:
    """All verdicts on a corpus."""

    index: EvalIndex
    verdicts: list[Verdict]
    scan: Scan


def search(corpus: Corpus) -> Found:
    """The verdicts on a corpus, computed once.

    Raises:
        ValueError: the corpus has neither eval items nor an index of them.
    """

    def compute() -> Found:
        index = telling_index(corpus)
        verdicts, scan = contamination(corpus, index)
        return Found(index, verdicts, scan)

    return corpus.remembered("contamination", compute)


def telling_index(corpus: Corpus) -> EvalIndex:
    """The index of the eval items that is searched with: without the runs that too many of them share.

    Of items that came as files it is made once, whatever rows are dropped meanwhile.

    Raises:
        ValueError: the corpus has neither eval items nor an index of them.
    """
    if corpus.eval_index is not None:
        return corpus.eval_index.telling
    evals = corpus.evals
    if evals is None:
        raise ValueError("there are no eval items to look for")
    return evals.remembered("eval_index", lambda: build_index(eval_items(evals))).telling


def hits(corpus: Corpus, grades: Collection[Grade], sentence: str) -> Iterator[Hit]:
    """One hit for each row whose worst verdict has one of the grades.

    Args:
        corpus: with eval items.
        grades: of the verdicts.
        sentence: the message; `{grade}`, `{item}`, and `{share}` of the question are filled in.
    """
    found = search(corpus)
    by_row: dict[int, list[Verdict]] = {}
    for verdict in found.verdicts:
        by_row.setdefault(verdict.index, []).append(verdict)
    for row, verdicts in by_row.items():
        worst = verdicts[0]
        if worst.grade not in grades:
            continue
        item = found.index.items.row(worst.item, named=True)
        place = f"{item['path']}:{item['line']}" if item["line"] else f"{item['path']}, row {item['row']}"
        share = 1.0 if worst.whole else worst.scores.get("exact", 0.0)
        evidence = _evidence(corpus, found, worst, item) | {
            "other_items": [_named(found.index, verdict) for verdict in verdicts[1 : 1 + MORE_ITEMS]],
            "items": len(verdicts),
        }
        message = sentence.format(grade=worst.grade, item=place, share=share)
        yield Hit(row, message, worst.turn, evidence, detail=f"{item['eval_set']}\n{item['row_id'] or item['row']}")


def _evidence(corpus: Corpus, found: Found, verdict: Verdict, item: dict[str, Any]) -> dict[str, Any]:
    scores = {name: round(value, 4) if isinstance(value, float) else value for name, value in verdict.scores.items()}
    similarity = 1.0 if verdict.whole else round(max(verdict.scores.get("exact", 0.0), 0.0), 4)
    return {
        "twin": {name: item[name] for name in ("path", "line", "row", "row_id")},
        "measure": "share-of-question",
        "similarity": similarity,
        "eval_set": item["eval_set"],
        "grade": str(verdict.grade),
        "role": verdict.role,
        "whole_turn_or_line": verdict.whole,
        "answer_found": verdict.answer,
        "scores": scores,
        "row_words": _row_words(corpus, verdict),
        "item_words": _item_words(corpus, verdict),
    }


def _named(index: EvalIndex, verdict: Verdict) -> dict[str, Any]:
    item = index.items.row(verdict.item, named=True)
    return {"eval_set": item["eval_set"], "line": item["line"], "row": item["row"], "grade": str(verdict.grade)}


def _row_words(corpus: Corpus, verdict: Verdict) -> str:
    """The stretch of the turn that holds the item, as comparable words."""
    first, last = verdict.span
    return _cut(words_of(corpus.turns["content"][verdict.text] or "")[first : last + 1])


def _item_words(corpus: Corpus, verdict: Verdict) -> str:
    """The question in the same form; empty where an index stands for the items, which holds no text."""
    evals = corpus.evals
    if evals is None or corpus.eval_index is not None:
        return ""
    items = evals.remembered("eval_questions", lambda: [item.question for item in eval_items(evals)])
    return _cut(words_of(items[verdict.item]))


def _cut(words: list[str]) -> str:
    return " ".join(words[:SHOWN_WORDS]) + (" …" if len(words) > SHOWN_WORDS else "")
