"""Reading `assay.yaml`: safe YAML, every problem at once, each with its line and what was probably meant."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from curate.sources import Found, expand_paths, find_sources
from schemas.config import Config
from schemas.errors import ConfigError, Problem, UnopenedError, UserError

MAX_CONFIG_BYTES = 1 << 20
MAX_CONFIG_VALUES = 10_000

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Project:
    """A validated config and where it lives."""

    path: Path
    config: Config
    given: dict[str, Any]
    """What the person wrote, overrides included."""
    out: Path | None = None
    """Folder for results that the command line named; it wins over the config."""

    @property
    def root(self) -> Path:
        """The folder that relative paths of the config start from."""
        return self.path.parent

    @property
    def runs(self) -> Path:
        """The folder of all results."""
        return self.out or Path(os.path.normpath(self.root / self.config.runs))

    def found_sources(self) -> Found:
        """Every file of `data.sources`, with its split where it is known, and what was left out.

        Raises:
            ConfigError: an entry matches nothing.
        """
        return find_sources(self.config.data.sources, self.root, f"{self.path}: data.sources", results=self.runs)

    def source_files(self) -> tuple[Path, ...]:
        """Every file of `data.sources`, sorted within each entry, without repeats; never one of our own results.

        Raises:
            ConfigError: an entry matches nothing.
        """
        return tuple(self.found_sources().files)

    def eval_files(self) -> tuple[Path, ...]:
        """Every file of `data.evals`; empty when none is configured."""
        return expand_paths(self.config.data.evals, self.root, f"{self.path}: data.evals", results=self.runs)


def load_project(path: Path, overrides: Sequence[str] = (), out: Path | None = None) -> Project:
    """Read and validate a config.

    Args:
        path: the YAML file.
        overrides: `key=value` texts such as `train.epochs=3`, applied after the file; the value is YAML.
        out: folder for results, relative to the current folder; null takes `runs` of the config.

    Raises:
        UserError: the file cannot be opened or is not YAML.
        ConfigError: it does not validate; carries every problem.
    """
    node = _compose(path)
    problems: list[Problem] = []
    places: dict[Location, str] = {}
    given = _plain(node, (), path, places, problems)
    if not isinstance(given, dict):
        raise ConfigError(
            [Problem("the config is not a mapping", where=str(path), expected="`name:`, `data:`, `gates:`, `evals:`")]
        )
    for override in overrides:
        _override(given, override, places, problems)
    try:
        config = Config.model_validate(given)
    except ValidationError as error:
        problems += [_problem(dict(item), path, places) for item in error.errors()]
        raise ConfigError(problems) from error
    if problems:
        raise ConfigError(problems)
    return Project(path, config, given, out)


def _compose(path: Path) -> yaml.Node:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise UserError("the config is too large", where=str(path), expected=f"at most {MAX_CONFIG_BYTES:,} bytes")
        text = path.read_text("utf-8")
    except OSError as error:
        advice = "`assay init YOUR_FILE` writes one, or name another with --config"
        raise UnopenedError("the config", path, error, help=advice) from error
    except UnicodeDecodeError as error:
        raise UserError("the config is not UTF-8", where=str(path), found=str(error)) from error
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise UserError("the config is not YAML", where=where, found=str(getattr(error, "problem", error))) from error
    if node is None:
        raise UserError("the config is empty", where=str(path), help="`assay init YOUR_FILE` writes one")
    return node


def _plain(
    node: yaml.Node,
    location: Location,
    path: Path,
    places: dict[Location, str],
    problems: list[Problem],
    seen: tuple[int, ...] = (),
) -> Any:
    """A YAML node as plain data; notes the line of every value, and every key that is given twice."""
    places[location] = f"{path}:{node.start_mark.line + 1}"
    if len(places) > MAX_CONFIG_VALUES:  # a few nested aliases can stand for billions of values
        raise UserError(
            "the config holds too many values", where=places[location], expected=f"at most {MAX_CONFIG_VALUES:,}"
        )
    if id(node) in seen:
        problems.append(Problem("a YAML alias refers to itself", where=places[location]))
        return None
    seen = (*seen, id(node))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*location, index), path, places, problems, seen) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node, path, problems)
            if key in found:
                problems.append(
                    Problem(f"the key {key!r} is given twice", where=f"{path}:{key_node.start_mark.line + 1}")
                )
            found[key] = _plain(value_node, (*location, key), path, places, problems, seen)
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


def _override(given: dict[str, Any], override: str, places: dict[Location, str], problems: list[Problem]) -> None:
    name, equals, text = override.partition("=")
    keys = tuple(name.strip().split("."))
    where = f"--set {name}"
    if not equals or not all(keys):
        problems.append(
            Problem("--set needs key=value", where=where, found=override, expected="for example train.epochs=3")
        )
        return
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    target = given
    for key in keys[:-1]:
        child = target.setdefault(key, {})
        if not isinstance(child, dict):
            problems.append(Problem(f"{key!r} is not a section", where=where, found=repr(child)[:80]))
            return
        target = child
    target[keys[-1]] = value
    for below in [place for place in places if place[: len(keys)] == keys]:
        del places[below]  # what the file said there is gone
    for depth in range(1, len(keys) + 1):
        places.setdefault(keys[:depth], where)
    places[keys] = where


def _problem(error: dict[str, Any], path: Path, places: dict[Location, str]) -> Problem:
    location: Location = error["loc"]
    known = next((location[:n] for n in range(len(location), 0, -1) if location[:n] in places), ())
    where = places.get(known, str(path))
    dotted = ".".join(str(part) for part in location) or "the config"
    if error["type"] == "extra_forbidden":
        allowed = _fields_at(location[:-1])
        close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        return Problem(
            f"unknown key `{dotted}`",
            where=where,
            expected=f"one of {', '.join(allowed)}" if allowed else "",
            help=f"did you mean `{close[0]}`?" if close else "remove it; `assay init` writes every key with a comment",
        )
    if error["type"] == "missing":
        return Problem(f"missing key `{dotted}`", where=where, help="add it; `assay init` writes a complete config")
    message = str(error["msg"]).removeprefix("Value error, ")
    found = "" if isinstance(error["input"], dict) else repr(error["input"])[:120]
    return Problem(f"`{dotted}` is not valid", where=where, found=found, expected=message)


def _fields_at(location: Location) -> list[str]:
    """Field names of the config model that a location points into."""
    model: Any = Config
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(part))
            model = field.annotation if field else None
        else:  # a mapping such as gates.model.tasks: its values are models
            model = next((arg for arg in get_args(model) if isinstance(arg, type) and issubclass(arg, BaseModel)), None)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
