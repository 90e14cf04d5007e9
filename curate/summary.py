"""The account of a curation in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from schemas.stage import Finished


def account_of(finished: Finished) -> str:
    """What a finished curation did, from its ledger."""
    ledger, report = (json.loads((finished.folder / name).read_bytes()) for name in ("ledger.json", "report.json"))
    text = account(ledger, report["searches"])
    return f"{text}\n(an earlier run had made it; its files were hashed again)" if finished.reused else text


def account(ledger: dict[str, Any], searches: Sequence[dict[str, Any]] = ()) -> str:
    """`rows in = kept + dropped`, what each rule did, the splits, and what other thresholds would keep."""
    lines = [f"{ledger['rows_in']:,} rows in = {ledger['rows_kept']:,} kept + {ledger['rows_dropped']:,} dropped"]
    for step in ledger["steps"]:
        done = []
        if step["rows_dropped"]:
            done.append(f"{step['rows_dropped']:,} dropped")
        if step["rows_changed"]:
            done.append(f"{step['rows_changed']:,} changed")
        if step["rows_found"] and not done:
            done.append(f"{step['rows_found']:,} found, kept")
        if step["not_run"]:
            done.append(f"not run: {step['not_run']}")
        if done:
            lines.append(f"  {step['code']} {step['name']}: {', '.join(done)}")
    splits = ", ".join(f"{name} {count:,}" for name, count in ledger["splits"].items())
    lines.append(f"  splits: {splits}")
    for search in searches:
        lines += _curve(search)
    return "\n".join(lines)


def _curve(search: dict[str, Any]) -> list[str]:
    """Rows kept at each threshold of a search, the one that was used marked."""
    curve = search["kept_by_threshold"]
    width = max((len(f"{rows:,}") for _, rows in curve), default=0)
    return [f"  {search['code']} {search['name']} would keep, of {search['rows']:,} rows, at a threshold of"] + [
        f"    {threshold:.2f}  {rows:>{width},}{'  (used)' if threshold == search['threshold'] else ''}"
        for threshold, rows in curve
    ]
