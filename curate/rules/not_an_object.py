"""SCH102 not-an-object."""

from __future__ import annotations

from typing import ClassVar

from curate.rules.base import Action, Example, FaultRule
from schemas.finding import Severity


class NotAnObject(FaultRule):
    """A line that is JSON, but no object.

    ## What it does
    Reports records that are a list, a text, a number, a boolean or null.

    ## Why
    A row needs named fields; trainers fail on such a line with a message about types, or read it as an empty row.

    ## Known problems
    None known.

    ## Source
    The JSON Lines convention (jsonlines.org) as trainers use it: one object a line.
    """

    code: ClassVar[str] = "SCH102"
    name: ClassVar[str] = "not-an-object"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "write one JSON object a line; a list of records belongs into a .json file"
    sentence: ClassVar[str] = "{found}, not an object"
    fires: ClassVar[tuple[Example, ...]] = (Example(([1, 2],)), Example((None,)), Example(("text",)))
    silent: ClassVar[tuple[Example, ...]] = (Example.chat("Hi", "Hello."),)
