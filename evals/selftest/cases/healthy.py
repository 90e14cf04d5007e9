"""Some hundred rows, three epochs, the best checkpoint: the gate must pass."""

from evals.selftest.case import GATE, Case, Expected
from schemas.verdict import Outcome

CASE = Case(
    name="healthy",
    what="550 rows, 3 epochs, answers of a sentence; the task is learned and nothing else is lost",
    kind="sound",
    expected=(Expected(GATE, (Outcome.PASS,)),),
    alarms=(Expected(GATE, (Outcome.FAIL,)),),
    train={"epochs": 3, "batch_size": 8, "schedule": "cosine", "warmup_steps": 8},
    embedded={"epochs": 1, "max_examples": 300},
)
