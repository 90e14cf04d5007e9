"""`compare`: which ways of doing the task are measured on the held-out items, and what they cost."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from schemas.backend import is_address, names_a_secret
from schemas.base import Count, PathText, Seed, Strict

Name = Annotated[str, Field(min_length=1, pattern=r"\S")]
Price = Annotated[float, Field(ge=0.0)]


class Prices(Strict):
    """What answers and trainings cost; without prices, arms are compared by the seconds that were measured."""

    currency: str = "USD"
    machine_hour: float | None = Field(default=None, ge=0.0)
    """An hour of the machine that answers and trains."""
    input_per_million: float | None = Field(default=None, ge=0.0)
    """Tokens read, where the own models are served at a price a token; takes the place of machine hours."""
    output_per_million: float | None = Field(default=None, ge=0.0)
    training: float | None = Field(default=None, ge=0.0)
    """One training; null takes the measured seconds at the price of the machine."""
    retrain_every_days: float | None = Field(default=None, gt=0.0)
    answers: Count | None = None
    """Answers wanted of one training; null compares what the first 1,000 cost."""

    @model_validator(mode="after")
    def _prices_of_both(self) -> Self:
        if (self.input_per_million is None) != (self.output_per_million is None):
            raise ValueError("`input_per_million` and `output_per_million` are given together or not at all")
        return self


class EndpointConfig(Strict):
    """An OpenAI-compatible chat endpoint that answers the same items, as a reference from outside."""

    base_url: str
    """Full address, which ends in /chat/completions."""
    model: Name
    """Its name at the endpoint."""
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Variable of the environment that holds the key; null sends none."""
    timeout: Annotated[float, Field(gt=0.0, le=3600.0)] = 60.0
    """Seconds to wait for an answer."""
    retries: int = Field(default=3, ge=0, le=20)
    """How often a request is repeated that the endpoint was too busy for."""
    input_per_million: Price | None = None
    """Price of a million tokens read."""
    output_per_million: Price | None = None
    """Price of a million tokens written."""

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        if not is_address(url) or not url.endswith("/chat/completions"):
            raise ValueError("`base_url` must be an address such as http://127.0.0.1:8000/v1/chat/completions")
        if names_a_secret(url):
            raise ValueError("`base_url` holds a password or key, which would be written into results")
        return url

    @model_validator(mode="after")
    def _prices_of_both(self) -> Self:
        if (self.input_per_million is None) != (self.output_per_million is None):
            raise ValueError("`input_per_million` and `output_per_million` are given together or not at all")
        return self


class CompareConfig(Strict):
    """What `assay compare` asks, of whom, and what a difference is worth."""

    items: Count | None = 80
    """Rows of the test split that every arm answers; null takes all."""
    arms: list[Name] | None = None
    """Names of the arms; null takes all that apply."""
    shots: Count = 4
    """Examples before the question in the few-shot arms."""
    prompts: dict[Name, Name] = Field(default_factory=dict)
    """Name -> system text to be tried instead of the rows' own; the best on validation rows is taken."""
    metric: Literal["auto", "label", "exact", "contains", "f1"] = "auto"
    """How an answer is scored; `auto` is `label` where the trained answers are labels, and `f1` otherwise."""
    format: Name | None = None
    """Regular expression that a whole answer must match; null: where answers are labels, being one of them."""
    documents: PathText | None = None
    """Folder or file of documents that are retrieved from; null takes the trained rows."""
    retriever: PathText = "bm25"
    """`bm25`, or the folder of an embedding model."""
    passages: Count = 3
    """Passages retrieved for a question."""
    passage_words: Annotated[int, Field(ge=10, le=10_000)] = 120
    """Most words of a passage."""
    gold: Name | None = None
    """Metadata field that names the passage, document or row in which the answer stands; several with | between."""
    fresh: Name | None = None
    """Metadata field of items that ask for what is newer than the trained rows: `fresh`, or a date."""
    fresh_since: datetime.date | None = None
    """First day that is fresh, where the field holds dates."""
    paraphrases: int = Field(default=20, ge=0, lt=1 << 31)
    """Items that are asked in other ways as well, to see whether the answer stays."""
    latency_items: Count = 8
    """Items that are answered one by one, each with its prompt read anew, to be timed."""
    margin: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.03
    """Quality that may be given up for a cheaper arm."""
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    """Level of the simultaneous two-sided intervals."""
    prices: Prices = Prices()
    """Of answers and trainings; without `machine_hour`, `train.price_per_hour` stands for it."""
    endpoint: EndpointConfig | None = None
    full: PathText | None = None
    """Manifest of a run of the same base model with `train.method: full`, for an arm of its own."""
    seed: Seed = 0

    @field_validator("format")
    @classmethod
    def _is_an_expression(cls, given: str | None) -> str | None:
        try:
            re.compile(given or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return given

    @field_validator("fresh_since", mode="before")
    @classmethod
    def _is_a_day(cls, given: Any) -> Any:
        return datetime.date.fromisoformat(given) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _fresh_has_a_field(self) -> Self:
        if self.fresh_since is not None and self.fresh is None:
            raise ValueError("`fresh_since` needs `fresh`, the metadata field that holds the date of each item")
        return self
