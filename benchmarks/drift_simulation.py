"""How often `assay drift` sees a difference where there is none, and how often it finds a topic that was planted.

    python benchmarks/drift_simulation.py
    python benchmarks/drift_simulation.py --trials 10

Real rows: the mails of examples/spam, and the paragraphs of Python's own language reference. Without a difference, the
rows of one collection are dealt to two sides at random, one by one or whole threads at a time: what is called drifted
is a false alarm. With one, a tenth of the new rows are of a topic that the old side has not: paragraphs of the language
reference, mails in a made-up language (the letters of each exchanged by one fixed rule), or mails of a mailing list of
which the old side holds none. What is alike is looked for once for a whole collection, which cannot depend on how its
rows are dealt; everything else is done as the command does it. Each line gives outcomes of the whole command, Wilson's
interval at 95% of the share that counts, and how often each measurement spoke.
"""

from __future__ import annotations

import argparse
import json
import string
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from curate.readers.records import corpus_of_records
from evals.drift.judge import measured
from evals.drift.pool import alike_rows, labels_of, representatives, said_in
from evals.drift.sample import Sample
from evals.drift.vectors import vectors_of
from evals.stats import wilson
from schemas.drift_config import DriftConfig
from schemas.verdict import Outcome, combine

MAILS = Path(__file__).resolve().parents[1] / "examples" / "spam" / "raw.jsonl"
LISTS = ("razor-users.example.sourceforge.net", "rpm-zzzlist.freshrpms.net")
"""Mailing lists of which the old side holds no mail; 213 and 397 mails."""
LEAST_WORDS = 15
"""Of a paragraph."""
LETTERS = str.maketrans(string.ascii_letters, string.ascii_lowercase[::-1] + string.ascii_uppercase[::-1])
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Collection:
    """Rows, and which of them are alike."""

    records: list[str]
    said: pl.DataFrame
    alike: Places
    labels: frozenset[str]

    @classmethod
    def of(cls, records: list[str], group_by: str | None) -> Collection:
        """Read records as the command does."""
        corpus = corpus_of_records({"rows": records}, {})
        said = said_in(corpus)
        return cls(records, said, alike_rows(corpus, None, group_by), labels_of(said["answer"].drop_nulls().to_list()))

    def sample(self, old: Places, new: Places, seed: int) -> Sample:
        """The two sides as the command draws them."""
        places = np.concatenate([old, new])
        is_new = np.arange(len(places)) >= len(old)
        drawn = representatives(self.alike[places], seed)
        rows = self.said[places[drawn]]
        texts = rows["prompt"].to_list()
        return Sample(texts, is_new[drawn], vectors_of(texts, None, seed), rows["answer"].to_list(), self.labels, seed)


def mails() -> list[str]:
    """The mails of the example."""
    return MAILS.read_text("utf-8").splitlines()


def paragraphs() -> list[str]:
    """Paragraphs of Python's language reference, as rows with one answer."""
    from pydoc_data.topics import topics

    texts = (" ".join(part.split()) for text in topics.values() for part in text.split("\n\n"))
    kept = dict.fromkeys(text for text in texts if len(text.split()) >= LEAST_WORDS)
    return [_row(f"Subject: {' '.join(text.split()[:4])}\n{text[:220]}", "ham") for text in kept]


def made_up(records: list[str]) -> list[str]:
    """The same mails in another language."""
    told = [json.loads(record)["messages"] for record in records]
    return [_row(turns[1]["content"].translate(LETTERS), turns[2]["content"]) for turns in told]


def _row(text: str, answer: str) -> str:
    asks = "Is this mail spam or ham? Answer spam or ham."
    roles = (("system", asks), ("user", text), ("assistant", answer))
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in roles]})


# --------------------------------------------------------------------------------------------------------- the trials


def by_row(rows: int, old: int, new: int, rng: np.random.Generator) -> tuple[Places, Places]:
    """Rows dealt one by one."""
    dealt = rng.permutation(rows)[: old + new]
    return dealt[:old], dealt[old:]


def by_thread(alike: Places, share: float, rng: np.random.Generator) -> tuple[Places, Places]:
    """Whole sets of rows dealt to the new side until it has its share."""
    sets = rng.permutation(np.unique(alike))
    counts = np.array([np.count_nonzero(alike == one) for one in sets])
    chosen = np.isin(alike, sets[: int(np.searchsorted(counts.cumsum(), share * len(alike)))])
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def planted(base: int, extra: int, rng: np.random.Generator) -> tuple[Places, Places]:
    """5,000 rows of the collection, or all but 900, and 900 more with 100 of the planted topic."""
    old, new = by_row(base, min(5000, base - 900), 900, rng)
    return old, np.concatenate([new, base + rng.permutation(extra)[:100]])


Sides = tuple[Places, Places]
Deal = Callable[[np.random.Generator], Sides]


@dataclass(frozen=True)
class Case:
    """What is tried: rows of a collection, dealt again and again."""

    name: str
    collection: Collection
    deal: Deal
    trials: int

    def samples(self) -> Iterator[Sample]:
        """One sample a trial; which other cases are run does not matter."""
        rng = np.random.default_rng([0, *self.name.encode()])
        return (self.collection.sample(*self.deal(rng), at) for at in range(self.trials))


def without_difference(trials: int) -> Iterator[Case]:
    """Rows of one collection on both sides."""
    spam, docs = Collection.of(mails(), "thread"), Collection.of(paragraphs(), None)
    rows, pages = len(spam.records), len(docs.records)
    yield Case("none: mails one by one, 1,000 beside 5,000", spam, partial(by_row, rows, 5000, 1000), 2 * trials)
    yield Case("none: mails in whole threads, a sixth", spam, partial(by_thread, spam.alike, 1 / 6), trials)
    yield Case("none: mails one by one, 200 beside 1,000", spam, partial(by_row, rows, 1000, 200), trials)
    yield Case("none: paragraphs, a sixth", docs, partial(by_row, pages, pages * 5 // 6, pages // 6), trials)


def with_a_topic(trials: int) -> Iterator[Case]:
    """A tenth of the new rows are of a topic that the old side has not."""
    spam = mails()
    topics = {"language reference": (spam, paragraphs()), "a made-up language": (spam, made_up(spam[:300]))}
    for name in LISTS:
        of_list = [record for record in spam if name in record]
        topics[f"mails of {name.split('.')[0]}"] = ([record for record in spam if name not in record], of_list)
    for name, (base, extra) in topics.items():
        old = min(5000, len(base) - 900)
        both = Collection.of([*base, *extra], "thread")
        deal = partial(planted, len(base), len(extra))
        yield Case(f"planted: {name}, 100 of 1,000 beside {old:,}", both, deal, trials)


def main() -> None:
    """Run every case and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=30, help="of each case; twice as many of the first")
    parser.add_argument("--only", choices=("none", "planted"), help="only cases without a difference, or with one")
    given = parser.parse_args()
    print("case | drifted | interval | fine | open | distinct new, known | spoke | CPU s a trial")
    cases = [] if given.only == "planted" else [without_difference(given.trials)]
    cases += [] if given.only == "none" else [with_a_topic(given.trials)]
    for case in chain.from_iterable(cases):
        name, samples = case.name, case.samples()
        outcomes, spoke = Counter[Outcome](), Counter[str]()
        rows, clock = (0, 0), time.process_time()
        for at, sample in enumerate(samples):
            found = measured(sample, DriftConfig(seed=at))
            outcomes[combine(one.outcome for one in found)] += 1
            spoke.update(one.name for one in found if one.outcome is Outcome.FAIL)
            rows = int(sample.new.sum()), int((~sample.new).sum())
        total = outcomes.total()
        low, high = wilson(outcomes[Outcome.FAIL], total, 0.05)
        seconds = (time.process_time() - clock) / total
        print(
            f"{name} | {outcomes[Outcome.FAIL]} of {total} | {low:.3f} to {high:.3f} | {outcomes[Outcome.PASS]} | "
            f"{outcomes[Outcome.INCONCLUSIVE]} | {rows[0]:,}, {rows[1]:,} | "
            f"{', '.join(f'{one} {count}' for one, count in spoke.most_common()) or '-'} | {seconds:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
