"""A few dozen rows, many epochs, loss on the answers alone: they are learned by heart, and overfitting must fail."""

from evals.selftest.case import GATE, Case, Expected
from schemas.verdict import Outcome

CASE = Case(
    name="over_epoch",
    what="32 rows for 30 epochs, loss on the answers",
    kind="fault",
    expected=(Expected(GATE, (Outcome.FAIL,)), Expected("overfitting:*", (Outcome.FAIL,))),
    train={"epochs": 30, "max_examples": 32, "keep": "last"},
    embedded={"epochs": 12, "batch_size": 6},
)
