"""The task is learned at a rate that wipes out the rest: drift must fail."""

from evals.selftest.case import GATE, Case, Expected
from schemas.verdict import Outcome

CASE = Case(
    name="forgetting",
    what="550 rows for one epoch at a learning rate that is far too high",
    kind="fault",
    expected=(Expected(GATE, (Outcome.FAIL,)), Expected("overfitting:drift", (Outcome.FAIL,))),
    train={"epochs": 1, "learning_rate": 3e-2, "keep": "last"},
)
