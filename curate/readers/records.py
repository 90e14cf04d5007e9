"""A corpus from records that are in memory as JSON texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from curate.readers.builder import Builder
from curate.readers.mapping import shape_records
from curate.rows import Corpus, Source
from schemas.base import digest


def corpus_of_records(files: Mapping[str, Sequence[str]], reading: Mapping[str, Any]) -> Corpus:
    """One source for each list of records; rows have no line.

    Args:
        files: name of the source -> the JSON of each record.
        reading: `format` and `columns` as in the `data` section of a config.
    """
    kind = reading.get("format")
    columns = dict(reading.get("columns") or {})
    builder = Builder(shape_records(columns, kind), kind)
    sources = []
    for name, records in files.items():
        builder.start_source()
        pieces, start = [], 0
        for text in records:
            raw = text.encode()
            builder.add(orjson.loads(raw), None, start, start + len(raw))
            pieces.append(raw)
            start += len(raw)
        buffer = b"".join(pieces)
        sources.append(Source(name, "parquet", digest(buffer), len(buffer), len(records), buffer, lines=False))
    return Corpus(tuple(sources), *builder.frames(), columns=columns)
