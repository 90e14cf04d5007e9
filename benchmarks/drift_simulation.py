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
from collections.abc import Iterator
from dataclasses import dataclass
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


Case = tuple[str, Outcome, Iterator[Sample]]


def cases(trials: int) -> Iterator[Case]:
    """What is tried, the outcome that counts, and the samples."""
    config = DriftConfig()
    rng = np.random.default_rng(config.seed)
    spam, docs = Collection.of(mails(), "thread"), Collection.of(paragraphs(), None)
    rows, pages = len(spam.records), len(docs.records)

    def trial(collection: Collection, sides: tuple[Places, Places], at: int) -> Sample:
        return collection.sample(*sides, at)

    yield (
        "none: mails dealt one by one, 1,000 beside 5,000",
        Outcome.FAIL,
        (trial(spam, by_row(rows, 5000, 1000, rng), at) for at in range(2 * trials)),
    )
    yield (
        "none: mails dealt in whole threads, a sixth",
        Outcome.FAIL,
        (trial(spam, by_thread(spam.alike, 1 / 6, rng), at) for at in range(trials)),
    )
    yield (
        "none: mails dealt one by one, 200 beside 1,000",
        Outcome.FAIL,
        (trial(spam, by_row(rows, 1000, 200, rng), at) for at in range(trials)),
    )
    yield (
        "none: paragraphs dealt one by one, a sixth",
        Outcome.FAIL,
        (trial(docs, by_row(pages, pages * 5 // 6, pages // 6, rng), at) for at in range(trials)),
    )
    topics = {
        "language reference": (spam.records, paragraphs()),
        "made-up language": (spam.records, made_up(spam.records[:300])),
    }
    for name in LISTS:
        unseen = [name in record for record in spam.records]
        sides = [
            [record for record, is_of in zip(spam.records, unseen, strict=True) if is_of is side]
            for side in (False, True)
        ]
        topics[f"mails of {name.split('.')[0]}"] = (sides[0], sides[1])
    for name, (base, extra) in topics.items():
        both = Collection.of([*base, *extra], "thread")
        samples = (trial(both, planted(len(base), len(extra), rng), at) for at in range(trials))
        yield f"planted: {name}, 100 of 1,000 beside {min(5000, len(base) - 900):,}", Outcome.FAIL, samples


def main() -> None:
    """Run every case and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40, help="of each case; twice as many of the first")
    trials = parser.parse_args().trials
    print("case | drifted | interval | fine | open | distinct new, known | spoke | CPU s a trial")
    for name, counts, samples in cases(trials):
        outcomes, spoke = Counter[Outcome](), Counter[str]()
        rows, clock = (0, 0), time.process_time()
        for at, sample in enumerate(samples):
            found = measured(sample, DriftConfig(seed=at))
            outcomes[combine(one.outcome for one in found)] += 1
            spoke.update(one.name for one in found if one.outcome is counts)
            rows = int(sample.new.sum()), int((~sample.new).sum())
        total = outcomes.total()
        low, high = wilson(outcomes[counts], total, 0.05)
        seconds = (time.process_time() - clock) / total
        print(
            f"{name} | {outcomes[counts]} of {total} | {low:.3f} to {high:.3f} | {outcomes[Outcome.PASS]} | "
            f"{outcomes[Outcome.INCONCLUSIVE]} | {rows[0]:,}, {rows[1]:,} | "
            f"{', '.join(f'{one} {count}' for one, count in spoke.most_common()) or '-'} | {seconds:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
