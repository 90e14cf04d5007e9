"""What a comparison of new rows found, as text for a terminal, JSON, Markdown and one HTML page, of the same tables."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from curate.outputs.page import environment, html_page, html_text
from evals.report_pictures import PALETTE
from evals.tables import Table, markdown_cell, markdown_lines, text_lines
from schemas.atomic import write_atomic
from schemas.drift import Drift, DriftEffect, DriftMeasurement
from schemas.terminal import printable, printable_json
from schemas.verdict import Outcome

TEMPLATES = Path(__file__).parents[1] / "templates"
COLUMNS = 100
"""Width of the text for a terminal."""
SHOWN_ROWS = 10
TEXT_CHARS = 45
MEASUREMENTS = "Measurements"
MARK = "<!-- assay drift -->"
"""First line of the Markdown, hidden when shown: by it a job finds its former comment."""
SHOWN_WORDS = {"fine": "fine", "drifted": "drifted", "open": "open", "not_applicable": "-"}


def tables(drift: Drift) -> list[Table]:
    """All tables that there is something for."""
    level = f"{100 * (1 - drift.alpha):.4g}%"
    note = (
        f"Each end of an interval holds with {level}. fine: a difference of the bound is ruled out; drifted: it is at "
        "least the bound, beyond chance (p adjusted for all measurements, Holm); open: neither."
    )
    made = [
        _measurements(MEASUREMENTS, note, drift.measurements),
        _score(drift),
        _measurements(
            "Placebo",
            "The same for the dataset's own validation and test rows in the place of the new ones.",
            [one for one in drift.placebo if one.effect is not None],
        ),
        _rows(drift),
        _account(drift),
    ]
    return [table for table in made if table.rows]


def _measurements(title: str, note: str, measurements: Sequence[DriftMeasurement]) -> Table:
    rows = [
        (
            one.title,
            SHOWN_WORDS[one.word],
            _effect(one.effect),
            "" if one.effect is None else f"{one.effect.bound:g}",
            "" if one.p_adjusted is None else f"{one.p_adjusted:.3g}",
        )
        for one in measurements
    ]
    return Table(title, note, ("what", "", "found", "bound", "p"), rows)


def _in_words(drift: Drift) -> list[str]:
    """A sentence for each measurement, shown below the first table: beside the numbers it would leave them no room."""
    return [
        f"{one.title}: {one.message}"
        + (f"; about {one.rows_to_decide:,} rows would decide" if one.rows_to_decide else "")
        for one in drift.measurements
    ]


def _effect(effect: DriftEffect | None) -> str:
    return "" if effect is None else f"{effect.estimate:.3f} [{effect.low:.3f}, {effect.high:.3f}]"


def _score(drift: Drift) -> Table:
    score = drift.score
    if score.outcome is Outcome.NOT_APPLICABLE or score.new is None or score.test is None:
        return Table("Score", "", (), [])
    ends = "" if score.low is None else f"{score.difference:+.3f} [{score.low:+.3f}, {score.high:+.3f}]"
    row = (
        score.metric,
        SHOWN_WORDS[score.word],
        f"{score.new:.3f} of {score.new_items:,}",
        f"{score.test:.3f} of {score.test_items:,}",
        ends,
        f"{-score.margin:g}",
    )
    return Table("Score of the model", "", ("metric", "", "new rows", "test split", "difference", "least"), [row])


def _rows(drift: Drift) -> Table:
    note = (
        "Those first that are least like the dataset; rows.jsonl holds the records. unlike: share of the new rows "
        "that a classifier takes less for new ones; far: share of known rows that are nearer to a known topic."
    )
    rows = [
        (
            row.place,
            f"{row.unlike:.2f}",
            f"{row.far:.2f}",
            "new label" if row.new_label else "",
            f"{row.copies:,}",
            textwrap.shorten(row.text, TEXT_CHARS, placeholder="…"),
        )
        for row in drift.matter_most[:SHOWN_ROWS]
    ]
    return Table("Rows that matter most", note, ("row", "unlike", "far", "", "stands for", "text"), rows)


def _account(drift: Drift) -> Table:
    told = drift.rows
    by_rule = ", ".join(f"{name}: {count:,}" for name, count in told.dropped_by.items())
    named = ", ".join(told.unreadable_at[:SHOWN_ROWS])
    rows = [
        ("read", told.read, ""),
        ("unreadable", told.unreadable, named + (", …" if told.unreadable > SHOWN_ROWS else "")),
        ("dropped by the dataset's own steps", told.dropped, by_rule),
        ("like another new row, which stands for them", told.copies, ""),
        ("like a row of the dataset, which stands for them", told.known, ""),
        ("not drawn, drift.max_rows", told.not_drawn, ""),
        ("compared", told.compared, f"with {drift.known_rows:,} distinct rows of the dataset"),
    ]
    shown = [(what, f"{count:,}", note) for what, count, note in rows if count or what in ("read", "compared")]
    note = f"{told.like_known:,} new rows are near-duplicates of rows of the dataset, or of one group with them."
    return Table("New rows", note, ("", "rows", ""), shown)


def _notes(drift: Drift) -> list[str]:
    return [f"{note[0].upper()}{note[1:]}." for note in drift.notes]


def as_text(drift: Drift) -> str:
    """For a terminal or the log of a pipeline."""
    lines = _wrapped(drift.headline)
    for sentence in drift.sentences:
        lines += _wrapped(sentence, "  ")
    for table in tables(drift):
        lines += ["", *text_lines(table, COLUMNS)]
        if table.title == MEASUREMENTS:
            lines += ["", *(line for said in _in_words(drift) for line in _wrapped(said, "  "))]
    lines += ["", "Notes", *(line for note in _notes(drift) for line in _wrapped(note, "  "))]
    return "".join(f"{line}\n" for line in lines)


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(printable(text), COLUMNS, initial_indent=indent, subsequent_indent=indent)


def as_markdown(drift: Drift) -> str:
    """GitHub-flavoured Markdown, as the comment of a pull request."""
    lines = [MARK, f"# {markdown_cell(drift.headline)}", ""]
    lines += [f"- {markdown_cell(sentence)}" for sentence in drift.sentences]
    for table in tables(drift):
        lines += ["", *markdown_lines(table)]
        if table.title == MEASUREMENTS:
            lines += ["", *(f"- {markdown_cell(said)}" for said in _in_words(drift))]
    lines += ["", "## Notes", "", *(f"- {markdown_cell(note)}" for note in _notes(drift))]
    return "\n".join(lines) + "\n"


def as_json(drift: Drift) -> str:
    """`drift.json`."""
    return printable_json(drift.model_dump_json(by_alias=True, indent=2)) + "\n"


def as_html(drift: Drift) -> str:
    """One page without scripts or requests."""
    return html_page(
        environment([TEMPLATES], html_text, {}),
        "drift.html.jinja",
        "compare.css.jinja",
        drift=drift,
        tables=tables(drift),
        measurements=MEASUREMENTS,
        in_words=_in_words(drift),
        notes=_notes(drift),
        palette=PALETTE,
    )


FORMS: dict[str, Callable[[Drift], str]] = {
    "text": as_text,
    "json": as_json,
    "markdown": as_markdown,
    "html": as_html,
}
"""What `--format` takes -> how it is written."""
FILES = {"text": "drift.txt", "json": "drift.json", "markdown": "drift.md", "html": "drift.html"}


def write_pages(folder: Path, drift: Drift) -> None:
    """Write the result in each form into a folder."""
    for form, write in FORMS.items():
        write_atomic(folder / FILES[form], write(drift).encode("utf-8", "backslashreplace"))
