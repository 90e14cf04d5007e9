"""A difference between two datasets or two audits, for each kind of reader: terminal, JSON, Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from curate.diff import FINDING_CHANGES, ROW_CHANGES, Diff
from curate.outputs.excerpt import address, markdown, shorten
from schemas.terminal import printable, printable_json

SHOWN = 10
VALUE_CHARS = 60
DIGEST_SHOWN = 16


def as_text(diff: Diff, limit: int = SHOWN) -> str:
    """Lines for a terminal; at most `limit` rows or findings of each kind of change, 0 shows all."""
    lines = [f"A  {printable(diff.a)}", f"B  {printable(diff.b)}"]
    if diff.config:
        lines += ["", "config", *(f"  {line['key']}: {value(line['a'])} -> {value(line['b'])}" for line in diff.config)]
    if diff.inputs:
        lines += ["", "inputs", *(f"  {_input(line)}" for line in diff.inputs)]
    width = max((len(printable(line["name"])) for line in diff.counts), default=0)
    lines += ["", f"{'':<{width + 2}}  {'A':>9}  {'B':>9}"]
    for line in diff.counts:
        name = printable(line["name"])
        lines.append(f"  {name:<{width}}  {line['a']:>9,}  {line['b']:>9,}{_delta(line)}")
    for title, found in _sections(diff):
        lines += ["", f"{_things(diff)} {title}: {len(found):,}"]
        shown = found[:limit] if limit else found
        lines += [f"  {_change(change)}" for change in shown]
        if len(found) > len(shown):
            lines.append(f"  … {len(found) - len(shown):,} more (--max-rows 0 shows all)")
    return "\n".join([*lines, "", summary(diff)]) + "\n"


def as_json(diff: Diff, limit: int = SHOWN) -> str:
    """One object that holds everything, whatever the limit."""
    return printable_json(orjson.dumps(diff.as_json(), option=orjson.OPT_INDENT_2).decode()) + "\n"


def as_markdown(diff: Diff, limit: int = SHOWN) -> str:
    """Tables, then each kind of change with at most `limit` of its rows or findings."""
    lines = ["## assay diff", "", markdown(summary(diff)), "", f"A: {markdown(diff.a)}<br>B: {markdown(diff.b)}", ""]
    lines += ["| | A | B | |", "|---|--:|--:|--:|"]
    lines += [
        f"| {markdown(line['name'])} | {line['a']:,} | {line['b']:,} | {markdown(_delta(line).strip())} |"
        for line in diff.counts
    ]
    if diff.config:
        lines += ["", "| setting | A | B |", "|---|---|---|"]
        lines += [
            f"| {markdown(line['key'])} | {markdown(value(line['a']))} | {markdown(value(line['b']))} |"
            for line in diff.config
        ]
    lines += ["", *(f"- {markdown(_input(line))}" for line in diff.inputs)]
    for title, found in _sections(diff):
        shown = found[:limit] if limit else found
        lines += ["", "<details>", f"<summary>{_things(diff)} {title}: {len(found):,}</summary>", ""]
        lines += [f"- {markdown(_change(change))}" for change in shown]
        lines += [f"- and {len(found) - len(shown):,} more"] if len(found) > len(shown) else []
        lines += ["", "</details>"]
    return "\n".join(lines).rstrip() + "\n"


FORMATS: dict[str, Callable[[Diff, int], str]] = {"text": as_text, "json": as_json, "markdown": as_markdown}


def summary(diff: Diff) -> str:
    """One line: equal, or how much changed."""
    made = "" if diff.same_code else "; different versions of assay made them"
    said = [*(f"{len(found):,} {title}" for title, found in _sections(diff)), f"{diff.unchanged:,} unchanged"]
    others = [(diff.config, "settings"), (diff.inputs, "inputs")]
    changed = [f"{name}: {len(found):,} changed" for found, name in others if found]
    line = "; ".join([f"{_things(diff)}: {', '.join(said)}", *changed])
    return ("no difference; " if diff.equal else "") + line + made


def value(setting: Any) -> str:
    """A setting as short JSON."""
    return shorten(printable(orjson.dumps(setting).decode()), VALUE_CHARS)


def _sections(diff: Diff) -> list[tuple[str, list[dict[str, Any]]]]:
    titles = ROW_CHANGES if diff.of == "datasets" else FINDING_CHANGES
    return [(titles[kind], found) for kind, found in diff.changes.items() if found]


def _things(diff: Diff) -> str:
    return "rows" if diff.of == "datasets" else "findings"


def _delta(line: dict[str, Any]) -> str:
    change = line["b"] - line["a"]
    return f"  {change:+,}" if change else ""


def _input(line: dict[str, Any]) -> str:
    ends = [end[:DIGEST_SHOWN] if end else "not there" for end in (line["a"], line["b"])]
    return f"{printable(line['path'])}: {printable(ends[0])} -> {printable(ends[1])}"


def _change(change: dict[str, Any]) -> str:
    return _finding(change) if "fingerprint" in change else _row(change)


def _finding(finding: dict[str, Any]) -> str:
    turn = f" turn {finding['turn']}" if finding["turn"] is not None else ""
    place = address(finding["path"], finding["line"], finding["row"])
    return f"{place}{turn}  {printable(finding['code'])} {printable(finding['name'])}: {printable(finding['message'])}"


def _row(change: dict[str, Any]) -> str:
    old, new = change["before"], change["after"]
    places = [address(state["path"] or "", state["line"], state["row"]) for state in (new, old) if state]
    place = places[0] if len(set(places)) == 1 else f"{places[0]} (in A {places[1]})"
    return f"{place}  {' -> '.join(_state(state) for state in (old, new) if state)}"


def _state(state: dict[str, Any]) -> str:
    if state["split"] is not None:
        return printable(state["split"])
    survivor = f" of {address(state['survivor_path'], state['survivor_line'], None)}" if state["survivor_path"] else ""
    return f"{printable(state['code'])} {printable(state['name'])}{survivor}"
