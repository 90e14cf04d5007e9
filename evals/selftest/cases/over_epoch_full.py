"""As `over_epoch`, with loss on the whole sequence: messages are learned by heart as well as answers."""

from evals.selftest.case import GATE, Case, Expected
from schemas.verdict import Outcome

CASE = Case(
    name="over_epoch_full",
    what="32 plain texts for 30 epochs, loss on every token",
    kind="fault",
    expected=(Expected(GATE, (Outcome.FAIL,)), Expected("overfitting:*", (Outcome.FAIL,))),
    train={"epochs": 30, "learning_rate": 5e-3, "max_examples": 32, "keep": "last", "method": "text"},
    form="text",
)
