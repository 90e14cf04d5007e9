"""Half of the test split among the trained rows, with the data gate off: the model's score there proves nothing."""

from evals.selftest.case import GATE, Case, Expected
from schemas.verdict import Outcome

CASE = Case(
    name="leaked_test",
    what="half of the test rows trained as well, for 8 epochs",
    kind="fault",
    expected=(Expected(GATE, (Outcome.FAIL,)),),
    train={"epochs": 8, "learning_rate": 5e-3, "max_examples": 96, "keep": "last"},
    leaked_share=0.5,
)
