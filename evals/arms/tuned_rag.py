"""The fine-tuned model with retrieved passages before the question."""

from __future__ import annotations

from dataclasses import replace

from evals.comparing.prompts import OWN, Chosen
from evals.comparing.retrieving import retrieving
from evals.comparing.setting import Prepared, Setting

TITLE = "fine-tuned + retrieval"
ORDER = 70


def applies(setting: Setting) -> str:
    """Where there are documents or trained rows."""
    known = setting.trained or setting.config.documents
    return "" if known else "there are neither documents nor trained rows to retrieve from"


def prepare(setting: Setting) -> Prepared:
    """Index the documents; the prompt is that of training."""
    made = retrieving(setting, "tuned", Chosen(OWN, None, {}))
    seconds = setting.training_seconds
    facts = made.facts | {"training_seconds": seconds}
    return replace(made, facts=facts, fixed_seconds=made.fixed_seconds + (seconds or 0.0))
