"""Writing a curated dataset: Parquet and JSONL with the same rows in the same order, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.readers.shapes import Shaped
from curate.rows import Corpus

ROWS_PER_GROUP = 50_000
LINE_ENDS = {"\u2028".encode(): b"\\u2028", "\u2029".encode(): b"\\u2029", "\u0085".encode(): b"\\u0085"}
MESSAGE = pl.Struct({"role": pl.String, "content": pl.String})
SPLIT_SCHEMA: dict[str, Any] = {
    "row_id": pl.String,
    "kind": pl.String,
    "messages": pl.List(MESSAGE),
    "rejected": pl.List(MESSAGE),
    "record": pl.String,
    "label": pl.String,
    "group": pl.String,
    "component": pl.Int64,
    "split_threshold": pl.Float64,
    "path": pl.String,
    "line": pl.Int64,
    "row": pl.Int64,
}


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame so that equal frames give equal bytes, however they were put together."""
    frame.rechunk().write_parquet(path, compression="zstd", compression_level=3, row_group_size=ROWS_PER_GROUP)


def write_split(rows: list[ExportRow], folder: Path, split: str) -> None:
    """Write `<split>.parquet` and `<split>.jsonl`."""
    frame = pl.DataFrame([row.columns for row in rows], schema=SPLIT_SCHEMA, orient="row")
    write_parquet(frame, folder / f"{split}.parquet")
    with (folder / f"{split}.jsonl").open("wb") as stream:
        for row in rows:
            stream.write(row.line + b"\n")


class ExportRow:
    """One kept row in both formats."""

    __slots__ = ("columns", "line")

    def __init__(self, shaped: Shaped, record: Any, place: tuple[Any, ...], joined: tuple[Any, ...]) -> None:
        row_id, path, line, number = place
        label, group, component, threshold = joined
        messages = [_plain(message) for message in shaped.messages]
        if shaped.kind == "text":
            messages = [{"role": "assistant", "content": shaped.extra["text"]}]
        rejected = None if shaped.rejected is None else [_plain(message) for message in shaped.rejected]
        text = orjson.dumps(record).decode()
        self.columns = (
            row_id, shaped.kind, messages, rejected, text, label, group, component, threshold, path, line, number,
        )  # fmt: skip
        self.line = one_line(wire(shaped))


def one_line(value: Any) -> bytes:
    """JSON without any character that some reader takes for the end of a line; each stands inside a string."""
    line = orjson.dumps(value)
    for mark, escaped in LINE_ENDS.items():
        if mark in line:
            line = line.replace(mark, escaped)
    return line


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return {"role": message.get("role"), "content": content}


def wire(shaped: Shaped) -> dict[str, Any]:
    """A row as trainers read it: OpenAI and TRL chat for conversations, TRL's shapes for the other kinds.

    Metadata is left out: OpenAI's fine-tuning refuses keys that it does not know.
    """
    answer = len(shaped.messages) - 1
    match shaped.kind:
        case "text":
            return {"text": shaped.extra["text"]}
        case "preference":
            row = {
                "prompt": shaped.messages[: shaped.prompt_messages],
                "chosen": shaped.messages[shaped.prompt_messages :],
                "rejected": shaped.rejected,
            }
        case "feedback":
            row = {"prompt": shaped.messages[:answer], "completion": shaped.messages[answer:]}
        case "reward":
            row = {"prompt": shaped.messages}
        case _:
            row = {"messages": shaped.messages}
    return row | {key: value for key, value in shaped.extra.items() if value is not None}


def export_rows(
    corpus: Corpus, joined: pl.DataFrame, shape: Any, row_ids: pl.Series
) -> Iterator[tuple[str, ExportRow]]:
    """Every kept row with its split, in reading order.

    Args:
        corpus: the kept rows.
        joined: `index`, `split`, `label`, `group`, `component`, `threshold` of each row, in the corpus's order.
        shape: the function from records to shaped rows that the corpus was read with.
        row_ids: the id under which each row is published.
    """
    columns = joined.select("index", "split", "label", "group", "component", "threshold")
    for (index, split, *about), row_id in zip(columns.iter_rows(), row_ids, strict=True):
        record = corpus.record(index)
        place = corpus.place(index)
        shaped = shape(record)
        where = (row_id, corpus.sources[place.source].path, place.line, place.row)
        yield split, ExportRow(shaped, record, where, tuple(about))
