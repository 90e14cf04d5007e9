"""What every HTML page of ours rests on: one file, no script, no request, everything that comes from data escaped."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from schemas.terminal import printable

TEMPLATES = Path(__file__).with_name("templates")


class Safe(str):
    """Markup that our own code made and that may be put on a page as it is."""


def html_text(value: Any) -> Any:
    """A value that came out of a template expression, as HTML; only what is marked `Safe` passes as it is."""
    return value if isinstance(value, Safe) else html.escape(printable(str(value)))


def environment(folders: Sequence[Path], finalize: Callable[[Any], Any], filters: Mapping[str, Any]) -> Environment:
    """Templates whose every `{{ }}` goes through `finalize`, so that no value is forgotten.

    Args:
        folders: where templates are looked for, in this order; the shared ones are found after them.
        finalize: escapes a value for the page's language.
        filters: further filters by name.
    """
    made = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=False,  # `finalize` escapes instead, for HTML and for Markdown alike
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= filters
    return made


def html_page(templates: Environment, page: str, style: str, **values: Any) -> str:
    """A page with its style inside and a policy that lets a browser load and run nothing else.

    Args:
        templates: of `environment`.
        page: name of the page's template; it puts `{{ csp }}` into its head and `{{ style }}` between style tags, each
            on lines of its own.
        style: name of the style's template.
        values: what the templates show.
    """
    css = templates.get_template(style).render(**values).strip()
    digest = base64.b64encode(hashlib.sha256(f"\n{css}\n".encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return templates.get_template(page).render(**values, style=Safe(css), csp=policy)
