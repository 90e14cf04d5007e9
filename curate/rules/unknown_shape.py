"""SCH103 unknown-shape."""

from __future__ import annotations

from typing import ClassVar

from curate.rules.base import Action, Example, FaultRule
from schemas.finding import Severity


class UnknownShape(FaultRule):
    """A record whose fields match no shape of training data.

    ## What it does
    Looks at the names of the fields alone. Known are OpenAI chat (`messages`), ShareGPT (`conversations`), Alpaca
    (`instruction`, `output`), prompt and completion, preference pairs (`chosen`, `rejected`; OpenAI's
    `preferred_output`), feedback (`completion` with a boolean `label`), reward (`prompt` with a `reference`) and
    plain `text` or `content`. With `data.format` or `--kind` set, a record of any other kind is reported.

    ## Why
    What has no known shape cannot be rendered for training, and a wrong guess trains on the wrong field.

    ## Known problems
    Fields with unusual names need a column map.

    ## Source
    The dataset formats of TRL, OpenAI fine-tuning, axolotl and LLaMA-Factory.
    """

    code: ClassVar[str] = "SCH103"
    name: ClassVar[str] = "unknown-shape"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = (
        "name the columns with --columns prompt=question,completion=answer or `data.columns`, or rename them"
    )
    sentence: ClassVar[str] = "no known record shape; the record has {found}"
    fires: ClassVar[tuple[Example, ...]] = (Example(({"id": 1, "body": "x"},)), Example(({},)))
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("Hi", "Hello."),
        Example(({"instruction": "Add 1 and 2.", "input": "", "output": "3"},)),
    )
