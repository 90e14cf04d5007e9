"""Keys that an object names twice: readers of JSON disagree on which of the two values counts."""

from __future__ import annotations

import json
from typing import Any

import orjson

from curate.readers.shapes import Fault, Shaped

ESCAPED_COLON = b"\\u003"
"""What a colon as an escape begins with: written out it is one more, which would make up for a key named twice."""


def repeated_keys(raw: bytes, record: Any, shaped: Shaped | None, canonical: bytes) -> list[Fault]:
    """A fault if an object of the record names a key twice.

    Comparing the colons of the text with those of the parsed record finds the rare candidates without looking at the
    keys; only those are parsed again.

    Args:
        raw: the record as it stands in its file.
        record: the same, parsed.
        shaped: what was made of it, if its shape is known.
        canonical: JSON of `shaped.canonical`, or of the record where its shape is not known.
    """
    if raw.count(b":") == _colons(record, shaped, canonical) and ESCAPED_COLON not in raw:
        return []
    repeated: dict[str, None] = {}

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated.update(dict.fromkeys(key for key in found if keys.count(key) > 1))
        return found

    json.loads(raw, object_pairs_hook=collect, parse_int=len)  # a number of thousands of digits is no key
    if not repeated:
        return []
    return [("duplicate-key", None, ", ".join(f"`{key[:80]}`" for key in list(repeated)[:8]), "every key once")]


def _colons(record: Any, shaped: Shaped | None, canonical: bytes) -> int:
    """Colons of the record as JSON; what `canonical` holds as it stands in the record is not written again."""
    if shaped is None:
        return canonical.count(b":")
    if shaped.kind != "chat" or shaped.extra or shaped.messages is not record.get("messages"):
        return orjson.dumps(record).count(b":")
    other = {key: value for key, value in record.items() if key != "messages"}
    return canonical.count(b":") + 1 + (orjson.dumps(other).count(b":") if other else 0)
