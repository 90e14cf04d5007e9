"""The base model after a few trained rows as examples, the same before every question."""

from __future__ import annotations

import random

from evals.comparing.prompting import Item, with_examples
from evals.comparing.prompts import best_prompt
from evals.comparing.setting import Prepared, Setting, Written
from schemas.errors import UserError

TITLE = "few-shot, fixed"
ORDER = 30


def applies(setting: Setting) -> str:
    """Where rows were trained."""
    return "" if setting.trained else "the rows that were trained are not known"


def prepare(setting: Setting) -> Prepared:
    """Draw the examples from the trained rows."""
    prompt = best_prompt(setting, "base")
    examples = fixed_examples(setting)

    def write(item: Item) -> Written:
        conversation, shown = with_examples(prompt.on(item), examples, setting.speaker)
        return Written(conversation, cut=shown < len(examples))

    facts = {"shots": len(examples), "examples": [row.item_id for row in examples]}
    return Prepared("base", write, facts | prompt.facts)


def fixed_examples(setting: Setting) -> list[Item]:
    """A seeded choice of trained rows that ask nothing that is asked; of labels each once before any comes again.

    Raises:
        UserError: no trained row is left to be shown.
    """
    asked = {item.question for item in setting.items}
    rows = [row for row in setting.trained if row.question not in asked]
    if not rows:
        raise UserError("there are no rows to show as examples", found="every trained row asks what an item asks")
    draw = random.Random(f"few-shot:{setting.config.seed}")
    draw.shuffle(rows)
    first = {row.answer: row for row in reversed(rows)} if setting.labels else {}
    of_labels = sorted(first.values(), key=rows.index)
    others = [row for row in rows if first.get(row.answer) is not row]
    chosen = [*of_labels, *others][: setting.config.shots]
    draw.shuffle(chosen)
    return chosen
