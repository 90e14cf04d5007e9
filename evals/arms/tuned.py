"""The fine-tuned model, asked with the very prompt of training."""

from __future__ import annotations

from evals.comparing.prompting import Item, plainly
from evals.comparing.setting import Prepared, Setting, Written

TITLE = "fine-tuned"
ORDER = 60


def applies(setting: Setting) -> str:
    """Always."""
    return ""


def prepare(setting: Setting) -> Prepared:
    """Nothing but the training that has been."""

    def write(item: Item) -> Written:
        return Written(plainly(item))

    return Prepared("tuned", write, {"trained_rows": len(setting.trained)}, setting.training_seconds)
