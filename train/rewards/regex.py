"""1 where a pattern is found in the completion, 0 elsewhere.

Options: `pattern` (Python's syntax; needed), `whole` (false): the whole completion must match, `group`: number of a
group whose text must be the reference.
"""

from __future__ import annotations

import re
from typing import Any

from schemas.errors import UserError
from train.rewards import Judge, check_options


def make(options: dict[str, Any]) -> Judge:
    """See the module."""
    check_options("regex", options, {"pattern": str, "whole": bool, "group": int})
    group = options.get("group")
    try:
        pattern = re.compile(options.get("pattern") or "", re.DOTALL)
        fault = "no pattern" if not options.get("pattern") else None
    except re.error as error:
        pattern, fault = re.compile(""), str(error)
    if fault is None and group is not None and not 0 <= group <= pattern.groups:
        fault = f"group {group} of {pattern.groups}"
    if fault is not None:
        raise UserError(
            "the reward regex cannot take this pattern",
            where="train.rewards",
            found=fault,
            expected="a regular expression in Python's syntax, such as '^(yes|no)$'",
        )
    find = pattern.fullmatch if options.get("whole", False) else pattern.search

    def judge(completion: str, record: dict[str, Any]) -> float | None:
        match = find(completion.strip())
        if match is None:
            return 0.0
        if group is None:
            return 1.0
        return float((match.group(group) or "").strip() == str(record.get("reference")).strip())

    return judge
