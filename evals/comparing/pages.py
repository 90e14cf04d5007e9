"""What a comparison found, as text for a terminal, Markdown, JSON and one HTML page, all of the same tables."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.outputs.page import Safe, environment, html_page, html_text
from evals.comparing.pareto import pareto_picture
from evals.comparing.prices import SECONDS
from evals.report_pictures import PALETTE, on_white
from evals.tables import Table, markdown_cell, markdown_lines, text_lines
from schemas.atomic import write_atomic
from schemas.compare import ArmJudged, BreakEven, Compared, Measured
from schemas.errors import MissingExtra
from schemas.terminal import printable, printable_json

TEMPLATES = Path(__file__).parents[1] / "templates"
MISSING = "-"
COLUMNS = 100
"""Width of the text for a terminal."""
REASON_CHARS = 70
FACT_CHARS = 60
FACTS_SHOWN = 24
STANDINGS = {
    "recommended": "recommended",
    "good_enough": "good enough",
    "in_the_race": "open",
    "out": "out",
    "failed": "failed",
    "not_applicable": "not asked",
}
STATISTICS = (
    "an arm is good enough where it is shown to be less than the margin below every other, and the cheapest of those "
    "that are shown to beat the floor is recommended; docs/compare.md says how often that is wrong"
)
Column = tuple[str, Callable[[ArmJudged], str]]


# ---------------------------------------------------------------------------------------------------------- numbers


def _interval(found: Measured | None, form: str = ".3f") -> str:
    if found is None or found.estimate is None:
        return MISSING
    if found.low is None or found.high is None:
        return f"{found.estimate:{form}}"
    return f"{found.estimate:{form}} [{found.low:{form}}, {found.high:{form}}]"


def _number(value: float | None, form: str = ".3g") -> str:
    return MISSING if value is None else f"{value:{form}}"


def _amount(value: float | None) -> str:
    """Money or seconds, to three digits."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


# ----------------------------------------------------------------------------------------------------------- tables


def tables(compared: Compared) -> list[Table]:
    """All tables that there are numbers for."""
    ran = [arm for arm in compared.arms if arm.status == "ran"]
    made = [
        _arms(compared, ran),
        _differences(compared, ran),
        _behaviour(compared, ran),
        _costs(compared, ran),
        _break_even(compared),
        _retrieval(compared, ran),
        _not_compared(compared),
    ]
    return [table for table in made if table.rows]


def _table(title: str, note: str, arms: Sequence[ArmJudged], columns: Sequence[Column]) -> Table:
    """A row an arm; columns without any number are left out, and the whole table where none is left."""
    filled = [(head, [show(arm) for arm in arms]) for head, show in columns]
    kept = [(head, cells) for head, cells in filled if any(cell != MISSING for cell in cells)]
    rows = list(zip([arm.name for arm in arms], *(cells for _, cells in kept), strict=True)) if kept else []
    return Table(title, note, ("arm", *(head for head, _ in kept)), rows)


def _level(level: float) -> str:
    return f"{100 * level:.4g}%"


def _arms(compared: Compared, ran: Sequence[ArmJudged]) -> Table:
    note = (
        f"Mean {compared.metric} score of {compared.items:,} items in {compared.clusters:,} independent groups, with "
        f"the {_level(1 - compared.alpha)} interval of each alone. The floor, {compared.floor}: "
        f"{_interval(compared.floor_quality)}."
    )
    columns: list[Column] = [
        ("quality", lambda arm: _interval(arm.quality)),
        (f"1,000 answers, {compared.unit}", lambda arm: _amount(_thousand(arm))),
        ("on the front", lambda arm: "yes" if arm.on_front else ""),
        ("standing", lambda arm: STANDINGS[arm.standing]),
    ]
    return _table("Arms", note, ran, columns)


def _thousand(arm: ArmJudged) -> float | None:
    return None if arm.cost is None or arm.cost.per_answer is None else 1000 * arm.cost.per_answer


def _differences(compared: Compared, ran: Sequence[ArmJudged]) -> Table:
    leader = next((arm.to_leader.other for arm in ran if arm.to_leader), "")
    note = (
        f"Paired on the same items, each interval at {_level(compared.level)}: those with any one arm, such as the one "
        f"that is truly best, hold together with {_level(1 - compared.alpha)}."
    )
    columns: list[Column] = [("minus zero_shot", lambda arm: _interval(arm.to_base, "+.3f"))]
    if leader != "zero_shot":
        columns.append((f"minus {leader}", lambda arm: _interval(arm.to_leader, "+.3f")))
    return _table("Differences of quality", note, ran, columns)


def _behaviour(compared: Compared, ran: Sequence[ArmJudged]) -> Table:
    note = (
        f"Each with the {_level(1 - compared.alpha)} interval of it alone. Same answer: share of paraphrases of a "
        "question that got the answer of the question."
    )
    columns: list[Column] = [
        ("in the form asked", lambda arm: _interval(arm.formatted, ".2f")),
        ("same answer", lambda arm: _interval(arm.agreement, ".2f")),
        ("fresh items", lambda arm: _interval(arm.fresh, ".2f")),
        ("other items", lambda arm: _interval(arm.not_fresh, ".2f")),
    ]
    return _table("Form, consistency, fresh knowledge", note, ran, columns)


def _costs(compared: Compared, ran: Sequence[ArmJudged]) -> Table:
    timed = sorted({arm.latency.timed for arm in ran if arm.latency})
    answers = " or ".join(map(str, timed)) or "no"
    unit = "seconds" if compared.unit == SECONDS else compared.unit
    note = (
        f"Seconds of {answers} answers of each arm, asked one by one; tokens are means of all answers; costs in "
        f"{unit}. Once: before the first answer, and with every training."
    )
    columns: list[Column] = [
        ("p50 s", lambda arm: _number(arm.latency.p50 if arm.latency else None)),
        ("p95 s", lambda arm: _number(arm.latency.p95 if arm.latency else None)),
        ("tokens in", lambda arm: _number(arm.tokens_in, ",.0f")),
        ("out", lambda arm: _number(arm.tokens_out, ",.1f")),
        ("1,000 answers", lambda arm: _amount(_thousand(arm))),
        ("once", lambda arm: _amount(arm.cost.fixed if arm.cost else None)),
        (f"{compared.volume:,} in all", lambda arm: _amount(arm.cost.total if arm.cost else None)),
    ]
    return _table("Latency, tokens, cost", note, ran, columns)


def _break_even(compared: Compared) -> Table:
    days = compared.prices.retrain_every_days
    again = f" The model is trained anew every {days:g} days." if days else ""
    rows = [(found.arm, found.other, _volume(found)) for found in compared.break_even if found.kind != "unknown"]
    note = f"Answers of one training from which on an arm that was trained costs less than another.{again}"
    return Table("Break-even", note, ("arm", "beside", "costs less"), rows)


def _volume(found: BreakEven) -> str:
    if found.answers is None:
        return {"always": "from the first answer", "never": "never"}[found.kind]
    daily = "" if found.per_day is None else f", {_amount(found.per_day)} a day"
    return f"{'from' if found.kind == 'from' else 'up to'} {found.answers:,.0f} answers{daily}"


def _retrieval(compared: Compared, ran: Sequence[ArmJudged]) -> Table:
    """What the run wrote of its retrieval, and how far answers stand in what was retrieved."""
    rows = [(name, _fact(value)) for name, value in _flat(compared.retrieval)][:FACTS_SHOWN]
    for arm in ran:
        if arm.grounded is not None:
            rows.append((f"grounded words, {arm.name}", f"{arm.grounded:.3f} of {arm.grounded_items:,} answers"))
            rows.append((f"contexts cut, {arm.name}", f"{arm.cut:,}"))
    note = "Grounded: mean share of an answer's content words that stand in its passages; words, not meaning."
    return Table("Retrieval", note, ("what", "found"), rows)


def _flat(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping) and not value.keys() == Measured.model_fields.keys():
            yield from _flat(value, f"{above}{name} ")
        elif value is not None:
            yield f"{above}{name}".replace("_", " ")[:FACT_CHARS], value


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return _interval(Measured.model_validate(value))
    if isinstance(value, list):
        return f"{len(value):,} listed in compare.json"
    if isinstance(value, float):
        return f"{value:.4g}"
    return textwrap.shorten(str(value), FACT_CHARS, placeholder="…")


def _not_compared(compared: Compared) -> Table:
    rows = [
        (arm.name, STANDINGS[arm.standing], textwrap.shorten(arm.reason, REASON_CHARS, placeholder="…"))
        for arm in compared.arms
        if arm.status != "ran"
    ]
    return Table("Arms without answers", "", ("arm", "", "why"), rows)


# ------------------------------------------------------------------------------------------------------------ forms


def as_text(compared: Compared) -> str:
    """For a terminal or the log of a pipeline: lines of at most COLUMNS."""
    found = compared.recommendation
    lines = _wrapped(found.headline)
    for sentence in found.sentences:
        lines += _wrapped(sentence, "  ")
    for table in tables(compared):
        lines += ["", *text_lines(table, COLUMNS)]
    lines += ["", "Notes", *(line for note in _notes(compared) for line in _wrapped(note, "  "))]
    return "".join(f"{line}\n" for line in lines)


def _notes(compared: Compared) -> list[str]:
    """What limits the comparison, and what its numbers rest on."""
    drawn = all(importlib.util.find_spec(name) for name in ("altair", "vl_convert"))
    missing = [] if drawn else ["there is no picture: `pip install 'assay[report]'` has what draws it"]
    return [f"{note[0].upper()}{note[1:]}." for note in (*compared.notes, *missing, STATISTICS)]


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(printable(text), COLUMNS, initial_indent=indent, subsequent_indent=indent)


def as_markdown(compared: Compared) -> str:
    """GitHub-flavoured Markdown."""
    found = compared.recommendation
    lines = [f"# {markdown_cell(found.headline)}", "", *(f"- {markdown_cell(said)}" for said in found.sentences)]
    for table in tables(compared):
        lines += ["", *markdown_lines(table)]
    lines += ["", "## Notes", "", *(f"- {markdown_cell(note)}" for note in _notes(compared))]
    return "\n".join(lines) + "\n"


def as_json(compared: Compared) -> str:
    """`compare.json`."""
    return printable_json(compared.model_dump_json(by_alias=True, indent=2)) + "\n"


def as_html(compared: Compared, picture: str | None = None) -> str:
    """One page without scripts or requests.

    Args:
        compared: what is shown.
        picture: SVG of `pareto_picture`, drawn anew where it is null.
    """
    drawn = draw(compared) if picture is None else picture
    return html_page(
        environment([TEMPLATES], html_text, {}),
        "compare.html.jinja",
        "compare.css.jinja",
        compared=compared,
        tables=tables(compared),
        notes=_notes(compared),
        picture=Safe(drawn),
        palette=PALETTE,
    )


def draw(compared: Compared) -> str:
    """The picture, empty where the packages that draw are not installed or nothing can be drawn."""
    try:
        return pareto_picture(compared)
    except MissingExtra:
        return ""


FORMS: dict[str, Callable[[Compared], str]] = {
    "text": as_text,
    "json": as_json,
    "markdown": as_markdown,
    "html": as_html,
}
"""What `--format` takes -> how it is written."""


def write_pages(folder: Path, compared: Compared) -> None:
    """Write compare.json, .txt, .md and .html into a folder, and pareto.svg where it can be drawn."""
    picture = draw(compared)
    written = {
        "compare.json": as_json(compared),
        "compare.txt": as_text(compared),
        "compare.md": as_markdown(compared),
        "compare.html": as_html(compared, picture),
    }
    if picture:
        written["pareto.svg"] = on_white(picture)
    for name, text in written.items():
        write_atomic(folder / name, text.encode("utf-8"))
