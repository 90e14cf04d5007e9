"""What the guard of retrieval finds, and what it takes out without need, on the demo's mails.

    python -m benchmarks.retrieval_guard [--rows 200] [--seed 0]

Held-out rows are mails of the demo's data. Documents are planted rows (held-out ones as they are, in other case and
spacing, within other mails, with words replaced by others of the data) and documents that hold no row: a sentence that
says what the answer to a row is, its first half (as a reply quotes it), and all mails that the exact check of splits
(`curate.dedup.exact_join`) finds nowhere near a held-out one. A planted row is found if no more than half of its pairs
of neighbouring words stand in the passages that are kept of its document; of the other documents, each that loses a
passage is a false alarm. Intervals are Wilson's.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from curate.dedup.exact_join import Checker
from evals.retrieval.guard import guard
from evals.retrieval.markup import Paragraph
from evals.retrieval.passages import Document, Passage, passages_of
from evals.stats import wilson

ROOT = Path(__file__).resolve().parent.parent
NEAR = 0.3
"""Jaccard similarity of neighbouring word pairs from which on a mail is too near to a held-out one to be an alarm."""
WORDS = 120
"""Of a passage, as `compare.passage_words` has it."""


class Row(NamedTuple):
    """A held-out row."""

    item_id: str
    question: str
    answer: str


class Planted(NamedTuple):
    """A document, of which kind, and the row that stands in it, as it is written there."""

    kind: str
    text: str
    row: str = ""


def mails() -> list[tuple[str, str]]:
    """(text, label) of the demo's rows, the repeated ones once."""
    lines = (ROOT / "examples" / "spam" / "raw.jsonl").read_text(encoding="utf-8").splitlines()
    turns = [json.loads(line)["messages"] for line in lines if line]
    return list(dict.fromkeys((said[-2]["content"], said[-1]["content"]) for said in turns))


def changed(text: str, rate: float, words: list[str], rng: random.Random) -> str:
    """A share of the words replaced by any others."""
    found = text.split()
    for at in rng.sample(range(len(found)), round(rate * len(found))):
        found[at] = rng.choice(words)
    return " ".join(found)


def documents(row: Row, others: list[str], words: list[str], rng: random.Random) -> Iterator[Planted]:
    """A row in every dress, and documents that are about it."""
    text = row.question
    before, after = rng.sample(others, 2)

    def within(said: str) -> str:
        return f"{before}\n\n{said}\n\n{after}"

    yield Planted("as it is", text, text)
    recased = "  \n".join(text.upper().split())
    yield Planted("other case and spacing", recased, recased)
    yield Planted("with its answer", f"{text}\n{row.answer}", text)
    yield Planted("within other text", within(text), text)
    yield Planted("within a long document", "\n\n".join([*rng.sample(others, 8), text, *rng.sample(others, 8)]), text)
    for rate in (0.1, 0.2, 0.3):
        other = changed(text, rate, words, rng)
        yield Planted(f"{rate:.0%} of words changed", other, other)
        other = changed(text, rate, words, rng)
        yield Planted(f"{rate:.0%} changed, within other text", within(other), other)
    subject = text.split("\n")[0].removeprefix("Subject:").strip()
    yield Planted("says the answer", f"{before}\n\nThe mail about {subject} was {row.answer}.")
    half = text.split()
    yield Planted("quotes the first half", f"{after}\n\n> {' '.join(half[: len(half) // 2])}")


def apart(text: list[str], held_out: list[str]) -> list[str]:
    """The texts that the exact check finds nowhere near a held-out one."""
    splits = pl.Series(["document"] * len(text) + ["test"] * len(held_out))
    pairs = Checker(pl.Series([*text, *held_out])).cross_pairs(splits, np.full(len(splits), NEAR))
    near = set(pairs["a"].to_list())
    return [one for at, one in enumerate(text) if at not in near]


def main() -> None:
    """Plant, guard, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    every = mails()
    rng.shuffle(every)
    rows = [Row(f"row{at}", *mail) for at, mail in enumerate(every[: given.rows])]
    background = apart([text for text, _ in every[given.rows :]], [row.question for row in rows])
    words = [word for text in background for word in text.split() if len(word) > 3 and word.isalpha()]
    planted = [one for row in rows for one in documents(row, background, words, rng)]
    planted += [Planted("other mails", text) for text in background]
    passages: list[Passage] = []
    of: list[list[Passage]] = []
    for at, one in enumerate(planted):
        lines = [Paragraph(k, part) for k, part in enumerate(one.text.split("\n\n"), start=1)]
        cut = list(passages_of(Document(f"{at:06}", f"{at:06}", lines), WORDS))
        passages += cut
        of.append(cut)
    start, spent = time.perf_counter(), time.process_time()
    found = guard(passages, rows)
    spent, wall = time.process_time() - spent, time.perf_counter() - start
    report(planted, of, {one.passage.passage_id for one in found.removed})
    print(f"\n{len(passages):,} passages, {len(rows)} rows: {spent:.1f} s of processor time, {wall:.1f} s")


def pairs(text: str) -> set[tuple[str, str]]:
    """Neighbouring words."""
    return set(pairwise(text.split()))


def is_found(one: Planted, passages: list[Passage], removed: set[str]) -> bool:
    """Whether the row is gone; of a document without one, whether a passage is."""
    kept = [passage.text for passage in passages if passage.passage_id not in removed]
    if not one.row or not pairs(one.row):
        return len(kept) < len(passages)
    return 2 * len(pairs(one.row) & set().union(*map(pairs, kept))) <= len(pairs(one.row))


def report(planted: list[Planted], of: list[list[Passage]], removed: set[str]) -> None:
    """One line for each kind of document."""
    found, held = Counter[str](), Counter(one.kind for one in planted)
    for one, passages in zip(planted, of, strict=True):
        found[one.kind] += is_found(one, passages, removed)
    holding = {one.kind for one in planted if one.row}
    print("| document | documents | found | share | 95% interval |\n" + "|---" * 5 + "|")
    for kind, count in held.items():
        low, high = wilson(found[kind], count, 0.05)
        name = kind if kind in holding else f"{kind} (must stay)"
        print(f"| {name} | {count:,} | {found[kind]} | {found[kind] / count:.4f} | {low:.4f}-{high:.4f} |")


if __name__ == "__main__":
    main()
