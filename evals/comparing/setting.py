"""What every arm of a comparison is given: the items, the rows it may learn from, and the models it may ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from evals.comparing.metrics import Metric
from evals.comparing.prompting import Conversation, Item, Speaker
from schemas.compare_config import CompareConfig
from schemas.manifest import read_manifest

if TYPE_CHECKING:
    from evals.comparing.knowledge import Knowledge
    from evals.comparing.prompts import Chosen
    from evals.retrieval.passages import Passage

IMPORTED = "unverified"
"""Begins the note of a run that was made elsewhere."""
Model = Literal["base", "tuned", "full", "endpoint", "none"]


class Answer(NamedTuple):
    """What a model said."""

    text: str
    tokens_in: int
    tokens_out: int
    """The token that ended it included."""
    failed: str = ""
    """Why there is no answer to this item; empty where there is one."""


@dataclass(frozen=True)
class Written:
    """An item as an arm asks it, or the arm's own answer where no model is asked."""

    conversation: Conversation | None = None
    answer: str | None = None
    passages: tuple[Passage, ...] = ()
    """What was retrieved and shown."""
    cut: bool = False
    """Whether examples or passages were left out because they did not fit the context."""


@dataclass(frozen=True)
class Prepared:
    """An arm that is ready."""

    model: Model
    write: Callable[[Item], Written]
    facts: dict[str, Any] = field(default_factory=dict)
    """What a reader should know of how it asks, as plain data."""
    fixed_seconds: float | None = 0.0
    """What had to be computed once before the first answer: training, building an index; null where nobody knows."""


@dataclass(frozen=True)
class Setting:
    """One comparison, as its arms see it."""

    items: tuple[Item, ...]
    """Of the test split, in a fixed order."""
    validation: tuple[Item, ...]
    """Rows on which an arm may choose; empty where the dataset has none."""
    trained: tuple[Item, ...]
    """The rows that the tuned model was trained on: all that any arm may learn from."""
    labels: tuple[str, ...]
    """The answers where they are labels, sorted; empty where they are text."""
    config: CompareConfig
    metric: Metric
    speaker: Speaker
    ask: Callable[[Model, Sequence[Conversation]], list[Answer]]
    knowledge: Knowledge
    """What is retrieved from."""
    training_seconds: float | None
    """How long the training of the tuned model took; null where it was imported and nobody knows."""
    full: Path | None
    """Stage folder of the fully fine-tuned run, where one is named."""
    chosen: dict[str, Chosen] = field(default_factory=dict)
    """Model -> the prompt that was chosen for it, once it was."""


def training_seconds(trained: Path) -> float | None:
    """How long a training took; null where it was imported and nobody knows.

    Args:
        trained: its stage folder.
    """
    provenance = read_manifest(trained).provenance
    return None if any(note.startswith(IMPORTED) for note in provenance.notes) else provenance.seconds


class Arm(Protocol):
    """A file of `evals/arms`."""

    TITLE: str
    ORDER: int

    def applies(self, setting: Setting) -> str:
        """Why it cannot be asked; empty where it can."""

    def prepare(self, setting: Setting) -> Prepared:
        """Make it ready."""


def arms() -> Mapping[str, Arm]:
    """Name -> arm, in the order of ORDER."""
    from evals.discovery import modules

    found: list[Any] = sorted(modules("evals.arms"), key=lambda arm: arm.ORDER)
    return {arm.__name__.rpartition(".")[2]: arm for arm in found}
