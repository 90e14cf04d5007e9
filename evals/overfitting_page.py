"""The story of what was learned, memorised and forgotten, as text, as Markdown and as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from curate.outputs.page import environment, html_page, html_text
from curate.outputs.verdict import clean
from evals.evidence import Evidence
from evals.overfitting_story import Story, row_line, rows_line, tell
from schemas.verdict import Verdict

TEMPLATES = Path(__file__).with_name("templates")
NAME = "overfitting"


def overfitting_files(name: str, evidence: Evidence, verdict: Verdict, tested: str) -> dict[str, str]:
    """File name -> content, for the gate's folder; none where no measurement was judged.

    Args:
        name: of the config.
        evidence: what was measured.
        verdict: on it.
        tested: how often this gate was right where the truth was known, in a line.
    """
    story = tell(evidence, verdict.checks, tested)
    if story is None:
        return {}
    return {
        f"{NAME}.txt": as_text(story),
        f"{NAME}.md": as_markdown(story),
        f"{NAME}.html": as_html(story, name),
    }


def as_text(story: Story) -> str:
    """Lines for a terminal."""
    lines = [story.headline]
    for title, sentences in sections(story):
        lines += ["", title, *(f"  {sentence}" for sentence in sentences)]
    return "\n".join(clean(line) for line in lines) + "\n"


def as_markdown(story: Story) -> str:
    """A section of Markdown, with the rows as a table."""
    lines = [f"## Overfitting: {_cell(story.headline)}"]
    for title, sentences in sections(story, rows=False):
        lines += ["", f"### {title}", "", *(f"- {_cell(sentence)}" for sentence in sentences)]
        if title == MEMORISED and story.rows:
            lines += [
                "",
                "| trained row | nats a token before | after | below a new row | first choice | recited |",
            ]
            lines += ["|---|---|---|---|---|---|"]
            lines += [
                f"| `{_cell(row.place)}` | {row.before:.2f} | {row.after:.2f} | {row.excess:.2f} "
                f"| {'' if row.likeliest is None else f'{row.likeliest:.0%}'} | {'yes' if row.recited else ''} |"
                for row in story.rows
            ]
    return "\n".join(lines) + "\n"


def as_html(story: Story, name: str) -> str:
    """The page; everything that comes from a model or a row is escaped."""
    templates = environment([TEMPLATES], html_text, {})
    return html_page(
        templates,
        "overfitting.html.jinja",
        "overfitting.css.jinja",
        name=name,
        story=story,
        sections=list(sections(story, rows=False)),
        memorised=MEMORISED,
    )


MEMORISED = "What was memorised"


def sections(story: Story, *, rows: bool = True) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Title and sentences of each part; with `rows`, trained rows are sentences as well."""
    known = (rows_line(story), *(row_line(row) for row in story.rows)) if rows else (rows_line(story),)
    yield "What was learned", story.learned
    yield MEMORISED, (*story.memorised, *known)
    yield "What was forgotten", story.forgotten or ("Nothing was measured.",)
    yield "Whether the comparison is fair", story.trust or ("No control applied.",)
    yield "How often this gate is right", (story.tested,)
    yield "What to do", story.advice or ("Nothing: no measurement asks for it.",)


def _cell(text: str) -> str:
    safe = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("|", "\\|").replace("`", "'").replace("\n", " ").replace("\t", " ")
