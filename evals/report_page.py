"""The report as Markdown and as one self-contained HTML page: no script, no request, everything from data escaped."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evals.report_facts import Comparison, Facts
from evals.report_pictures import PALETTE, model_name
from schemas.results import TaskScore
from schemas.terminal import printable
from schemas.verdict import Outcome

TEMPLATES = Path(__file__).with_name("templates")
MISSING = "-"
"""Shown where a number does not exist."""


class Safe(str):
    """Text that this module made and that may be put on a page as it is."""


def markdown_page(facts: Facts) -> str:
    """The report as GitHub-flavoured Markdown; pictures are files beside it."""
    text: str = _environment(_markdown_text).get_template("report.md.jinja").render(facts=facts)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def html_page(facts: Facts, pictures: dict[str, str]) -> str:
    """The report as one page.

    Args:
        facts: what it says.
        pictures: name -> SVG, put inline.
    """
    environment = _environment(_html_text)
    style = environment.get_template("report.css.jinja").render(palette=PALETTE).strip()
    digest = base64.b64encode(hashlib.sha256(f"\n{style}\n".encode()).digest()).decode("ascii")
    page: str = environment.get_template("report.html.jinja").render(
        facts=facts,
        style=Safe(style),
        csp=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        pictures={name: Safe(svg) for name, svg in pictures.items()},
    )
    return page


def _environment(finalize: Callable[[Any], Any]) -> Environment:
    """Templates whose every `{{ }}` goes through `finalize`, so that no value is forgotten."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # `finalize` escapes instead, for HTML and for Markdown alike
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "code": _markdown_code,
        "count": _count,
        "interval": _interval,
        "label": _label,
        "model": model_name,
        "number": _number,
        "sentence": _sentence,
        "signed": _signed,
        "signed_interval": _signed_interval,
        "word": _word,
    }
    return environment


def _html_text(value: Any) -> Any:
    """A value that came out of a template expression, as HTML; only what this module marked passes as it is."""
    return value if isinstance(value, Safe) else html.escape(printable(str(value)))


_SPECIAL = re.compile(r"([\\`*\[\]|#~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def _markdown_text(value: Any) -> str:
    """A value as Markdown text that starts no markup of any kind, HTML included; what this module marked passes."""
    if isinstance(value, Safe):
        return value
    text = printable(str(value)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", text)


def _markdown_code(value: str) -> Safe:
    """A code span, safe inside a table cell too."""
    text = printable(value).replace("`", "'").replace("|", "/")
    return Safe(f"`{text}`")


def _label(name: str) -> str:
    return name.replace("_", " ")


def _count(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return MISSING if value is None else f"{value:+.3f}"


def _interval(score: TaskScore) -> str:
    return MISSING if score.low is None or score.high is None else f"{score.low:.3f} to {score.high:.3f}"


def _signed_interval(row: Comparison) -> str:
    if row.low is None or row.high is None:
        return MISSING
    return f"{row.low:+.3f} to {row.high:+.3f}" + (f" ({row.level})" if row.level else "")


def _sentence(text: str) -> str:
    """The text with a capital first letter and a full stop."""
    return text and text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _word(outcome: Outcome) -> str:
    return outcome.value.replace("_", " ")
