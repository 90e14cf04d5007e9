"""SCH121 no-trained-turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from curate.rules.base import Action, Example
from curate.structure import Conversation, Flaw, StructureRule
from schemas.finding import Severity


def _answers(*weights: int) -> Example:
    messages = [
        message
        for weight in weights
        for message in ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": weight})
    ]
    return Example(({"messages": messages},))


class NoTrainedTurn(StructureRule):
    """A conversation whose assistant turns all have the weight 0.

    ## What it does
    Reports conversations in which the assistant speaks and each of its turns has `weight` 0.

    ## Why
    Nothing in the row is trained. OpenAI refuses it; elsewhere a batch of such rows has no loss.

    ## Known problems
    Trainers that do not know `weight` train on every assistant turn of such a row.

    ## Source
    OpenAI's guide to supervised fine-tuning, on `weight`.
    """

    code: ClassVar[str] = "SCH121"
    name: ClassVar[str] = "no-trained-turn"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "give the answer that is to be learnt the weight 1, or remove the row"
    fires: ClassVar[tuple[Example, ...]] = (_answers(0), _answers(0, 0))
    silent: ClassVar[tuple[Example, ...]] = (_answers(0, 1), _answers(1), Example.chat("a", "b"), Example.chat("a"))

    @classmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """One for the last assistant turn, where none is trained."""
        if not conversation.weights:
            return
        untrained = {turn for _, turn, weight in conversation.weights if weight == 0 and not isinstance(weight, bool)}
        answers = [turn for turn in range(len(conversation.messages)) if conversation.role(turn) == "assistant"]
        if answers and untrained.issuperset(answers):
            yield Flaw(answers[-1], "every assistant turn of this row has the weight 0", "0", "one turn with weight 1")
