"""The base model after the trained rows that are nearest to the question, the nearest one last."""

from __future__ import annotations

from evals.comparing.prompting import Item, with_examples
from evals.comparing.prompts import best_prompt
from evals.comparing.setting import Prepared, Setting, Written

TITLE = "few-shot, retrieved"
ORDER = 40


def applies(setting: Setting) -> str:
    """Where rows were trained."""
    return "" if setting.trained else "the rows that were trained are not known"


def prepare(setting: Setting) -> Prepared:
    """Index the trained rows."""
    prompt, opened = best_prompt(setting, "base"), setting.knowledge.rows
    rows = setting.knowledge.examples

    def write(item: Item) -> Written:
        (hits,) = opened.index.search([item.question], setting.config.shots)
        nearest = [rows[hit.passage.passage_id] for hit in reversed(hits)]
        conversation, shown = with_examples(prompt.on(item), nearest, setting.speaker)
        return Written(conversation, cut=shown < len(nearest))

    facts = {"shots": setting.config.shots, "index": opened.facts}
    return Prepared("base", write, facts | prompt.facts, opened.seconds)
