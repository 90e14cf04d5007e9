"""1 where the last number of the completion equals the reference's last number, 0 elsewhere.

Thousands separators are understood, as in 1,234.5. Options: `tolerance` (0): largest relative difference that still
counts as equal.
"""

from __future__ import annotations

import math
import re
from typing import Any

from train.rewards import Judge, check_options

NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?")


def make(options: dict[str, Any]) -> Judge:
    """See the module."""
    check_options("numeric", options, {"tolerance": (int, float)})
    tolerance = float(options.get("tolerance", 0.0))

    def judge(completion: str, record: dict[str, Any]) -> float | None:
        wanted = last_number(str(record.get("reference")))
        if wanted is None:
            return None
        found = last_number(completion)
        return float(found is not None and math.isclose(found, wanted, rel_tol=tolerance, abs_tol=0.0))

    return judge


def last_number(text: str) -> float | None:
    """The last number that a text names, or None."""
    found = NUMBER.findall(text)
    value = float(found[-1].replace(",", "")) if found else math.nan
    return value if math.isfinite(value) else None
