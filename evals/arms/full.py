"""The base model with all of its weights fine-tuned, where a run of that kind is named."""

from __future__ import annotations

from evals.comparing.prompting import Item, plainly
from evals.comparing.setting import Prepared, Setting, Written, training_seconds

TITLE = "fully fine-tuned"
ORDER = 80


def applies(setting: Setting) -> str:
    """Where the config names a run."""
    return "" if setting.full is not None else "compare.full names no run with train.method full"


def prepare(setting: Setting) -> Prepared:
    """Nothing but the training that has been."""
    assert setting.full is not None

    def write(item: Item) -> Written:
        return Written(plainly(item))

    return Prepared("full", write, {}, training_seconds(setting.full))
