"""The base model with retrieved passages before the question."""

from __future__ import annotations

from evals.comparing.prompts import best_prompt
from evals.comparing.retrieving import retrieving
from evals.comparing.setting import Prepared, Setting

TITLE = "retrieval"
ORDER = 50


def applies(setting: Setting) -> str:
    """Where there are documents or trained rows."""
    known = setting.trained or setting.config.documents
    return "" if known else "there are neither documents nor trained rows to retrieve from"


def prepare(setting: Setting) -> Prepared:
    """Index the documents."""
    return retrieving(setting, "base", best_prompt(setting, "base"))
