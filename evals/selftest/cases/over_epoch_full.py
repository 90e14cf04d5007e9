"""As `over_epoch`, with loss on the whole sequence: messages are learned by heart as well as answers."""

from evals.selftest.case import GATE, Case, Expected
from schemas.verdict import Outcome

CASE = Case(
    name="over_epoch_full",
    what="16 plain texts for 60 epochs, loss on every token",
    kind="fault",
    expected=(Expected(GATE, (Outcome.FAIL,)), Expected("overfitting:*", (Outcome.FAIL,))),
    train={"epochs": 60, "learning_rate": 3e-3, "max_examples": 16, "keep": "last", "method": "text"},
    form="text",
)
