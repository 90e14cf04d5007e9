"""What a search for near-duplicates rests on, as the report shows it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from curate.rules.base import Rule

SHARED = ("setting", "threshold", "floor", "measure")
"""Parameters that are equal in all parts of a search."""


def search_account(rule: Rule, rows: int, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One search as `report.json` holds it.

    Args:
        rule: the rule that searched.
        rows: rows that the rule looked at, those without a text to compare included.
        parts: parameters of each group of rows that was searched by itself.

    Returns:
        What all parts share; `kept_by_threshold`, the rows of all that would stay at each threshold (exact copies count
        as dropped, whichever rule reports them); and the parts with their own parameters, S-curve and curve.
    """
    kept: Counter[float] = Counter()
    for part in parts:
        kept.update(dict(part["kept_by_threshold"]))
    unsearched = rows - sum(part["rows"] for part in parts)
    return {
        "code": rule.code,
        "name": rule.name,
        "rows": rows,
        **{name: parts[0][name] for name in SHARED},
        "kept_by_threshold": [[threshold, count + unsearched] for threshold, count in sorted(kept.items())],
        "parts": [{name: value for name, value in part.items() if name not in SHARED} for part in parts],
    }
