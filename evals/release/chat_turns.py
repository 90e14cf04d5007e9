"""A chat template taken apart into what it writes around each role's text, as far as it is that simple.

Most templates write turn after turn: ChatML, Llama 3, Zephyr. Some write the system's text into the first user turn:
Mistral, Llama 2. What is found by rendering one conversation must give every other conversation too; otherwise the
template is more than that, and nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

SYSTEM, ASKED, ANSWERED, AGAIN = "qqSYSTEMqq", "qqASKEDqq", "qqANSWEREDqq", "qqAGAINqq"
"""Texts that no template holds."""

Messages = Sequence[Mapping[str, str]]
Render = Callable[[Messages, bool], str]
"""Messages and whether an answer is to follow -> the prompt."""


@dataclass(frozen=True)
class Turns:
    """What stands before and behind the text of each role."""

    start: str
    """Before everything."""
    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]
    prompt: str
    """Behind the last turn, where an answer is to follow."""
    folded: bool = False
    """Whether the system's text goes into the first user turn, between what stands before that and `system[1]`."""
    default_system: str = ""
    """What the template says for the system where nobody does."""

    def render(self, messages: Messages) -> str:
        """The prompt for an answer to these messages."""
        if self.default_system and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.default_system}, *messages]
        text, opened = self.start, False
        for message in messages:
            before, behind = getattr(self, message["role"])
            text += ("" if opened else before) + message["content"] + behind
            opened = self.folded and message["role"] == "system"
        return text + self.prompt

    def go_template(self) -> str:
        """The same as an Ollama template, in Go's language."""
        user = self.user[0] + "{{ .Content }}" + self.user[1]
        if self.folded:
            user = "{{ if not $opened }}" + self.user[0] + "{{ end }}{{ $opened = false }}{{ .Content }}" + self.user[1]
        opened = ("{{ $opened := false }}", "{{ $opened = true }}") if self.folded else ("", "")
        return (
            f"{opened[0]}{self.start}{{{{ range .Messages }}}}"
            f'{{{{ if eq .Role "system" }}}}{self.system[0]}{{{{ .Content }}}}{self.system[1]}{opened[1]}'
            f'{{{{ else if eq .Role "user" }}}}{user}'
            f'{{{{ else if eq .Role "assistant" }}}}{self.assistant[0]}{{{{ .Content }}}}{self.assistant[1]}'
            f"{{{{ end }}}}{{{{ end }}}}{self.prompt}"
        )


def find_turns(render: Render) -> Turns | None:
    """The turns of a template; null where it is not turn after turn.

    Args:
        render: renders a conversation; may raise ValueError for one that the template refuses.
    """
    try:
        found = _take_apart(render)
        wanted = [render(messages, True) for messages in PROBES]
    except ValueError:
        return None
    return found if [found.render(messages) for messages in PROBES] == wanted else None


def _take_apart(render: Render) -> Turns:
    """Raises ValueError where a text is missing, or a piece is not where turn after turn would put it."""
    whole = render(PROBES[-1], True)
    first, to_user, to_answer, to_again, last = _around(whole, SYSTEM, ASKED, ANSWERED, AGAIN)
    _, user_end = _around(render(PROBES[0], False), ASKED)
    *_, answer_end = _around(render([*PROBES[0], _said("assistant", ANSWERED)], False), ASKED, ANSWERED)
    user = (_behind(to_again, answer_end), user_end)
    assistant = (_behind(to_answer, user_end), answer_end)
    opening = _before(_around(render(PROBES[0], True), ASKED)[0], user[0])
    turns = Turns(opening, ("", ""), user, assistant, _behind(last, user_end))
    if first == opening + user[0]:
        return replace(turns, system=(user[0], to_user), folded=True)
    system_end = _before(to_user, user[0])
    if opening.startswith(first) and opening.endswith(system_end) and len(opening) > len(first) + len(system_end):
        default = opening[len(first) : len(opening) - len(system_end)]
        return replace(turns, start="", system=(first, system_end), default_system=default)
    return replace(turns, system=(_behind(first, opening), system_end))


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


PROBES: tuple[Messages, ...] = (
    [_said("user", ASKED)],
    [_said("system", SYSTEM), _said("user", ASKED)],
    [_said("user", ASKED), _said("assistant", ANSWERED), _said("user", AGAIN)],
    [
        _said("system", SYSTEM),
        _said("user", ASKED),
        _said("assistant", ANSWERED),
        _said("user", AGAIN),
        _said("assistant", "qqFINEqq"),
        _said("user", "qqMOREqq"),
    ],
    [_said("system", SYSTEM), _said("user", ASKED), _said("assistant", ANSWERED), _said("user", AGAIN)],
)
"""Conversations whose rendering must be what the turns give."""


def _around(text: str, *said: str) -> list[str]:
    """The text cut at what was said, each of which it must hold once and in this order."""
    pieces = []
    for one in said:
        if text.count(one) != 1:
            raise ValueError(one)
        piece, _, text = text.partition(one)
        pieces.append(piece)
    return [*pieces, text]


def _behind(text: str, start: str) -> str:
    if not text.startswith(start):
        raise ValueError(text)
    return text[len(start) :]


def _before(text: str, end: str) -> str:
    if not text.endswith(end):
        raise ValueError(text)
    return text[: len(text) - len(end)]
