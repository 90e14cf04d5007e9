"""The account of a curation in words."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from curate.outputs.excerpt import address, markdown, shorten
from schemas.stage import Finished, Stage
from schemas.terminal import printable

WARNINGS_SHOWN = 10


def ledger_of(finished: Finished) -> dict[str, Any]:
    """The ledger of a finished curation."""
    ledger: dict[str, Any] = json.loads((finished.folder / "ledger.json").read_bytes())
    return ledger


def account_of(finished: Finished) -> str:
    """What a finished curation did, from its ledger."""
    report = json.loads((finished.folder / "report.json").read_bytes())
    text = account(ledger_of(finished), report["searches"])
    return f"{text}\n(an earlier run had made it; its files were hashed again)" if finished.reused else text


def account(ledger: dict[str, Any], searches: Sequence[dict[str, Any]] = ()) -> str:
    """`rows in = kept + dropped`, what each rule did, the splits, and what other thresholds would keep."""
    lines = [f"  {step['code']} {step['name']}: {done}" for step, done in _steps(ledger)]
    lines += [f"  splits: {_splits(ledger)}", *(f"  {line}" for line in _kept(ledger))]
    return "\n".join([_law(ledger), *lines, *(line for search in searches for line in _curve(search))])


def account_markdown(ledger: dict[str, Any]) -> str:
    """The same as Markdown, for a comment on a pull request."""
    lines = ["## assay curate", "", f"{_law(ledger)}; splits: {_splits(ledger)}", ""]
    table = [f"| {step['code']} {step['name']} | {markdown(done)} |" for step, done in _steps(ledger)]
    if table:
        lines += ["| rule | rows |", "|---|---|", *table, ""]
    lines += [f"- {markdown(line)}" for line in (*_kept(ledger), *(f"warning: {line}" for line in warnings(ledger)))]
    return "\n".join(lines).rstrip() + "\n"


def _law(ledger: dict[str, Any]) -> str:
    return f"{ledger['rows_in']:,} rows in = {ledger['rows_kept']:,} kept + {ledger['rows_dropped']:,} dropped"


def _splits(ledger: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in ledger["splits"].items())


def _curve(search: dict[str, Any]) -> list[str]:
    """Rows kept at each threshold of a search, the one that was used marked."""
    curve = search["kept_by_threshold"]
    width = max((len(f"{rows:,}") for _, rows in curve), default=0)
    return [f"  {search['code']} {search['name']} would keep, of {search['rows']:,} rows, at a threshold of"] + [
        f"    {threshold:.2f}  {rows:>{width},}{'  (used)' if threshold == search['threshold'] else ''}"
        for threshold, rows in curve
    ]


def _steps(ledger: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Every step that did something, and what."""
    for step in ledger["steps"]:
        done = []
        if step["rows_dropped"]:
            done.append(f"{step['rows_dropped']:,} dropped")
        if step["rows_changed"]:
            done.append(f"{step['rows_changed']:,} changed")
        if step["rows_spared"]:
            done.append(f"{step['rows_spared']:,} kept by the keep list")
        if step["rows_found"] and not done:
            done.append(f"{step['rows_found']:,} found, kept")
        if step["not_run"]:
            done.append(f"not run: {step['not_run']}")
        if done:
            yield step, ", ".join(done)


def _kept(ledger: dict[str, Any]) -> list[str]:
    """One line on the keep list, if there is one."""
    if not (keep := ledger["keep"]):
        return []
    line = f"keep list: {_counted(keep['entries'], 'entry', 'entries')}, {_counted(keep['rows'], 'row', 'rows')} "
    line += "kept against a rule's advice"
    idle = len(keep["without_effect"])
    return [line + (f"; {idle:,} without effect: no rule would drop them" if idle else "")]


def _counted(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"


def warnings(ledger: dict[str, Any]) -> list[str]:
    """Entries of the keep list that name nothing, or a row that cannot be kept; one line each, then a count."""
    keep = ledger["keep"] or {"unmatched": [], "unwritable": []}
    lines = []
    for entry in keep["unmatched"]:
        near = [f"{near['word']} ({address(near['path'], near['line'], near['row'])})" for near in entry["near"]]
        line = f"{_entry(entry)} is no row's id, and no decision of this run"
        lines.append(line + (f"; did you mean {' or '.join(near)}?" if near else ""))
    for entry in keep["unwritable"]:
        place = address(entry["path"], entry["line"], entry["row"])
        lines.append(f"{_entry(entry)} cannot be kept: {place} cannot be read as a row")
    more = len(lines) - WARNINGS_SHOWN
    return lines[:WARNINGS_SHOWN] + ([f"and {more:,} more in ledger.json, under keep"] if more > 0 else [])


def _entry(entry: dict[str, Any]) -> str:
    return f"{printable(entry['where'])}: {shorten(printable(entry['word']), 80)}"


def plan(stage: Stage, ledger: dict[str, Any]) -> dict[str, Any]:
    """What a dry run would have written, and where."""
    data = {
        f"data/{split}.{suffix}": rows for split, rows in ledger["splits"].items() for suffix in ("parquet", "jsonl")
    }
    files = data | {"dropped.parquet": ledger["rows_dropped"]}
    others = ("llamafactory/dataset_info.json", "ledger.json", "split_proof.json", "report.json", "manifest.json")
    return {
        "folder": str(stage.folder),
        "exists": stage.folder.exists(),
        "files": [{"path": path, "rows": files.get(path)} for path in (*files, *others)],
    }


def plan_text(planned: dict[str, Any]) -> str:
    """The plan in a few lines."""
    folder = printable(os.path.relpath(planned["folder"]))
    if planned["exists"]:
        return f"dry run: nothing was written; {folder} holds this result already"
    names = [
        file["path"] + (f" ({_counted(file['rows'], 'row', 'rows')})" if file["rows"] is not None else "")
        for file in planned["files"]
    ]
    lines = [f"dry run: nothing was written; without --dry-run, {Path(folder)} would hold"]
    return "\n".join([*lines, *(f"  {name}" for name in names)])
