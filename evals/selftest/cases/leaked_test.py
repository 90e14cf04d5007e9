"""Half of the test split among the trained rows, with the data gate off: the model's score there proves nothing."""

from evals.selftest.case import GATE, Case, Expected
from schemas.verdict import Outcome

CASE = Case(
    name="leaked_test",
    what="half of the test rows trained beside as many others, for 2 epochs",
    kind="fault",
    expected=(Expected(GATE, (Outcome.FAIL,)),),
    train={"epochs": 2, "keep": "last"},
    leaked_share=0.5,
)
