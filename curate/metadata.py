"""Fields of the rows' metadata, as columns."""

from __future__ import annotations

import difflib

import orjson
import polars as pl

from curate.rows import Corpus
from schemas.errors import UserError


def field_values(corpus: Corpus, name: str, where: str) -> pl.Series:
    """The value of a metadata field for each row, as text; null where a row does not have it.

    Raises:
        UserError: no row has the field, which would silently leave out what it was meant to do.
    """
    values: list[str | None] = []
    seen: dict[str, None] = {}
    for text in corpus.rows["metadata"]:
        metadata = orjson.loads(text) if text else {}
        seen.update(dict.fromkeys(metadata))
        value = metadata.get(name)
        values.append(value if isinstance(value, str) or value is None else orjson.dumps(value).decode())
    if corpus.height and all(value is None for value in values):
        close = difflib.get_close_matches(name, seen, n=1)
        raise UserError(
            f"no row has the metadata field {name!r}",
            where=where,
            found=f"fields {', '.join(sorted(seen)[:20])}" if seen else "rows without metadata",
            help=f"did you mean {close[0]!r}?" if close else "name a field that the rows have, or remove the setting",
        )
    return pl.Series("group", values, dtype=pl.String)


def field_numbers(corpus: Corpus, name: str, where: str) -> pl.Series:
    """The value of a metadata field for each row, as Float64; null where a row has none, or one that is no number.

    Numbers written as text count, as files of comma-separated values have no others; infinities and NaN do not.

    Raises:
        UserError: no row has the field, or none has a number there.
    """

    def compute() -> pl.Series:
        values = field_values(corpus, name, where)
        numbers = values.str.strip_chars().cast(pl.Float64, strict=False)
        numbers = numbers.to_frame().select(pl.when(numbers.is_finite()).then(numbers)).to_series()
        if corpus.height and numbers.null_count() == corpus.height:
            raise UserError(
                f"no row has a number in the metadata field {name!r}",
                where=where,
                found=repr(next(value for value in values if value is not None)[:80]),
                expected="numbers, the highest for the best row",
                help="name a field that holds numbers, or choose another policy",
            )
        return numbers

    return corpus.remembered(("field_numbers", name), compute)
