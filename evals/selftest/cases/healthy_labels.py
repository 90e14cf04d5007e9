"""As `healthy`, with answers of one word: extraction does not apply, and the gate must pass."""

from evals.selftest.case import GATE, ROWS, SOUND_TRAINING, Case, Expected
from evals.selftest.task import LEARNABLE, made_rows
from schemas.verdict import Outcome

CASE = Case(
    name="healthy_labels",
    what="550 rows, 3 epochs, answers of one word",
    kind="sound",
    expected=(Expected(GATE, (Outcome.PASS,)),),
    alarms=(Expected(GATE, (Outcome.FAIL,)),),
    train={**SOUND_TRAINING, "epochs": 3},
    rows=lambda seed: made_rows(seed, ROWS, short=True, used=LEARNABLE),
)
