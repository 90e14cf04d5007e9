"""YAML that people write: read safely, every value with its line, every problem at once."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from schemas.errors import Problem, UnopenedError, UserError

MAX_BYTES = 1 << 20
MAX_VALUES = 10_000

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A YAML file as plain data."""

    path: Path
    what: str
    """What the file is to be, for messages: `the config`."""
    advice: str
    """Where a good one comes from."""
    value: Any = None
    places: dict[Location, str] = field(default_factory=dict)
    """Keys down to a value -> `file:line`, or the flag that set it."""
    problems: list[Problem] = field(default_factory=list)
    """Met while reading; more are added by whoever validates."""


def read_yaml(path: Path, what: str, advice: str) -> Document:
    """Read a file.

    Args:
        path: of the file.
        what: what it is to be, such as `the config`.
        advice: where a good one comes from.

    Raises:
        UserError: it cannot be opened, or is not YAML.
    """
    document = Document(path, what, advice)
    value = _plain(_compose(document), (), document)
    return Document(path, what, advice, value, document.places, document.problems)


def _compose(document: Document) -> yaml.Node:
    path, what = document.path, document.what
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{what} is too large", where=str(path), expected=f"at most {MAX_BYTES:,} bytes")
        text = path.read_text("utf-8")
    except OSError as error:
        raise UnopenedError(what, path, error, help=document.advice) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{what} is not UTF-8", where=str(path), found=str(error)) from error
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise UserError(f"{what} is not YAML", where=where, found=str(getattr(error, "problem", error))) from error
    if node is None:
        raise UserError(f"{what} is empty", where=str(path), help=document.advice)
    return node


def _plain(node: yaml.Node, location: Location, document: Document, seen: tuple[int, ...] = ()) -> Any:
    """A YAML node as plain data; notes the line of every value, and every key that is given twice."""
    path, places, problems = document.path, document.places, document.problems
    places[location] = f"{path}:{node.start_mark.line + 1}"
    if len(places) > MAX_VALUES:  # a few nested aliases can stand for billions of values
        raise UserError(
            f"{document.what} holds too many values", where=places[location], expected=f"at most {MAX_VALUES:,}"
        )
    if id(node) in seen:
        problems.append(Problem("a YAML alias refers to itself", where=places[location]))
        return None
    seen = (*seen, id(node))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*location, index), document, seen) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node, path, problems)
            if key in found:
                problems.append(
                    Problem(f"the key {key!r} is given twice", where=f"{path}:{key_node.start_mark.line + 1}")
                )
            found[key] = _plain(value_node, (*location, key), document, seen)
            places[(*location, key)] = f"{path}:{key_node.start_mark.line + 1}"
        return found
    return _scalar(node, path, problems)


def _scalar(node: yaml.Node, path: Path, problems: list[Problem]) -> Any:
    where = f"{path}:{node.start_mark.line + 1}"
    if not isinstance(node, yaml.ScalarNode):
        problems.append(Problem("a key must be a plain word", where=where))
        return str(node.start_mark.line)
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        problems.append(
            Problem("a value cannot be read", where=where, found=node.value[:80], expected=str(error).splitlines()[0])
        )
        return None
    finally:
        loader.dispose()


def invalid(error: dict[str, Any], document: Document, model: Any, within: Location = ()) -> Problem:
    """What pydantic says of a value, with the line of the value and what was probably meant.

    Args:
        error: one of `ValidationError.errors()`.
        document: what was validated.
        model: that it was validated against.
        within: keys down to the part of the document that was.
    """
    places = document.places
    location: Location = (*within, *error["loc"])
    known = next((location[:n] for n in range(len(location), 0, -1) if location[:n] in places), ())
    where = places.get(known, str(document.path))
    dotted = ".".join(str(part) for part in location) or document.what
    if error["type"] == "extra_forbidden":
        allowed = _fields_at(model, location[len(within) : -1])
        close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        return Problem(
            f"unknown key `{dotted}`",
            where=where,
            expected=f"one of {', '.join(allowed)}" if allowed else "",
            help=f"did you mean `{close[0]}`?" if close else f"remove it; {document.advice}",
        )
    if error["type"] == "missing":
        return Problem(f"missing key `{dotted}`", where=where, help=f"add it; {document.advice}")
    message = str(error["msg"]).removeprefix("Value error, ")
    found = "" if isinstance(error["input"], dict) else repr(error["input"])[:120]
    return Problem(f"`{dotted}` is not valid", where=where, found=found, expected=message)


def _fields_at(model: Any, location: Location) -> list[str]:
    """Field names of the model that a location points into."""
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(part))
            model = field.annotation if field else None
        else:  # a mapping such as gates.model.tasks: its values are models
            model = next((arg for arg in get_args(model) if isinstance(arg, type) and issubclass(arg, BaseModel)), None)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
