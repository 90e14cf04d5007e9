"""The base model with a prompt alone: the rows' own, or the best of those that a person wrote."""

from __future__ import annotations

from evals.comparing.prompting import Item, plainly
from evals.comparing.prompts import best_prompt
from evals.comparing.setting import Prepared, Setting, Written

TITLE = "zero-shot prompt"
ORDER = 20


def applies(setting: Setting) -> str:
    """Always."""
    return ""


def prepare(setting: Setting) -> Prepared:
    """Choose the prompt on validation rows."""
    prompt = best_prompt(setting, "base")

    def write(item: Item) -> Written:
        return Written(plainly(prompt.on(item)))

    return Prepared("base", write, prompt.facts)
