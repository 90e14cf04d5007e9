"""Writing a curated dataset: Parquet and JSONL with the same rows in the same order, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import polars as pl
from polars.io.plugins import register_io_source

from curate.readers.shapes import Shaped
from curate.rows import Corpus

ROWS_PER_GROUP = 50_000
BYTES_PER_GROUP = 1 << 25
"""The writer holds a few row groups, each several times: source bytes that a group may stand for on average."""
ROWS_PER_PART, BYTES_PER_PART = 10_000, 1 << 21
"""Rows that are Python objects at one time, and their bytes; fixed, so that what is written depends on nothing else."""
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
    "time": pl.String,
    "component": pl.Int64,
    "split_threshold": pl.Float64,
    "path": pl.String,
    "line": pl.Int64,
    "row": pl.Int64,
}


def write_parquet(parts: Iterable[pl.DataFrame], schema: dict[str, Any], path: Path, rows_per_group: int) -> None:
    """Write frames one after the other as one file; a few of them and of the row groups are in memory at a time.

    Args:
        parts: in the order of the rows; equal parts give equal bytes, whatever the number of threads.
        schema: of each part.
        path: the file to be made.
        rows_per_group: rows of each row group.
    """
    rest = iter(parts)  # a source that is read once
    source = register_io_source(lambda *_: rest, schema=schema)
    source.sink_parquet(path, compression="zstd", compression_level=2, row_group_size=rows_per_group)


def part_lengths(sizes: pl.Series) -> list[int]:
    """How many rows make each part: as many as ROWS_PER_PART and BYTES_PER_PART allow, by nothing but the rows.

    Args:
        sizes: bytes of each row.
    """
    rows = pl.int_range(sizes.len(), eager=True) // ROWS_PER_PART
    by_size = sizes.cum_sum() // BYTES_PER_PART
    return pl.DataFrame({"rows": rows, "by_size": by_size}).to_struct().rle().struct.field("len").to_list()


def group_length(sizes: pl.Series) -> int:
    """Rows of a row group: ROWS_PER_GROUP, or fewer where rows are so long that these would hold BYTES_PER_GROUP.

    Args:
        sizes: bytes of each row.
    """
    return min(ROWS_PER_GROUP, max(1, BYTES_PER_GROUP * sizes.len() // max(1, int(sizes.sum()))))


def write_split(corpus: Corpus, joined: pl.DataFrame, shape: Any, folder: Path, split: str) -> None:
    """Write `<split>.parquet` and `<split>.jsonl`: the rows of a split in reading order, part by part.

    Args:
        corpus: the kept rows.
        joined: `split`, `label`, `group`, `time`, `component`, `threshold` and `row_id`, under which a row is
            published, for each row, in the corpus's order.
        shape: the function from records to shaped rows that the corpus was read with.
        folder: where the files are made.
        split: its name.
    """
    chosen = joined["split"].eq(split).arg_true()
    sizes = corpus.rows.select(pl.col("stop") - pl.col("start"))["stop"].filter(joined["split"].eq(split))
    paths = pl.Series("path", [source.path for source in corpus.sources], dtype=pl.String)

    def parts(lines: BinaryIO) -> Iterator[pl.DataFrame]:
        start = 0
        for length in part_lengths(sizes):
            part = chosen[start : start + length]
            start += length
            rows = _taken(corpus.rows.select("index", "source", "line", "row", "kind", "start", "stop"), part)
            named = joined.select("row_id", "label", "group", "time", "component", split_threshold="threshold")
            about = _taken(named, part)
            columns, text = _written(corpus.records(rows), shape)
            lines.write(text)
            yield pl.DataFrame(
                [*about, *columns, *rows.select("kind", "line", "row"), paths.gather(rows["source"])]
            ).select(*SPLIT_SCHEMA)

    with (folder / f"{split}.jsonl").open("wb") as lines:
        write_parquet(parts(lines), SPLIT_SCHEMA, folder / f"{split}.parquet", group_length(sizes))


def _taken(frame: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    """Lines of a long frame at ascending places; only the stretch that holds them is brought into one piece."""
    first, last = places[0], places[-1]
    taken: pl.DataFrame = frame.slice(first, last - first + 1)[places - first]
    return taken


def _written(records: Iterable[Any], shape: Any) -> tuple[list[pl.Series], bytes]:
    """The columns `messages`, `rejected` and `record` of some rows, and their lines of JSON.

    Nothing of a record but text and bytes outlives its turn here: objects that pile up cost the garbage collector.
    """
    messages, rejected = _Conversations(), _Conversations()
    texts, lines = [], []
    for record in records:
        shaped = shape(record)
        if shaped.kind == "text":
            messages.add([{"role": "assistant", "content": shaped.extra["text"]}])
        else:
            messages.add(shaped.messages)
        rejected.add(shaped.rejected)
        text, row = orjson.dumps(record), wire(shaped)
        texts.append(text)
        # Most rows come as they go out; their messages are the same objects, so that the comparison costs nothing.
        lines.append(text if row == record and list(row) == list(record) else orjson.dumps(row))
    record_column = pl.Series("record", texts, dtype=pl.Binary).cast(pl.String)
    return [messages.column("messages"), rejected.column("rejected"), record_column], whole_lines(lines)


def whole_lines(values: Iterable[bytes]) -> bytes:
    """JSON values as lines without any character that some reader takes for the end of one; each is in a string."""
    return b"".join([(value if value.isascii() else _one_line(value)) + b"\n" for value in values])


def _one_line(value: bytes) -> bytes:
    for mark, escaped in LINE_ENDS.items():
        if mark in value:
            value = value.replace(mark, escaped)
    return value


class _Conversations:
    """A column of conversations, collected as one flat table of messages: much faster than from nested objects."""

    def __init__(self) -> None:
        self._lengths: list[int | None] = []
        self._roles: list[str | None] = []
        self._contents: list[str | None] = []

    def add(self, messages: list[dict[str, Any]] | None) -> None:
        """Append a row; null where it has no conversation of this kind."""
        self._lengths.append(None if messages is None else len(messages))
        for message in messages or ():
            content = message.get("content")
            self._roles.append(message.get("role"))
            self._contents.append(content if content.__class__ is not list else _joined(content))

    def column(self, name: str) -> pl.Series:
        """A list of messages for each row."""
        told = pl.DataFrame({"length": pl.Series(self._lengths, dtype=pl.UInt32)}).with_row_index("row")
        flat = pl.DataFrame(
            {
                "row": told["row"].repeat_by(told["length"].fill_null(0)).explode(empty_as_null=False),
                "role": pl.Series(self._roles, dtype=pl.String),
                "content": pl.Series(self._contents, dtype=pl.String),
            }
        )
        lists = flat.group_by("row", maintain_order=True).agg(pl.struct("role", "content").alias(name))
        empty = pl.when(pl.col("length") == 0).then(pl.lit([], pl.List(MESSAGE)))
        return told.join(lists, on="row", how="left", maintain_order="left").select(pl.coalesce(name, empty))[name]


def _joined(parts: list[dict[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))


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
