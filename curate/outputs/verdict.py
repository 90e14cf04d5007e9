"""A verdict for each kind of reader: terminal, JSON, Markdown, JUnit, GitHub annotations.

Messages hold numbers and names from the config; whatever they hold, control characters reach no terminal and no file.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from curate.outputs.standings import Place, check_words, deciding_items, outcome_words, slice_places, task_places
from schemas.verdict import PRECEDENCE, Check, Outcome, Verdict

WIDTH = 80
"""Columns of a terminal that any reader has."""
SLICES = 20
"""Slices that are named beside the tasks; all of them are among the checks."""
TASKS = 50
"""Tasks that a comment's first table has room for."""

COMMENT_CHARS = 65_536
"""What GitHub takes as one comment; a job summary takes more."""
SPARE_CHARS = 200
ANNOTATIONS = 10
"""What GitHub shows of each level and step."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
"""Terminal escapes, and what XML 1.0 cannot carry."""


def clean(text: str) -> str:
    """The text with each control character and lone surrogate replaced by a visible mark."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def as_text(verdict: Verdict) -> str:
    """Lines for a terminal: where the candidate stands, then one check a paragraph, the verdict last."""
    lines = [f"gate {verdict.gate}: {outcome_words(verdict)}"]
    lines += _standings(verdict)
    for check in verdict.checks:
        lines += ["", *_paragraph(check)]
    lines += ["", *_wrapped(f"{_word(verdict.outcome)}: {verdict.summary}", "")]
    return "\n".join(lines) + "\n"


def _standings(verdict: Verdict) -> Iterator[str]:
    """A line for each task, and for as many slices as a reader takes in."""
    slices = slice_places(verdict)
    yield from _column(task_places(verdict))
    if slices:
        yield "  by slice, which decides nothing:"
        yield from _column(slices[:SLICES])
    if len(slices) > SLICES:
        yield f"  and {len(slices) - SLICES:,} more slices, among the checks below"


def _column(places: Sequence[Place]) -> Iterator[str]:
    width = max((len(clean(place.name)) for place in places), default=0)
    for place in places:
        line = f"  {clean(place.name):<{width}}  {place.words}"
        yield line if len(line) <= WIDTH else f"  {clean(place.name)}\n    {place.words}"


def _paragraph(check: Check) -> Iterator[str]:
    standing = check_words(check)
    yield f"  {_word(check.outcome):<14}  {clean(check.name)}"
    yield from _wrapped(f"{standing}; {check.message}" if standing else check.message)
    if check.help and check.outcome not in (Outcome.PASS, Outcome.NOT_APPLICABLE):
        yield from _wrapped(f"help: {check.help}")


def _wrapped(text: str, indent: str = " " * 18) -> list[str]:
    return textwrap.wrap(
        clean(text),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def as_json(verdict: Verdict) -> str:
    """The verdict as `verdict.json` holds it."""
    return verdict.model_dump_json(indent=1) + "\n"


def as_markdown(verdict: Verdict) -> str:
    """Where the candidate stands, a table of checks and the digests of what was judged, as one comment takes it.

    The first line is hidden and always the same for a gate, so that a job finds its former comment and replaces it.
    """
    lines = [
        f"<!-- assay gate {verdict.gate} -->",
        f"# Gate {verdict.gate}: {outcome_words(verdict)}",
        "",
        _cell(verdict.summary),
        "",
        *_tables(verdict),
        "| check | outcome | what was found |",
        "|---|---|---|",
    ]
    tail = ["", "| judged | sha256 |", "|---|---|"]
    tail += [f"| {_cell(role)} | `{_cell(value)}` |" for role, value in sorted(verdict.subject.items())]
    room = COMMENT_CHARS - sum(len(line) + 1 for line in (*lines, *tail)) - SPARE_CHARS
    rows = [_row(check) for check in verdict.checks]
    # What decides comes first where not everything has room.
    ranked = sorted(range(len(rows)), key=lambda place: _weight(verdict.checks[place]))
    kept = set()
    for place in ranked:
        room -= len(rows[place]) + 1
        if room < 0:
            break
        kept.add(place)
    lines += [row for place, row in enumerate(rows) if place in kept]
    left = len(rows) - len(kept)
    lines += [f"| | | {left:,} more checks have no room in a comment: verdict.json holds them |"] if left else []
    return "\n".join([*lines, *tail]) + "\n"


def _tables(verdict: Verdict) -> Iterator[str]:
    """Where the candidate stands by task and, in one line a verdict, by slice."""
    places, slices = task_places(verdict), slice_places(verdict)
    if places:
        yield from ("| task | verdict |", "|---|---|")
        yield from (f"| `{_cell(place.name)}` | {place.words} |" for place in places[:TASKS])
        if len(places) > TASKS:
            yield f"| | {len(places) - TASKS:,} more, among the checks |"
        yield ""
    if slices:
        named = "; ".join(f"`{_cell(place.name)}` {place.words}" for place in slices[:SLICES])
        more = f"; and {len(slices) - SLICES:,} more among the checks" if len(slices) > SLICES else ""
        yield from (f"By slice, which decides nothing: {named}{more}.", "")


def _row(check: Check) -> str:
    advice = f" **What to do:** {_cell(check.help)}." if check.help and check.outcome is not Outcome.PASS else ""
    standing = check_words(check)
    said = f"{standing}; {check.message}" if standing else check.message
    return f"| `{_cell(check.name)}` | {_word(check.outcome)} | {_cell(said)}.{advice} |"


def _weight(check: Check) -> int:
    """0 for what decides most; advisory checks last."""
    return PRECEDENCE.index(check.outcome) if check.outcome in PRECEDENCE else len(PRECEDENCE)


JUNIT_TAGS = {Outcome.PASS: "system-out", Outcome.FAIL: "failure", Outcome.STALE: "error"}


def as_junit(verdict: Verdict) -> str:
    """JUnit XML: what failed is a failure, what is stale an error, all else but a pass is skipped."""
    tags = [JUNIT_TAGS.get(check.outcome, "skipped") for check in verdict.checks]
    counts: dict[str, Any] = {
        "tests": str(len(tags)),
        "failures": str(tags.count("failure")),
        "errors": str(tags.count("error")),
        "skipped": str(tags.count("skipped")),
    }
    suites = ElementTree.Element("testsuites", name="assay", **counts)
    suite = ElementTree.SubElement(suites, "testsuite", name=f"assay gate {verdict.gate}", **counts)
    _properties(suite, _facts(verdict))
    for check, tag in zip(verdict.checks, tags, strict=True):
        subject, _, condition = clean(check.name if ":" in check.name else f":{check.name}").partition(":")
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"gate.{verdict.gate}" + (f".{subject}" if subject else ""), name=condition
        )
        said = clean(check.message)
        items = check.measured.get("items_to_decide")
        _properties(case, {"verdict": check.verdict, "items_to_decide": items} if check.verdict else {})
        found = ElementTree.SubElement(case, tag)
        if tag == "system-out":
            found.text = said
            continue
        found.set("message", f"{_word(check.outcome)}: {said}" if tag == "skipped" else said)
        if tag != "skipped":
            found.set("type", "gate")
            found.text = clean(check.help)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _facts(verdict: Verdict) -> dict[str, Any]:
    """Name -> value of the properties of a whole verdict; empty for a gate that compares no models."""
    if verdict.verdict is None:
        return {}
    found: dict[str, Any] = {"verdict": verdict.verdict, "items_to_decide": deciding_items(verdict)}
    for place in (*task_places(verdict), *slice_places(verdict)):
        found |= {f"verdict: {place.name}": place.standing, f"items_to_decide: {place.name}": place.items}
    return found


def _properties(parent: ElementTree.Element, facts: dict[str, Any]) -> None:
    known = {name: value for name, value in facts.items() if value is not None}
    if known:
        holder = ElementTree.SubElement(parent, "properties")
        for name, value in known.items():
            ElementTree.SubElement(holder, "property", name=clean(name), value=str(value))


def as_github(verdict: Verdict) -> str:
    """Workflow commands that GitHub shows as annotations: of each level as many as it shows, the verdict last."""
    lines = []
    room = dict.fromkeys(("error", "warning", "notice"), ANNOTATIONS)
    last = LEVELS.get(verdict.outcome, "warning")
    room[last] -= 1
    for check in verdict.checks:
        level = LEVELS.get(check.outcome, "warning")
        room[level] -= 1
        if room[level] >= 0:
            lines.append(f"::{level} title={_property(check.name)}::{_data(_sentence(check))}")
    stands = "; ".join(f"{place.name}: {place.words}" for place in task_places(verdict)[:TASKS])
    title = f"gate {verdict.gate}" + (f": {outcome_words(verdict)}" if verdict.verdict else "")
    said = f"{verdict.summary} [{stands}]" if stands else verdict.summary
    lines.append(f"::{last} title={_property(title)}::{_data(said)}")
    return "\n".join(lines) + "\n"


LEVELS = {Outcome.FAIL: "error", Outcome.PASS: "notice", Outcome.NOT_APPLICABLE: "notice"}


FORMATS: dict[str, Callable[[Verdict], str]] = {
    "text": as_text,
    "json": as_json,
    "markdown": as_markdown,
    "junit": as_junit,
    "github": as_github,
}
"""Format name -> renderer."""


def _word(outcome: Outcome) -> str:
    return outcome.value.replace("_", " ")


def _sentence(check: Check) -> str:
    said = ", ".join(dict.fromkeys(filter(None, (_word(check.outcome), check_words(check)))))
    return f"{said}: {check.message}" + (f" ({check.help})" if check.help else "")


def _cell(text: str) -> str:
    """Text that cannot end a table cell, start a tag or a code span, or break the line."""
    safe = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("|", "\\|").replace("`", "'").replace("\n", " ").replace("\t", " ")


def _data(text: str) -> str:
    return clean(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
