"""What each row becomes in a model's own tokens: how many, which of them carry loss, what a length limit costs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.readers.mapping import shape_records
from curate.rows import Corpus

if TYPE_CHECKING:
    from curate.supervision import Supervisor

TRAINED_KINDS = ("chat", "prompt-completion", "preference", "feedback")
"""Kinds of rows that a chat template renders; of a preference row the chosen conversation."""
BATCH_ROWS = 256
NO_LIMIT = 1 << 30
BYTES_PER_TOKEN = 4
TURN_TOKENS = 4
"""What a template writes around a turn, about."""
SCHEMA: dict[str, Any] = {
    "index": pl.UInt32,
    "tokens": pl.Int64,  # of the whole row up to its last token with loss; null where it cannot be supervised
    "supervised": pl.Int64,  # tokens with loss
    "kept": pl.Int64,  # of them those that stay if a trainer cuts the row's end at the limit
    "answer_fits": pl.Boolean,  # whether cutting only the prompt makes the row fit
    "ends": pl.Boolean,  # whether every trained turn ends in a token with loss that tells the model to stop
    "reason": pl.String,  # why the row cannot be supervised, see `Supervisor.encode_rows`
    "found": pl.String,
    "lost_turn": pl.Int64,  # first message whose content the template does not write in its place
    "lost": pl.String,  # dropped, or out of order
}


@dataclass(frozen=True)
class TokenSettings:
    """What rows are measured with."""

    supervisor: Supervisor | None
    """Tokenizer and chat template of the model that will be trained; null for estimates."""
    max_length: int | None
    """Most tokens a row may have in training; null where nobody said."""
    model: str = ""
    """As the user named it."""


def row_tokens(corpus: Corpus) -> pl.DataFrame:
    """One line for each row that a chat template renders, columns as in SCHEMA, in the order of the rows.

    Raises:
        ValueError: no model was given.
    """
    settings = corpus.token_settings
    if settings is None or settings.supervisor is None:
        raise ValueError("row_tokens needs a tokenizer")
    supervisor, limit = settings.supervisor, settings.max_length
    return corpus.remembered("row_tokens", lambda: _counted(corpus, supervisor, limit or NO_LIMIT))


def estimated_tokens(corpus: Corpus) -> pl.DataFrame:
    """`index` and `tokens` of every row, from the length of its text alone: four bytes of UTF-8 a token."""

    def compute(part: Corpus) -> pl.DataFrame:
        size = pl.col("content").str.len_bytes().fill_null(0) + pl.col("calls").str.len_bytes().fill_null(0)
        turns = part.turns.filter(pl.col("part") != "rejected")
        return turns.group_by("index", maintain_order=True).agg(
            tokens=(size // BYTES_PER_TOKEN + TURN_TOKENS).sum().cast(pl.Int64)
        )

    return corpus.remembered("estimated_tokens", lambda: corpus.in_parts(compute))


def _counted(corpus: Corpus, supervisor: Supervisor, limit: int) -> pl.DataFrame:
    rows = _conversations(corpus)
    total = int(corpus.rows["kind"].is_in(TRAINED_KINDS).sum())
    frames, done = [pl.DataFrame(schema=SCHEMA)], 0
    while batch := list(islice(rows, BATCH_ROWS)):
        found = list(_measured(batch, supervisor, limit))
        frames.append(pl.DataFrame(found, schema=SCHEMA, orient="row"))
        done += len(batch)
        corpus.progress.part("tokenise", done, total, "rows")
    return pl.concat(frames)


Conversation = tuple[int, list[dict[str, Any]], list[Any] | None]
"""index, messages, tools"""


def _conversations(corpus: Corpus) -> Iterator[Conversation]:
    """Rows as chat templates take them; what is no turn (weights, tools) comes from the record itself."""
    shape = shape_records()
    rows = corpus.rows.filter(pl.col("kind").is_in(TRAINED_KINDS)).select("index", "beside")
    turns = (
        corpus.turns.filter((pl.col("part") == "messages") & pl.col("index").is_in(rows["index"].implode()))
        .select("index", "role", "content", "calls")
        .iter_rows()
    )
    beside = dict(rows.filter(pl.col("beside").is_not_null()).iter_rows())
    for index, group in groupby(turns, key=lambda turn: turn[0]):
        said = list(group)
        if index in beside or any(calls for *_, calls in said):
            shaped = shape(corpus.record(index))
            if shaped is not None and all(isinstance(message, dict) for message in shaped.messages):
                yield index, shaped.messages, shaped.extra.get("tools")
                continue
        yield index, [{"role": role or "", "content": content or ""} for _, role, content, _ in said], None


def _measured(batch: Sequence[Conversation], supervisor: Supervisor, limit: int) -> Iterator[tuple[Any, ...]]:
    from curate.supervision import Supervised, SupervisionError

    messages, tools = [row[1] for row in batch], [row[2] for row in batch]
    whole = supervisor.limited(NO_LIMIT).encode_rows(messages, tools)
    for (index, said, offered), row in zip(batch, whole, strict=True):
        lost_turn, lost = _lost(said, offered, supervisor)
        if isinstance(row, SupervisionError):
            yield index, None, None, None, None, None, row.reason, row.problems[0].found, lost_turn, lost
            continue
        tokens = len(row.input_ids)
        kept, fits = row.supervised_tokens, True
        if tokens > limit:
            kept = sum(row.supervised[:limit])
            fits = isinstance(supervisor.limited(limit).encode_rows([said], [offered])[0], Supervised)
        ends = row.end_of_turn_supervised
        yield index, tokens, row.supervised_tokens, kept, fits, ends, None, None, lost_turn, lost


def _lost(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None, supervisor: Supervisor
) -> tuple[int | None, str | None]:
    """The first message whose content the template does not write, or writes before that of an earlier message."""
    from curate.chat_template import TemplateRefusal

    try:
        text = supervisor.render(messages, tools)
    except TemplateRefusal:
        return None, None
    position = 0
    for turn, message in enumerate(messages):
        content = message.get("content")
        said = content.strip() if isinstance(content, str) else ""
        place = text.find(said, position)
        if place >= 0:
            position = place + len(said)
        elif said in text:
            return turn, "out of order"
        elif json.dumps(said, ensure_ascii=False)[1:-1] not in text:  # some templates write contents as JSON
            return turn, "dropped"
    return None, None
