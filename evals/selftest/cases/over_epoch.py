"""A few dozen rows, many epochs, loss on the answers alone: they are learned by heart, and overfitting must fail."""

from evals.selftest.case import GATE, ROWS, Case, Expected
from evals.selftest.task import made_rows
from schemas.verdict import Outcome

CASE = Case(
    name="over_epoch",
    what="32 rows for 60 epochs, loss on the answers, three in ten of which are wrong",
    kind="fault",
    expected=(Expected(GATE, (Outcome.FAIL,)), Expected("overfitting:*", (Outcome.FAIL,))),
    train={"epochs": 60, "learning_rate": 3e-3, "max_examples": 32, "keep": "last"},
    embedded={"epochs": 10, "batch_size": 4},
    measured=150,
    named=("perturbation",),
    rows=lambda seed: made_rows(seed, ROWS, wrong=0.3),
)
