"""The best of the prompts that a person wrote, chosen on validation rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from evals.comparing.prompting import Item, plainly, with_system
from evals.comparing.setting import Model, Setting
from schemas.errors import UserError

OWN = "own"
"""The prompt of the rows themselves."""


@dataclass(frozen=True)
class Chosen:
    """One of the prompts."""

    name: str
    system: str | None
    """Null leaves the rows as they are."""
    scores: dict[str, float]
    """Mean score of each prompt on the validation rows; empty where there was nothing to choose."""

    @property
    def facts(self) -> dict[str, Any]:
        """For the arm's record."""
        return {"prompt": self.name} | ({"prompts_on_validation": self.scores} if self.scores else {})

    def on(self, item: Item) -> Item:
        """The item with this prompt."""
        return item if self.system is None else replace(item, messages=with_system(item.messages, self.system))


def best_prompt(setting: Setting, model: Model) -> Chosen:
    """The prompt that scores best on validation rows when a model is asked without examples; of equals, the first.

    The rows' own prompt is one of them. Test rows are not looked at.

    Raises:
        UserError: there are prompts to choose from and no validation rows.
    """
    if model not in setting.chosen:
        setting.chosen[model] = _chosen(setting, model)
    return setting.chosen[model]


def _chosen(setting: Setting, model: Model) -> Chosen:
    prompts: dict[str, str | None] = {OWN: None, **setting.config.prompts}
    if len(prompts) == 1:
        return Chosen(OWN, None, {})
    if not setting.validation:
        raise UserError(
            "there are no validation rows to choose a prompt on",
            where="compare.prompts",
            found=f"{len(prompts)} prompts, the rows' own among them",
            expected="a validation split with rows that end in an answer",
            help="give it a share in curate.split, or name no prompts",
        )
    rows = setting.validation
    asked = [plainly(Chosen("", system, {}).on(row)) for system in prompts.values() for row in rows]
    answers = setting.ask(model, asked)
    scores = {}
    for place, name in enumerate(prompts):
        said = answers[place * len(rows) : (place + 1) * len(rows)]
        found = [setting.metric.score(one.text, row.answer) for row, one in zip(rows, said, strict=True)]
        scores[name] = round(sum(found) / len(found), 6)
    best = max(scores, key=lambda name: scores[name])
    return Chosen(best, prompts[best], scores)
