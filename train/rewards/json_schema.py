"""1 where the completion is JSON that fits a schema, `parses` where it is JSON alone, 0 elsewhere.

Options: `schema` (an object of JSON Schema; without it any JSON counts), `parses` (0.3), `fenced` (true): JSON inside
a Markdown fence counts too.
"""

from __future__ import annotations

import json
import re
from typing import Any

from curate.json_schema import compile_schema
from train.rewards import Judge, check_options

FENCE = re.compile(r"^```(?:json)?\s*\n(.*?)\n?```$", re.DOTALL)


def make(options: dict[str, Any]) -> Judge:
    """See the module."""
    check_options("json_schema", options, {"schema": dict, "parses": (int, float), "fenced": bool})
    validator = compile_schema(options.get("schema", {}), "train.rewards: json_schema", trusted=True)
    parses = float(options.get("parses", 0.3))

    def judge(completion: str, record: dict[str, Any]) -> float | None:
        text = completion.strip()
        fenced = FENCE.match(text) if options.get("fenced", True) else None
        try:
            value = json.loads(fenced.group(1) if fenced else text)
        except (ValueError, RecursionError):
            return 0.0
        return 1.0 if validator.is_valid(value) else parses

    return judge
