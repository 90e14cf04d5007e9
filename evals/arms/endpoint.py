"""Another model behind an OpenAI-compatible endpoint, with a prompt alone: a reference from outside."""

from __future__ import annotations

from evals.comparing.prompting import Item, plainly
from evals.comparing.prompts import best_prompt
from evals.comparing.setting import Prepared, Setting, Written

TITLE = "endpoint"
ORDER = 90


def applies(setting: Setting) -> str:
    """Where the config names one."""
    return "" if setting.config.endpoint is not None else "compare.endpoint names none"


def prepare(setting: Setting) -> Prepared:
    """Choose the prompt on validation rows."""
    assert setting.config.endpoint is not None
    prompt = best_prompt(setting, "endpoint")

    def write(item: Item) -> Written:
        return Written(plainly(prompt.on(item)))

    return Prepared("endpoint", write, {"served": setting.config.endpoint.model, **prompt.facts})
