"""An audit as text, JSON, SARIF, JUnit, GitHub annotations, Markdown or HTML: one format a file, each with `render`."""

import importlib

from curate.audit import Audit
from schemas.terminal import Screen

FORMATS = ("text", "json", "sarif", "junit", "github", "markdown", "html")


def render(audit: Audit, format: str, limit: int | None, statistics: bool = False, screen: Screen | None = None) -> str:
    """The audit in one of FORMATS.

    Args:
        audit: what was found.
        format: one of FORMATS.
        limit: most findings to show of each rule; null takes what suits the format, 0 shows all. Counts and exit codes
            never depend on it, and JSON and SARIF always hold every finding.
        statistics: whether a format for people shows the numbers of the rows as well; JSON always does.
        screen: the terminal that text goes to, which may have colours; null for none. Other formats know no terminal.
    """
    on = {"screen": screen} if format == "text" else {}
    text: str = importlib.import_module(f"curate.outputs.{format}").render(audit, limit, statistics, **on)
    return text
