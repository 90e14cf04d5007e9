"""Answers that belong to other messages: there is nothing to learn but the rows, and overfitting must fail."""

from evals.selftest.case import GATE, ROWS, Case, Expected
from evals.selftest.task import made_rows, shuffled_answers
from schemas.verdict import Outcome

CASE = Case(
    name="shuffled_labels",
    what="32 rows with the labels of others, for 40 epochs",
    kind="fault",
    expected=(Expected(GATE, (Outcome.FAIL,)), Expected("overfitting:*", (Outcome.FAIL,))),
    train={"epochs": 40, "max_examples": 32, "keep": "last"},
    embedded={"epochs": 10, "batch_size": 4},
    rows=lambda seed: shuffled_answers(made_rows(seed, ROWS, short=True), seed),
)
