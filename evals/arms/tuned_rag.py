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
    index, training = made.fixed_seconds, setting.training_seconds
    return replace(made, fixed_seconds=None if index is None or training is None else index + training)
