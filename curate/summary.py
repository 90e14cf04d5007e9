"""The account of a curation in words."""

from __future__ import annotations

import json
from typing import Any

from schemas.stage import Finished


def account_of(finished: Finished) -> str:
    """What a finished curation did, from its ledger."""
    text = account(json.loads((finished.folder / "ledger.json").read_bytes()))
    return f"{text}\n(an earlier run had made it; its files were hashed again)" if finished.reused else text


def account(ledger: dict[str, Any]) -> str:
    """`rows in = kept + dropped`, what each rule did, and the splits."""
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
    return "\n".join([*lines, f"  splits: {splits}"])
