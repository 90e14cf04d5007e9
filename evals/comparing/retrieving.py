"""Retrieved passages before a question, for whichever model is asked."""

from __future__ import annotations

from evals.comparing.prompting import Item, with_passages
from evals.comparing.prompts import Chosen
from evals.comparing.setting import Model, Prepared, Setting, Written


def retrieving(setting: Setting, model: Model, prompt: Chosen) -> Prepared:
    """An arm that asks with passages.

    Args:
        setting: the comparison.
        model: who is asked.
        prompt: in whose words.

    Raises:
        UserError: there is nothing to retrieve from.
    """
    opened = setting.knowledge.documents

    def write(item: Item) -> Written:
        (hits,) = opened.index.search([item.question], setting.config.passages)
        found = [hit.passage for hit in hits]
        conversation, shown, cut = with_passages(prompt.on(item), found, setting.speaker)
        return Written(conversation, passages=tuple(shown), cut=cut)

    facts = {"passages": setting.config.passages, "index": opened.facts}
    return Prepared(model, write, facts | prompt.facts, opened.seconds)
