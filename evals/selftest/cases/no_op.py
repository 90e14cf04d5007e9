"""An adapter that changes nothing: it must not be called improved, and nothing was learned by heart.

The learning rate is so small that no answer changes. The gate as a whole may fail for want of a gain, and should.
"""

from evals.selftest.case import GATE, Case, Expected
from schemas.verdict import Outcome

CASE = Case(
    name="no_op",
    what="an adapter that leaves every answer as it was",
    kind="sound",
    expected=(
        Expected(GATE, (Outcome.FAIL, Outcome.INCONCLUSIVE)),
        Expected("*:improve", (Outcome.FAIL, Outcome.INCONCLUSIVE)),
    ),
    alarms=(Expected("*:improve", (Outcome.PASS,)), Expected("overfitting:*", (Outcome.FAIL,))),
    measured=100,
    named=("perturbation",),
    train={"epochs": 1, "learning_rate": 1e-9, "max_examples": 64},
)
