"""What a selftest of the data gates found: recall, precision and false alarms of each kind of planted fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from evals.selftest.rates import Rate
from schemas.base import Strict
from schemas.verdict import Outcome, combine

MIN_RECALL, MAX_ALARMS = 0.9, 0.01


class EditRate(Strict):
    """One way of planting a kind."""

    name: str
    found: Rate


class KindRates(Strict):
    """One kind of planted fault."""

    name: str
    what: str
    rules: tuple[str, ...]
    found: Rate
    """Planted rows that were found: the recall."""
    edits: tuple[EditRate, ...]
    false_alarms: Rate
    """Of the rows in which nothing was planted, those that the rules report and did not before."""
    precision: Rate
    """Of the rows that are reported on account of what was planted, those in which it was."""
    untouched: int
    """Rows that the rules report in the user's data as it is."""

    @property
    def outcome(self) -> Outcome:
        """Whether enough is found and false alarms are rare."""
        return combine((self.found.at_least(MIN_RECALL), self.false_alarms.at_most(MAX_ALARMS)))


class DataRates(Strict):
    """`selftest.json` of the data gates."""

    schema_: Literal["assay/selftest-data/1"] = Field(default="assay/selftest-data/1", alias="schema")
    outcome: Outcome
    rows: int
    """Of the user's, that were copied."""
    left_out: int
    """Of the user's, that cannot be read, or that are not in the sample."""
    kinds: tuple[KindRates, ...]

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}


def data_rates(kinds: Sequence[KindRates], rows: int, left_out: int) -> DataRates:
    """Put the kinds together."""
    return DataRates(outcome=combine(one.outcome for one in kinds), rows=rows, left_out=left_out, kinds=tuple(kinds))
