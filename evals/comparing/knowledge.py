"""What is retrieved from: documents, or the trained rows; never what stands in a test row."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.comparing.prompting import Item
from evals.retrieval.search import BM25
from schemas.compare_config import CompareConfig
from schemas.errors import UserError

if TYPE_CHECKING:
    from evals.retrieval.guard import Guarded
    from evals.retrieval.passages import Passage, Read
    from evals.retrieval.search import Index

RANKS = (1, 3, 5, 10)
"""How many passages are looked at when retrieval is judged by itself, beside the number that is shown."""
NAMED = 20
"""Most passages that were kept out of an index which the record names."""


@dataclass(frozen=True)
class Opened:
    """An index, and what a reader should know of it."""

    index: Index
    guarded: Guarded
    seconds: float
    """To guard and build it."""
    facts: dict[str, Any]


@dataclass(frozen=True)
class Knowledge:
    """The indexes of a comparison, each made when an arm first needs it.

    Args:
        config: the section `compare`.
        root: where relative paths of the config start.
        read: the documents that the config names; null where it names none.
        trained: the rows that may be looked up.
        held_out: every row of the test split, asked or not.
    """

    config: CompareConfig
    root: Path
    read: Read | None
    trained: Sequence[Item]
    held_out: Sequence[Item]

    @cached_property
    def rows(self) -> Opened:
        """The trained rows, each a passage by its row id."""
        from evals.retrieval.passages import distinct, row_passages

        start = time.perf_counter()
        return self._opened(distinct(row_passages(self.trained)), start, {"over": "trained rows"})

    @cached_property
    def documents(self) -> Opened:
        """The documents that the config names, or the trained rows.

        Raises:
            UserError: a test row stands in each of them.
        """
        if self.read is None:
            return self.rows
        start, unreadable = time.perf_counter(), [f"{one.path}: {one.why}" for one in self.read.unreadable]
        counted = {"files": self.read.files, "empty": self.read.empty, "unreadable": len(unreadable)}
        facts = {"over": self.config.documents, **counted, "unreadable_files": unreadable[:NAMED]}
        return self._opened(self.read.passages, start, facts)

    @cached_property
    def examples(self) -> dict[str, Item]:
        """Row id -> trained row."""
        return {row.item_id: row for row in self.trained}

    def quality(self, items: Sequence[Item]) -> dict[str, Any]:
        """How well the documents are found by themselves, where items name the passage that holds their answer."""
        from evals.retrieval.quality import retrieval_quality

        name = self.config.gold
        gold = (
            [
                {part.strip() for part in item.metadata[name].split("|")} if name in item.metadata else None
                for item in items
            ]
            if name
            else []
        )
        if not any(gold):
            return {"recall_at_k": None, "mrr": None}
        ranks = sorted({*RANKS, self.config.passages})
        hits = self.documents.index.search([item.question for item in items], max(ranks))
        clusters = [item.cluster for item in items]
        return retrieval_quality(hits, gold, ranks, passages=self.documents.guarded.kept, clusters=clusters)

    def _opened(self, passages: Sequence[Passage], start: float, facts: dict[str, Any]) -> Opened:
        from evals.retrieval.guard import guard
        from evals.retrieval.search import open_index

        guarded = guard(passages, self.held_out)
        if not guarded.kept:
            kept_out = f"{len(guarded.removed)} of them kept out because a test row stands in them"
            raise UserError(
                "there is nothing to retrieve from",
                where="compare.documents",
                found=f"{len(passages)} passages, {kept_out}",
                expected="documents with text that is not the test split's",
                help="name other documents, or none: then the trained rows are retrieved from",
            )
        index = open_index(guarded.kept, self.retriever)
        seconds = time.perf_counter() - start
        named = [
            {"passage": one.passage.source, "item": one.item_id, "why": one.why} for one in guarded.removed[:NAMED]
        ]
        out = {"kept_out": len(guarded.removed), "kept_out_rows": named}
        return Opened(index, guarded, seconds, facts | index.facts | out)

    @property
    def retriever(self) -> str:
        """`bm25`, or where the embedding model lies."""
        name = self.config.retriever
        return name if name == BM25 else str(self.root / name)
