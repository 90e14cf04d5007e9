"""1 where the completion is the reference, 0 elsewhere; white space around both never counts.

Options: `ignore_case` (false), `partial` (0): reward of a completion that begins with the reference and goes on.
"""

from __future__ import annotations

from typing import Any

from train.rewards import Judge, check_options


def make(options: dict[str, Any]) -> Judge:
    """See the module."""
    check_options("exact_match", options, {"ignore_case": bool, "partial": (int, float)})
    fold = options.get("ignore_case", False)
    partial = float(options.get("partial", 0.0))

    def judge(completion: str, record: dict[str, Any]) -> float | None:
        reference = record.get("reference")
        if not isinstance(reference, str):
            return None
        said, wanted = completion.strip(), reference.strip()
        if fold:
            said, wanted = said.casefold(), wanted.casefold()
        return 1.0 if said == wanted else partial if wanted and said.startswith(wanted) else 0.0

    return judge
