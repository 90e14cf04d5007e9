"""Reading a list of files into one corpus."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from curate.readers.builder import ROWS_PER_CHUNK, Builder
from curate.readers.files import Opened, open_file
from curate.readers.jsonarray import read_json
from curate.readers.jsonlines import read_lines
from curate.readers.mapping import shape_records
from curate.rows import Corpus, Source
from curate.spill import spill_for
from schemas.base import digest


def read_corpus(  # noqa: PLR0913 - each option is one that a caller sets
    paths: Iterable[Path],
    *,
    kind: str | None = None,
    columns: Mapping[str, str] | None = None,
    evals: Iterable[Path] = (),
    rows_per_chunk: int = ROWS_PER_CHUNK,
    progress: Callable[[int], None] = lambda size: None,
    name: Callable[[Path], str] = str,
    folder: Path | None = None,
    whole: bool = True,
    memory_mb: int | None = None,
) -> Corpus:
    """Read files in the order given.

    Args:
        paths: data files; `-` is standard input. Of a mapping, the values are the splits that the files hold, or null.
        kind: record kind that every row must have; null detects it row by row.
        columns: our field name -> the files' column.
        evals: files of eval items, read in the same way. Of a mapping, the values are the tasks whose items they hold.
        rows_per_chunk: how many rows are held as Python objects at a time; the result does not depend on it.
        progress: called with the bytes of each file once it is read.
        name: how a file is called in findings.
        whole: refuse a packed file that is damaged or cut off; otherwise what can be unpacked is read, with a fault.
        folder: where the text of large sources lies while it is worked on; null for the system's temporary folder.
        memory_mb: size in megabytes from which on sources are large; null for the default.

    Raises:
        UserError: a file cannot be opened, unpacked, or is not what its suffix says.
    """
    splits = paths if isinstance(paths, Mapping) else {}
    paths = tuple(paths)
    spill = spill_for(paths, folder, memory_mb)
    sources = []
    with ExitStack() as stack:
        tables = None
        if spill is not None:
            tables = stack.enter_context(spill.frame_file()), stack.enter_context(spill.frame_file())
        builder = Builder(shape_records(columns, kind), kind, rows_per_chunk, tables)
        for path in paths:
            opened = open_file(path, spill, whole=whole)
            split = splits.get(path) if splits else None
            sources.append(replace(_read(opened, builder, split), path=_shown(name(path))))
            progress(opened.size)
        rows, turns, faults = builder.frames()
    if spill is not None:
        spill.release()
    items = tuple(evals)
    against = read_corpus(items, name=name) if items else None
    if against is not None and isinstance(evals, Mapping):
        against = replace(against, tasks={_shown(name(path)): task for path, task in evals.items() if task is not None})
    return Corpus(tuple(sources), rows, turns, faults, evals=against, columns=dict(columns or {}), spill=spill)


def _shown(name: str) -> str:
    r"""A file's name as every output can carry it: bytes that are not UTF-8 become \xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def source_from_bytes(data: bytes, format: str = "jsonl", path: str = "memory") -> Corpus:
    """A corpus of one file that exists only in memory."""
    builder = Builder(shape_records(), None)
    source = _read(Opened(path, format, digest(data), len(data), data), builder)
    return Corpus((source,), *builder.frames())


def _read(opened: Opened, builder: Builder, split: str | None = None) -> Source:
    builder.start_source()
    buffer, path, within = opened.data, Path(opened.path), ""
    match opened.format:
        case "parquet":
            from curate.readers.tables import read_parquet

            buffer = read_parquet(opened.data[:], builder, path)
        case "arrow":
            from curate.readers.arrow import read_arrow

            buffer = read_arrow(opened.data[:], builder, path)
        case "csv" | "tsv":
            from curate.readers.delimited import read_delimited

            buffer = read_delimited(opened.data[:], builder, "\t" if opened.format == "tsv" else ",")
        case "text":
            from curate.readers.plaintext import read_text

            buffer = read_text(opened.data[:], builder)
        case "json":
            within = read_json(opened.data, builder)
        case _:
            read_lines(opened.data, builder)
    if opened.damage:
        builder.fault("broken-line", None, opened.damage, "a whole file")
    return Source(
        path=opened.path,
        format=opened.format,
        sha256=opened.sha256,
        size=opened.size,
        rows=builder.rows_in_source,
        buffer=buffer,
        lines=opened.format not in ("parquet", "arrow"),
        split=split,
        within=within,
    )
