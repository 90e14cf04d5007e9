"""Compiling the kernels ahead of time, so that the first command on a machine does not wait for it.

    python -m curate.warm

Machine code is kept in the user's cache and made anew when the sources change. What is compiled depends on the types
that a kernel is called with, so that it is called here as it is at work: by an audit with all rules, and by a split
proof.
"""

from __future__ import annotations

from dataclasses import replace

import orjson
import polars as pl

from curate.audit import audit_corpus
from curate.dedup import find_duplicates, similarity_components
from curate.readers import source_from_bytes
from curate.rows import COMPILED_BYTES, Corpus
from curate.rules.catalogue import select_rules
from curate.split import split_proof

ROWS = 64


def warm() -> None:
    """Compile every kernel that audit and curate call, or load it where that was done before."""
    rows = _rows()
    items = orjson.dumps({"question": rows.turns["content"][0], "answer": rows.turns["content"][1]})
    audit_corpus(replace(rows, evals=source_from_bytes(items)), select_rules([]))
    text = rows.turns["content"]
    similarity_components(find_duplicates(text), threshold=0.5, max_share=1.0)
    find_duplicates(text, setting="fast")
    split_proof(text, pl.Series(["train", "test"]).gather(pl.int_range(len(text), eager=True) % 2))


def _rows() -> Corpus:
    """Conversations of as many bytes as make a corpus large, two of which are nearly equal."""
    words = COMPILED_BYTES // ROWS // 8
    lines = []
    for row in range(ROWS):
        said = " ".join(f"word{(row // 2 * words + at) % 1999}" for at in range(words)) + f" and {row} more things\n"
        turns = [
            {
                "role": "user",
                "content": f"What are the things that number {row} of the long lists says, and how many are there?",
            },
            {"role": "assistant", "content": said},
        ]
        lines.append(orjson.dumps({"messages": turns}) + b"\n")
    return source_from_bytes(b"".join(lines))


if __name__ == "__main__":
    warm()
