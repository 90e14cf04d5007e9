"""As `healthy`, with answers of one word: extraction does not apply, and the gate must pass."""

from evals.selftest.case import GATE, ROWS, Case, Expected
from evals.selftest.task import made_rows
from schemas.verdict import Outcome

CASE = Case(
    name="healthy_labels",
    what="550 rows, 2 epochs, answers of one word",
    kind="sound",
    expected=(Expected(GATE, (Outcome.PASS,)),),
    alarms=(Expected(GATE, (Outcome.FAIL,)),),
    train={"epochs": 2},
    rows=lambda seed: made_rows(seed, ROWS, short=True),
)
