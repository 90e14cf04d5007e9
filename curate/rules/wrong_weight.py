"""SCH120 wrong-weight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from curate.rules.base import Action, Example
from curate.structure import Conversation, Flaw, StructureRule, shown
from schemas.finding import Severity


def _weighted(role: str, weight: object) -> Example:
    first = {"role": "user", "content": "a"} | ({"weight": weight} if role == "user" else {})
    second = {"role": "assistant", "content": "b"} | ({"weight": weight} if role == "assistant" else {})
    return Example(({"messages": [first, second]},))


class WrongWeight(StructureRule):
    """A message whose `weight` is neither 0 nor 1, or that is not the assistant's.

    ## What it does
    Reports weights that are not the number 0 or 1. A weight on a turn of anybody but the assistant is a warning, and so
    is 0.0 or 1.0.

    ## Why
    OpenAI's fine-tuning refuses the file. Other trainers either ignore the weight or multiply the loss with it.

    ## Known problems
    Weights between 0 and 1 mean something in a few trainers; set `level: info` for those.

    ## Source
    OpenAI's guide to supervised fine-tuning: "weight" of assistant messages is 0 or 1.
    """

    code: ClassVar[str] = "SCH120"
    name: ClassVar[str] = "wrong-weight"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "write 0 for assistant turns that are not trained, 1 or nothing for those that are"
    fires: ClassVar[tuple[Example, ...]] = (
        _weighted("assistant", 2),
        _weighted("assistant", "1"),
        _weighted("assistant", True),
        _weighted("user", 0),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _weighted("assistant", 0),
        _weighted("assistant", 1),
        _weighted("assistant", None),
        Example.chat("a", "b"),
    )

    @classmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """One for each weight that is wrong, or stands in the wrong place."""
        for _, turn, weight in conversation.weights:
            if isinstance(weight, bool) or weight not in (0, 1):
                found = str(weight) if isinstance(weight, int | float) else shown(weight)
                yield Flaw(turn, f"the weight of a message is {found[:60]}", found, "0 or 1")
            elif isinstance(weight, float):
                yield Flaw(turn, f"the weight of a message is {weight}", str(weight), "0 or 1", Severity.WARNING)
            elif (role := conversation.role(turn)) != "assistant" and isinstance(role, str):
                message = f"a turn by {role[:40]!r} has a weight"
                yield Flaw(turn, message, role, "weights on turns of the assistant only", Severity.WARNING)
