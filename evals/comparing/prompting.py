"""Items as conversations, rendered and cut to tokens exactly as training does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.supervision import SupervisionError, Supervisor
from evals.dataset_items import AskedRow

if TYPE_CHECKING:
    from evals.retrieval.passages import Passage

Message = Mapping[str, Any]
SYSTEMS = ("system", "developer")
STAND_IN = "."
"""An answer in whose place the model's own goes, so that a prompt is cut as a trained row would be."""


@dataclass(frozen=True)
class Item:
    """A question with the answer that is expected: the conversation of a row, split at its last assistant turn."""

    item_id: str
    cluster: int
    """Items of one cluster are near-duplicates or of one group, and not independent."""
    messages: tuple[Message, ...]
    answer: str
    tools: Sequence[Any] | None = None
    slices: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    variant: str = ""
    """The rule by which the question was written in another way; empty for the row's own words."""

    @property
    def question(self) -> str:
        """The words of the last user turn."""
        said = [turn.get("content") for turn in self.messages if turn.get("role") == "user"]
        return said[-1] if said and isinstance(said[-1], str) else ""

    @property
    def text(self) -> str:
        """The words of all turns but the system's, for a classifier."""
        contents = [turn.get("content") for turn in self.messages if turn.get("role") not in SYSTEMS]
        return "\n".join(content for content in contents if isinstance(content, str))


def item_of(asked: AskedRow, slices: Sequence[str] = ()) -> Item:
    """The item that a row of the dataset makes."""
    row = asked.row
    turns = tuple(row.messages[:-1])
    return Item(row.row_id, row.component, turns, asked.answer, row.tools, tuple(slices), asked.metadata)


class Conversation(NamedTuple):
    """What a model is asked."""

    messages: tuple[Message, ...]
    tools: Sequence[Any] | None
    expected: str
    """The expected answer, which the decoder tries as a draft; it never decides what an answer is."""


def plainly(item: Item) -> Conversation:
    """The item as the row has it."""
    return Conversation(item.messages, item.tools, item.answer)


def with_system(messages: Sequence[Message], system: str) -> tuple[Message, ...]:
    """The conversation with another system turn."""
    rest = messages[1:] if messages and messages[0].get("role") in SYSTEMS else messages
    return ({"role": "system", "content": system}, *rest)


def with_examples(item: Item, examples: Sequence[Item], speaker: Speaker) -> tuple[Conversation, int]:
    """The item after examples; as many of the first ones as needed are left out so that it fits.

    Args:
        item: what is asked.
        examples: the best one last.
        speaker: knows what fits.

    Returns:
        The conversation, and how many examples it has.
    """
    own = [turn for turn in item.messages[:1] if turn.get("role") in SYSTEMS]
    rest = item.messages[len(own) :]
    for count in range(len(examples), 0, -1):
        shown = [turn for example in examples[-count:] for turn in _as_shown(example)]
        messages = (*own, *shown, *rest)
        if speaker.room(messages, item.tools) >= 0:
            return Conversation(messages, item.tools, item.answer), count
    return plainly(item), 0


def _as_shown(example: Item) -> list[Message]:
    turns = [turn for turn in example.messages if turn.get("role") not in SYSTEMS]
    return [*turns, {"role": "assistant", "content": example.answer}]


def with_passages(
    item: Item, passages: Sequence[Passage], speaker: Speaker
) -> tuple[Conversation, list[Passage], bool]:
    """The item with passages before the question in its last user turn, as many as there is room for.

    Args:
        item: what is asked.
        passages: the best one first.
        speaker: knows what fits.

    Returns:
        The conversation, the passages as it shows them, and whether one was cut or left out.
    """
    from evals.retrieval.fit import fit

    kept, cut = fit(passages, speaker.room(_behind(item.messages, []), item.tools), speaker.count)
    while kept:
        messages = _behind(item.messages, kept)
        if speaker.room(messages, item.tools) >= 0:
            return Conversation(messages, item.tools, item.answer), kept, cut
        kept, cut = kept[:-1], True  # what stands between passages takes room too
    return plainly(item), [], cut


def _behind(messages: Sequence[Message], passages: Sequence[Passage]) -> tuple[Message, ...]:
    place = max((k for k, turn in enumerate(messages) if turn.get("role") == "user"), default=len(messages) - 1)
    numbered = "\n\n".join(f"[{k}] {passage.text}" for k, passage in enumerate(passages, 1))
    asked = messages[place]
    told = f"Passages that may help:\n\n{numbered}\n\nQuestion:\n\n{asked.get('content') or ''}"
    return (*messages[:place], {**asked, "content": told}, *messages[place + 1 :])


class Speaker:
    """Makes tokens of conversations, as training made them.

    Args:
        supervisor: of the base model.
        context: most tokens that the models read and write together.
        most: tokens that an answer may have.
    """

    def __init__(self, supervisor: Supervisor, context: int, most: int) -> None:
        self._supervisor, self.context, self.most = supervisor, context, most
        self.end: int = supervisor.eos_token_id

    def count(self, text: str) -> int:
        """Tokens of a text by itself."""
        return self._supervisor.count([text])[0]

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as text, without special ones and without blanks around it."""
        return str(self._supervisor.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()

    def room(self, messages: Sequence[Message], tools: Sequence[Any] | None) -> int:
        """Tokens that are still free beside this prompt and its answer; negative where it does not fit."""
        return self.context - self.most - len(self._encoded(self._supervisor.prompt(list(messages), tools)))

    def is_cut(self, asked: Conversation) -> bool:
        """Whether a prompt's own words have to be cut so that it fits."""
        return self.room(asked.messages, asked.tools) < 0

    def prompt(self, asked: Conversation) -> tuple[tuple[int, ...], bool]:
        """The tokens of a prompt, and whether its own words had to be cut.

        They are cut as training cuts a row that is too long: the oldest words of prompt messages first.

        Raises:
            SupervisionError: it cannot be made to fit.
        """
        tokens = self._encoded(self._supervisor.prompt(list(asked.messages), asked.tools))
        if len(tokens) + self.most <= self.context:
            return tokens, False
        said = [{**turn, "weight": 0} if turn.get("role") == "assistant" else turn for turn in asked.messages]
        whole = [*said, {"role": "assistant", "content": STAND_IN}]
        (free,) = self._supervisor.limited(1 << 30).encode_rows([whole], [asked.tools])
        if isinstance(free, SupervisionError):
            raise free
        room = self.context - self.most + free.supervised_tokens
        (cut,) = self._supervisor.limited(room).encode_rows([whole], [asked.tools])
        if isinstance(cut, SupervisionError):
            raise cut
        return tuple(cut.input_ids[: len(cut.input_ids) - cut.supervised_tokens]), True

    def draft(self, asked: Conversation, prompt: tuple[int, ...]) -> tuple[int, ...]:
        """The tokens of the expected answer after its prompt; empty where they cannot be told apart from it."""
        text = self._supervisor.prompt(list(asked.messages), asked.tools) + asked.expected
        whole = (*self._encoded(text), self.end)
        return whole[len(prompt) :][: self.most - 1] if whole[: len(prompt)] == prompt else ()

    def _encoded(self, text: str) -> tuple[int, ...]:
        return tuple(self._supervisor.tokenizer.encode(text, add_special_tokens=False).ids)
