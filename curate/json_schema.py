"""JSON Schemas that users or their data bring: compiled without a network, with patterns that take linear time.

The library is jsonschema-rs. The better known jsonschema runs patterns in Python's backtracking engine, which a schema
that comes with the data can stall, ends in a RecursionError on a schema that refers to itself, and takes much longer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from schemas.errors import UserError

MESSAGE_CHARS = 200
MAX_MISMATCHES = 20


class Mismatch(NamedTuple):
    """One place where a value is not what a schema asks for."""

    path: str
    """JSON path, `$` for the value itself."""
    found: str
    message: str
    expected: str
    """Where in the schema the demand stands."""


def compile_schema(schema: Any, where: str = "", *, trusted: bool = False) -> Any:
    """A validator with `is_valid` and `iter_errors`.

    Args:
        schema: as plain data.
        where: for error messages.
        trusted: the user named it: patterns may look ahead and back, and formats such as dates are checked.

    Raises:
        UserError: it is no JSON Schema, or refers to anything outside itself.
    """
    import jsonschema_rs

    refused: list[str] = []

    def refuse(uri: str) -> Any:
        refused.append(uri)
        raise ValueError("nothing is fetched")

    patterns = jsonschema_rs.FancyRegexOptions() if trusted else jsonschema_rs.RegexOptions()
    try:
        return jsonschema_rs.validator_for(schema, retriever=refuse, pattern_options=patterns, validate_formats=trusted)
    except (ValueError, jsonschema_rs.ReferencingError) as error:  # ValidationError is a ValueError
        said = getattr(error, "message", "") or str(error)
        outside = refused or "not present in a registry" in said
        raise UserError(
            "a schema refers to something outside itself" if outside else "this is no JSON Schema that can be used",
            where=where,
            found=refused[0][:MESSAGE_CHARS] if refused else said.splitlines()[0][:MESSAGE_CHARS],
            expected="references within the schema (#/$defs/...)" if outside else "a JSON Schema, drafts 4 to 2020-12",
            help="copy what it refers to into `$defs`; assay fetches nothing" if outside else "",
        ) from error


def mismatches(validator: Any, value: Any) -> Iterator[Mismatch]:
    """Where a value differs from a schema, at most MAX_MISMATCHES places."""
    try:
        for number, error in enumerate(validator.iter_errors(value)):
            if number == MAX_MISMATCHES:
                return
            keyword = "/".join(str(part) for part in error.schema_path)[-MESSAGE_CHARS:]
            yield Mismatch(json_path(error.instance_path), shown_json(error.instance), _short(error.message), keyword)
    except ValueError as error:  # nested deeper than the library goes
        yield Mismatch("$", "a value", _short(str(error)), "a value that can be checked")


def shown_json(value: Any) -> str:
    """A value as short JSON."""
    return _short(json.dumps(value, ensure_ascii=False, default=str))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_CHARS else f"{line[: MESSAGE_CHARS - 1]}…"


def json_path(parts: Any) -> str:
    """`$.a[0]["b c"]` for the steps from a value to a part of it."""
    path = "$"
    for part in list(parts):
        if isinstance(part, int):
            path += f"[{part}]"
        elif str(part).isidentifier():
            path += f".{part}"
        else:
            path += f"[{str(part)!r}]"
    return path


def reference_count(schema: bytes) -> int:
    """References in a schema that is given as JSON; texts that spell one count as well."""
    return schema.count(b'"$ref"') + schema.count(b'"$dynamicRef"') + schema.count(b'"$recursiveRef"')
