"""What a row becomes in training: the rendered conversation, its tokens, and which of them carry loss.

The audit, training and the overfitting measurements all read tokens from here, so that they see the same ones. It needs
tokenizers and jinja2, no torch and no transformers. The text is rendered and tokenised once, as a whole; the loss mask
comes from character offsets.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from curate.chat_template import ChatTemplate, TemplateRefusal
from schemas.errors import UserError

IGNORED = -100
"""Label of a token without loss, as torch's cross entropy and TRL have it."""

MASK_MARK = "assay.content.{nonce}.{index}."
"""Stands for a message's content while the text around it is looked for."""

Messages = Sequence[Mapping[str, Any]]

_DROP = "give it an answer, or drop the row"


class SupervisionError(UserError):
    """A row that cannot be trained as it is; `reason` is stable, the message is for people."""

    def __init__(self, reason: str, what: str, *, found: str = "", expected: str = "", help: str = "") -> None:
        super().__init__(what, found=found, expected=expected, help=help)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Supervised:
    """One row as the trainer receives it."""

    input_ids: list[int]
    supervised: list[bool]
    """For each token, whether it carries loss: the assistant's turns with the token that ends them."""
    truncated_tokens: int
    """Prompt tokens cut so that the row fits."""
    truncated_turns: tuple[int, ...]
    """Index of every message that lost tokens."""
    end_of_turn_supervised: bool
    """Whether every supervised turn ends in a token that carries loss and tells the model to stop."""
    cuts: tuple[tuple[int, int], ...] = ()
    """Where tokens were cut: the index in `input_ids` before which they stood, and how many."""

    @property
    def labels(self) -> list[int]:
        """Token ids where there is loss, -100 elsewhere; not shifted, which the model does itself."""
        return [token if counted else IGNORED for token, counted in zip(self.input_ids, self.supervised, strict=True)]

    @property
    def supervised_tokens(self) -> int:
        """Number of tokens that carry loss."""
        return sum(self.supervised)


class Span(NamedTuple):
    """A half-open range of characters."""

    start: int
    end: int


class _Rendered(NamedTuple):
    text: str
    answers: list[Span]
    """Each supervised turn, from the end of its generation prompt to the end of what the template writes for it."""


class Supervisor:
    """Turns conversations into supervised tokens for one base model."""

    def __init__(
        self,
        tokenizer: Any,
        template: ChatTemplate,
        *,
        eos_token: str,
        pad_token: str | None,
        max_length: int,
        added_start: str = "",
    ) -> None:
        self.tokenizer = tokenizer
        """A `tokenizers.Tokenizer` that adds, cuts and pads nothing by itself."""
        self._template = template
        self.max_length = max_length
        self.added_start = added_start
        """Special tokens that the tokenizer would put before a text by itself; it does not do so here."""
        self.eos_token_id: int = tokenizer.token_to_id(eos_token)
        self.pad_token_id: int = tokenizer.token_to_id(pad_token or eos_token)
        added = tokenizer.get_added_tokens_decoder()
        self._special = {token for token, entry in added.items() if entry.special} | {self.eos_token_id}
        self.special_texts = sorted({entry.content for entry in added.values() if entry.special} | {eos_token})
        """Texts that become one special token wherever they stand, inside a message too."""

    def limited(self, max_length: int) -> Supervisor:
        """The same for rows of at most so many tokens."""
        other = copy.copy(self)
        other.max_length = max_length
        return other

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by itself, without a template."""
        return [len(encoding.ids) for encoding in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def render(self, messages: Messages, tools: Sequence[Any] | None = None) -> str:
        """The whole conversation as the template writes it.

        Raises:
            TemplateRefusal: the template refuses it.
        """
        return self._template.render(messages, tools)

    def prompt(self, messages: Messages, tools: Sequence[Any] | None = None) -> str:
        """The text that asks the model for its next turn: `messages` rendered with the generation prompt."""
        return self._template.render(messages, tools, generation_prompt=True)

    def encode(self, messages: Messages, tools: Sequence[Any] | None = None) -> Supervised:
        """Tokens and loss mask of one conversation.

        Raises:
            SupervisionError: see `encode_rows`.
        """
        result = self.encode_rows([messages], [tools])[0]
        if isinstance(result, SupervisionError):
            raise result
        return result

    def encode_rows(
        self, rows: Sequence[Messages], tools: Sequence[Sequence[Any] | None] | None = None
    ) -> list[Supervised | SupervisionError]:
        """Tokens and loss masks of many conversations, tokenised in one batch.

        Args:
            rows: the messages of each row.
            tools: the tool definitions of each row; None where no row has any.

        Returns:
            For each row its tokens, or why it cannot be trained. Reasons: `no-assistant-turn`, `template` (the template
            refuses the row), `not-a-prefix` (the template rewrites earlier turns once later ones follow),
            `straddling-token` (prompt and answer share a token), `no-supervised-token`, `too-long`, `not-unicode`.
        """
        tools = tools or [None] * len(rows)
        rendered = [_attempt(self._render, row, row_tools) for row, row_tools in zip(rows, tools, strict=True)]
        texts = [item.text for item in rendered if isinstance(item, _Rendered)]
        encodings = iter(self.tokenizer.encode_batch(texts, add_special_tokens=False))
        return [
            item if isinstance(item, SupervisionError) else _attempt(self._supervise, item, next(encodings), row, offer)
            for item, row, offer in zip(rendered, rows, tools, strict=True)
        ]

    def encode_text(self, text: str) -> list[Supervised]:
        """Plain text in pieces that fit, each token with loss, the end-of-sequence token after the last.

        A piece begins with the last token of the one before, which carries no loss there: every token but the first of
        the text is predicted once.

        Raises:
            SupervisionError: no token to train (`no-supervised-token`), or `not-unicode`.
        """
        if not _is_unicode(text):
            raise _not_unicode()
        ids = [*self.tokenizer.encode(text, add_special_tokens=False).ids, self.eos_token_id]
        if len(ids) < 2:
            raise SupervisionError("no-supervised-token", "the text is empty", help="drop the row")
        starts = range(0, len(ids) - 1, self.max_length - 1)
        pieces = [ids[start : start + self.max_length] for start in starts]
        return [
            Supervised(piece, [False, *[True] * (len(piece) - 1)], 0, (), k == len(pieces) - 1)
            for k, piece in enumerate(pieces)
        ]

    def encode_prompt(self, messages: Messages, tools: Sequence[Any] | None = None) -> Supervised:
        """A prompt to be answered, with the generation prompt, without any token that carries loss.

        Raises:
            SupervisionError: the template refuses it (`template`), it is `not-unicode`, or `too-long`.
        """
        text = _attempt(self.prompt, messages, tools)
        if isinstance(text, SupervisionError):
            raise text
        if not _is_unicode(text):
            raise _not_unicode()
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) > self.max_length:
            raise SupervisionError(
                "too-long",
                "the prompt leaves no room for an answer",
                found=f"{len(ids)} tokens",
                expected=f"at most {self.max_length} tokens",
                help="raise train.max_length, lower train.max_new_tokens, or drop the row",
            )
        return Supervised(ids, [False] * len(ids), 0, (), True)

    def _render(self, messages: Messages, tools: Sequence[Any] | None) -> _Rendered:
        answers = [k for k, message in enumerate(messages) if message.get("role") == "assistant"]
        if not answers:
            raise SupervisionError(
                "no-assistant-turn",
                "the row has no assistant turn, so there is nothing to train",
                found=f"roles {', '.join(str(message.get('role')) for message in messages) or 'none'}",
                help="add the answer as an assistant message, or drop the row",
            )
        trained = [k for k in answers if messages[k].get("weight") != 0]
        if not trained:
            raise SupervisionError(
                "no-supervised-token",
                "every assistant turn of the row has weight 0, so there is nothing to train",
                help="set a weight to 1, or drop the row",
            )
        # What follows the last trained turn has no effect on its loss.
        text = self._template.render(messages[: trained[-1] + 1], tools)
        if not _is_unicode(text):
            raise _not_unicode()
        return _Rendered(text, [self._span(text, messages, k, trained[-1], tools) for k in trained])

    def _span(self, text: str, messages: Messages, turn: int, last: int, tools: Sequence[Any] | None) -> Span:
        """Where an assistant turn is: from the end of its prompt to the end of what the template writes for it."""
        before = self._before(messages, turn, tools)
        # `text` ends with the last trained turn.
        through = text if turn == last else self._template.render(messages[: turn + 1], tools)
        # Some templates write a last token after the whole conversation only: then the turn ends where both part.
        end = len(through) if text.startswith(through) else _first_difference(text, through)
        content = messages[turn].get("content")
        whole = end == len(through) or (isinstance(content, str) and content.strip() in text[len(before) : end])
        if not (text.startswith(before) and whole and end > len(before)):
            raise SupervisionError(
                "not-a-prefix",
                "the chat template does not keep the prompt as a prefix of the whole conversation",
                found=f"what stands before the answer in message {turn} differs once later messages are there",
                help="train such rows with one assistant turn each, at the end, and without hidden reasoning",
            )
        return Span(len(before), end)

    def _before(self, messages: Messages, turn: int, tools: Sequence[Any] | None) -> str:
        """The prompt of an assistant turn; of one that opens the conversation, what the template writes before it."""
        content = messages[turn].get("content")
        if turn or not isinstance(content, str):
            return self._template.render(messages[:turn], tools, generation_prompt=True)
        # Without any message templates have nothing to write a prompt for.
        mark = MASK_MARK.format(nonce=len(content), index=turn)
        return self._template.render([{**messages[turn], "content": mark}], tools).partition(mark)[0]

    def _supervise(
        self, rendered: _Rendered, encoding: Any, messages: Messages, tools: Sequence[Any] | None
    ) -> Supervised:
        ids, offsets = encoding.ids, encoding.offsets
        turns = [self._turn(rendered.text, ids, offsets, span) for span in rendered.answers]
        ends_in_loss = all(ids[turn.stop - 1] in self._special for turn in turns)
        # Causal attention: nothing after the last token with loss can change the loss.
        ids, offsets = ids[: turns[-1].stop], offsets[: turns[-1].stop]
        mask = [False] * len(ids)
        for turn in turns:
            mask[turn.start : turn.stop] = [True] * len(turn)
        mask[0] = False  # nothing precedes the first token, so nothing can predict it
        excess = len(ids) - self.max_length
        if excess <= 0:
            return Supervised(ids, mask, 0, (), ends_in_loss)
        cut = self._cut(rendered, offsets, mask, messages, tools, excess)
        kept = [k for k in range(len(ids)) if k not in cut]
        cuts = tuple(Counter(k - before for before, k in enumerate(sorted(cut))).items())
        turns_cut = tuple(sorted(set(cut.values())))
        return Supervised([ids[k] for k in kept], [mask[k] for k in kept], excess, turns_cut, ends_in_loss, cuts)

    def _turn(self, text: str, ids: list[int], offsets: list[tuple[int, int]], span: Span) -> range:
        """The tokens of a trained turn, up to the special token that ends it, or all of them where none does.

        Blanks that a template writes after the end of a turn are not the model's to produce.
        """
        first, beyond = _bounds(offsets, span)
        stop = next((k + 1 for k in reversed(range(first, beyond)) if ids[k] in self._special), beyond)
        if text[offsets[stop - 1][1] : offsets[beyond - 1][1]].strip():
            stop = beyond  # what is special stands inside the turn, and does not end it
        crosses_start = first > 0 and offsets[first - 1][1] > span.start
        crosses_end = stop == beyond < len(ids) and offsets[beyond][0] < span.end
        if crosses_start or crosses_end:
            raise SupervisionError(
                "straddling-token",
                "the prompt and the answer share a token, so training would not see what the model sees in use",
                found=f"a token across character {span.start if crosses_start else span.end} of the rendered row",
                help="remove blanks at the start and the end of the answer",
            )
        if first == stop:
            raise SupervisionError("no-supervised-token", "an assistant turn of the row has no tokens", help=_DROP)
        return range(first, stop)

    def _cut(
        self,
        rendered: _Rendered,
        offsets: list[tuple[int, int]],
        mask: list[bool],
        messages: Messages,
        tools: Sequence[Any] | None,
        excess: int,
    ) -> dict[int, int]:
        """Which tokens go so that the row fits: token -> message it belonged to.

        Only the contents of prompt messages are cut, each from its start, the oldest message first and the system
        message last; what the template writes around them stays, and so does everything that carries loss.
        """
        contents = self._prompt_contents(rendered.text, messages, tools)
        order = sorted(contents, key=lambda k: (messages[k].get("role") in ("system", "developer"), k))
        cut: dict[int, int] = {}
        for k in order:
            inside = range(*_bounds(offsets, contents[k]))
            cut |= dict.fromkeys([token for token in inside if not mask[token]][: excess - len(cut)], k)
        if len(cut) < excess:
            raise SupervisionError(
                "too-long",
                "the row does not fit, even with its whole prompt cut",
                found=f"{len(offsets) - len(cut)} tokens that must stay, {sum(mask)} of them in the answer",
                expected=f"at most {self.max_length} tokens",
                help="raise train.max_length, or drop the row",
            )
        return cut

    def _prompt_contents(self, text: str, messages: Messages, tools: Sequence[Any] | None) -> dict[int, Span]:
        """Where the template put the contents of the untrained messages; empty if that cannot be proven.

        The messages are rendered once more with marks for contents: what stands between the marks is the template's.
        """
        messages = messages[: max(k for k, message in enumerate(messages) if _is_trained(message)) + 1]
        marked = {
            k: MASK_MARK.format(nonce=len(text), index=k)
            for k, message in enumerate(messages)
            if not _is_trained(message) and isinstance(message.get("content"), str)
        }
        masked = self._template.render(
            [{**message, "content": marked[k]} if k in marked else message for k, message in enumerate(messages)],
            tools,
        )
        spans: dict[int, Span] = {}
        position, rest = 0, masked
        for k, mark in marked.items():
            around, found, rest = rest.partition(mark)
            if not found or not text.startswith(around, position):
                return {}
            position += len(around)
            content = next((c for c in _variants(messages[k]["content"]) if text.startswith(c, position)), None)
            if content is None:
                return {}
            spans[k] = Span(position, position + len(content))
            position += len(content)
        return spans if text[position:] == rest else {}


def _is_trained(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "assistant" and message.get("weight") != 0


def _variants(content: str) -> tuple[str, str]:
    """A content as the row has it, and as most templates write it."""
    return content, content.strip()


def _attempt(step: Any, *arguments: Any) -> Any:
    try:
        return step(*arguments)
    except SupervisionError as error:
        return error
    except TemplateRefusal as error:
        problem = error.problems[0]
        return SupervisionError("template", problem.what, found=problem.found, help=problem.help)


def _bounds(offsets: list[tuple[int, int]], span: Span) -> tuple[int, int]:
    """First token that starts at or after the span's start, and first token that ends after its end."""
    first = next((k for k, (start, _) in enumerate(offsets) if start >= span.start), len(offsets))
    beyond = next((k for k, (_, end) in enumerate(offsets) if end > span.end), len(offsets))
    return first, max(first, beyond)


def _first_difference(left: str, right: str) -> int:
    return next((k for k, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


def _not_unicode() -> SupervisionError:
    return SupervisionError(
        "not-unicode",
        "the row holds half of a surrogate pair, which is not a character and has no token",
        help="repair the encoding of the row, or drop it",
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
