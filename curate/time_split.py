"""Splits cut by time: nothing that is trained on is as late as the first row that is judged."""

from __future__ import annotations

import datetime
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curate.metadata import field_values
from curate.rows import Corpus
from curate.split import SPLITS, units_of
from schemas.config import SplitConfig
from schemas.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SHOWN = 3
EXPECTED = "dates such as 2026-01-31 or 2026-01-31T12:00:00Z (UTC where no zone is named), or numbers"


def times_of(corpus: Corpus, field: str) -> pl.Series:
    """The time of each row as its metadata give it, as text.

    Raises:
        UserError: a row has none, or one that is neither a date nor a number; names the first of them.
    """
    where = "curate.split.time_by"
    values = field_values(corpus, field, where)
    wrong = (values.is_null() | parsed(values).is_nan()).arg_true()
    if len(wrong):
        first = [corpus.place(int(corpus.rows["index"][row])) for row in wrong[:SHOWN]]
        places = [f"{corpus.sources[at.source].path}:{at.line if at.line else f'row {at.row}'}" for at in first]
        raise UserError(
            f"{len(wrong):,} rows have no time in the metadata field {field!r}, so no cut can place them",
            where=where,
            found=", ".join(f"{place}: {values[int(row)]!r}"[:120] for place, row in zip(places, wrong, strict=False)),
            expected=EXPECTED,
            help="complete the field, or drop such rows with the rule metadata-schema",
        )
    return values.alias("time")


def parsed(values: pl.Series) -> pl.Series:
    """Times as numbers that can be compared: numbers as they are, dates as seconds since 1970; NaN for anything else.

    Args:
        values: String Series [n]; numbers count only where every value is one, since dates may look like numbers.
    """
    numbers = values.str.strip_chars().cast(pl.Float64, strict=False)
    if numbers.null_count() == values.null_count() and bool(numbers.drop_nulls().is_finite().all()):
        return numbers.fill_null(float("nan"))
    known = {text: _seconds(text) for text in values.drop_nulls().unique()}
    return values.replace_strict(known, default=float("nan"), return_dtype=pl.Float64)


def _seconds(text: str) -> float:
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return float("nan")
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def assign_by_time(
    component_ids: pl.Series, groups: pl.Series | None, times: pl.Series, cuts: Mapping[str, float]
) -> pl.Series:
    """Assign each row by the latest time in its component and group, so that these stay whole and none is too late.

    Args:
        component_ids: [n] integers; rows with equal ids stay together.
        groups: [n] or null; rows with equal values stay together.
        times: Float64 [n].
        cuts: first time of each later split.

    Returns:
        String Series [n] of split names.
    """
    place = np.searchsorted(np.array(list(cuts.values())), _latest(component_ids, groups, times), side="right")
    return pl.Series("split", [SPLITS[0], *cuts], dtype=pl.String).gather(pl.Series(place))


def cuts_by_share(
    component_ids: pl.Series, groups: pl.Series | None, times: pl.Series, fractions: Mapping[str, float]
) -> dict[str, float]:
    """The cuts that meet the shares as nearly as they can: rows of the same time go to the same split.

    Args:
        component_ids: as `assign_by_time` takes them.
        groups: likewise.
        times: likewise.
        fractions: share of each split by name, in the order of time.
    """
    moments, counts = np.unique(_latest(component_ids, groups, times), return_counts=True)
    before = np.cumsum(counts) - counts
    wanted, cuts = 0.0, {}
    for name, following in itertools.pairwise(fractions):
        wanted += fractions[name] * len(times)
        if fractions[following] > 0 and len(moments):
            cuts[following] = float(moments[np.argmin(np.abs(before - wanted))])
    return cuts


def _latest(component_ids: pl.Series, groups: pl.Series | None, times: pl.Series) -> NDArray[np.float64]:
    """[n]: the latest time among the rows that must stay with each row."""
    unit = units_of(component_ids, groups)
    latest = np.full(int(unit.max()) + 1 if len(unit) else 0, -np.inf)
    np.maximum.at(latest, unit, times.to_numpy())
    return latest[unit]


def given_cuts(config: SplitConfig, times: pl.Series) -> dict[str, float]:
    """`time_cuts` of the config as numbers that compare with these times.

    Raises:
        UserError: a cut is no time of the rows' kind, or they are in the wrong order.
    """
    cuts = {name: config.time_cuts[name] for name in SPLITS[1:] if name in config.time_cuts}
    as_rows = pl.concat([times.unique(), pl.Series(list(cuts.values()), dtype=pl.String)])
    numbers = parsed(as_rows).tail(len(cuts)).to_list()
    if any(math.isnan(number) for number in numbers) or sorted(numbers) != numbers:
        raise UserError(
            "the cuts in time cannot be used",
            where="curate.split.time_cuts",
            found=", ".join(f"{name}: {text}" for name, text in cuts.items()),
            expected=f"times as the rows have them, such as {times[0]}, validation before test",
            help="correct them, or leave them out: then the shares decide",
        )
    return dict(zip(cuts, numbers, strict=True))


def rows_past_cut(times: pl.Series, splits: pl.Series, cuts: Mapping[str, float]) -> int:
    """How many rows stand in a split although they are as late as the first row of the next one, or later.

    Args:
        times: String Series [n].
        splits: of each row [n].
        cuts: first time of each later split.
    """
    found = pl.DataFrame({"time": parsed(times), "split": splits})
    place = {name: number for number, name in enumerate(SPLITS)}
    limits: dict[str, float] = {
        name: min((cut for later, cut in cuts.items() if place[later] > place[name]), default=float("inf"))
        for name in SPLITS
    }
    limit = pl.col("split").replace_strict(limits, default=float("-inf"), return_dtype=pl.Float64)
    return found.filter(pl.col("time").is_null() | pl.col("time").is_nan() | (pl.col("time") >= limit)).height


def account(field: str, times: pl.Series, splits: pl.Series, cuts: Mapping[str, float]) -> dict[str, Any]:
    """What the split proof says about time.

    Args:
        field: the metadata field.
        times: String Series [n].
        splits: of each row [n].
        cuts: first time of each later split.
    """
    moments = pl.DataFrame({"split": splits, "time": times, "at": parsed(times)})
    ends = moments.group_by("split").agg(
        first=pl.col("time").sort_by("at", "time").first(), last=pl.col("time").sort_by("at", "time").last()
    )
    return {
        "field": field,
        "cuts": dict(cuts),
        "spans": {row["split"]: [row["first"], row["last"]] for row in ends.sort("split").iter_rows(named=True)},
        "rows_past_cut": rows_past_cut(times, splits, cuts),
    }
