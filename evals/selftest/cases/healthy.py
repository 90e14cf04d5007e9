"""Some hundred rows, two epochs, the best checkpoint: the gate must pass."""

from evals.selftest.case import GATE, Case, Expected
from schemas.verdict import Outcome

CASE = Case(
    name="healthy",
    what="600 rows, 2 epochs, answers of a sentence; the task is learned and nothing else is lost",
    kind="sound",
    expected=(Expected(GATE, (Outcome.PASS,)),),
    alarms=(Expected(GATE, (Outcome.FAIL,)),),
    train={"epochs": 2},
    embedded={"max_examples": 300},
)
