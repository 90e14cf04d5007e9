"""Some hundred rows, two epochs, the best checkpoint: the gate must pass."""

from evals.selftest.case import GATE, ROWS, SOUND_TRAINING, Case, Expected
from evals.selftest.task import LEARNABLE, made_rows
from schemas.verdict import Outcome

CASE = Case(
    name="healthy",
    what="550 rows, 2 epochs, answers of a sentence; the task is learned and nothing else is lost",
    kind="sound",
    expected=(Expected(GATE, (Outcome.PASS,)),),
    alarms=(Expected(GATE, (Outcome.FAIL,)),),
    train={**SOUND_TRAINING, "epochs": 2},
    embedded={**SOUND_TRAINING, "epochs": 1, "learning_rate": 5e-4, "max_examples": 240, "batch_size": 4},
    rows=lambda seed: made_rows(seed, ROWS, used=LEARNABLE),
)
