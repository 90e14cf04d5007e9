"""Rendering a conversation with a model's own chat template, in a sandbox, as transformers renders it.

Templates come with models and are foreign code: they run in jinja2's immutable sandbox, and they see plain data only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from schemas.errors import UserError


class TemplateRefusal(UserError):
    """The template refuses this conversation, for example because roles do not alternate."""


class _GenerationBlocks(Extension):
    """Accepts `{% generation %}...{% endgeneration %}`, which mark the assistant's part; they print what they hold."""

    tags = {"generation"}  # noqa: RUF012  jinja2 declares it so

    def parse(self, parser: Any) -> Any:
        """Give the block's statements as they are."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """A compiled chat template."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        """Compile.

        Args:
            source: the template's jinja2 text.
            special_tokens: name -> text, such as `eos_token`, that templates may use.

        Raises:
            UserError: the source is not a template.
        """
        self._special_tokens = dict(special_tokens)
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise UserError(
                "the chat template does not compile",
                where="chat_template",
                found=str(error)[:200],
                help="compare it with the model's published template",
            ) from error

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Any] | None = None,
        *,
        generation_prompt: bool = False,
    ) -> str:
        """The conversation as text.

        Args:
            messages: role, content and what else the template reads; plain data.
            tools: tool definitions as JSON schemas.
            generation_prompt: whether the header of the next assistant turn follows.

        Raises:
            TemplateRefusal: the template raises, or needs something that the conversation does not have.
        """
        try:
            return self._template.render(
                messages=[dict(message) for message in messages],
                tools=list(tools) if tools else None,
                documents=None,
                add_generation_prompt=generation_prompt,
                **self._special_tokens,
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
            raise TemplateRefusal(
                "the chat template refuses the row",
                found=f"{type(error).__name__}: {str(error)[:200]}",
                help="check the order of roles and that every content is text",
            ) from error


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # jinja2's own filter escapes HTML, which would change the prompt.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)
