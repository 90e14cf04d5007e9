"""The report as Markdown and as one self-contained HTML page: no script, no request, everything from data escaped."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment

from curate.outputs.page import Safe, environment, html_page, html_text
from curate.outputs.standings import check_words
from evals.report_facts import Comparison, Facts
from evals.report_pictures import PALETTE, model_name
from schemas.results import TaskScore
from schemas.terminal import printable
from schemas.verdict import Outcome

TEMPLATES = Path(__file__).with_name("templates")
MISSING = "-"
"""Shown where a number does not exist."""
CANARY_NOTE = (
    "canaries are made-up secrets; loss in nats per supervised token. Those that were never inserted show what any row "
    "gained, and what the others gained beyond it was learned by heart. The adapter knows them: do not ship it"
)


def markdown_page(facts: Facts) -> str:
    """The report as GitHub-flavoured Markdown; pictures are files beside it."""
    return markdown_document("report.md.jinja", facts=facts, canary_note=CANARY_NOTE)


def markdown_document(template: str, **values: Any) -> str:
    """A page of GitHub-flavoured Markdown in which no value can start markup of any kind.

    Args:
        template: its file name.
        values: what it shows.
    """
    text: str = _environment(_markdown_text).get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def report_page(facts: Facts, pictures: dict[str, str]) -> str:
    """The report as one page.

    Args:
        facts: what it says.
        pictures: name -> SVG, put inline.
    """
    drawn = {name: Safe(svg) for name, svg in pictures.items()}
    templates = _environment(html_text)
    given = {"facts": facts, "pictures": drawn, "palette": PALETTE, "canary_note": CANARY_NOTE}
    return html_page(templates, "report.html.jinja", "report.css.jinja", **given)


def _environment(finalize: Callable[[Any], Any]) -> Environment:
    filters = {
        "code": _markdown_code,
        "count": _count,
        "interval": _interval,
        "label": _label,
        "model": model_name,
        "number": _number,
        "sentence": _sentence,
        "signed": _signed,
        "signed_interval": _signed_interval,
        "standing": check_words,
        "word": _word,
    }
    return environment([TEMPLATES], finalize, filters)


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
