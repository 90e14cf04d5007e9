"""Reading `assay.yaml`: safe YAML, every problem at once, each with its line and what was probably meant."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from curate.contamination.tasks import EvalTask, data_files, eval_sources, read_task
from curate.sources import Found, expand_paths, find_sources
from curate.yamlfile import Document, Location, invalid, read_yaml
from schemas.config import AuditFile, Config
from schemas.errors import ConfigError, Problem

C = TypeVar("C", bound=AuditFile)
SHIPPED_SUITES = Path(__file__).parents[1] / "evals" / "suites"
"""Task files are read here, as those beside a config are; no code of theirs is."""


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

    def with_memory(self, memory_mb: int | None) -> Project:
        """The project with another `data.memory_mb`; null changes nothing."""
        if memory_mb is None:
            return self
        data = self.config.data.model_copy(update={"memory_mb": memory_mb})
        return replace(self, config=self.config.model_copy(update={"data": data}))

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

    def eval_files(self) -> dict[Path, EvalTask | None]:
        """Every file of `data.evals` and of the suites with items of their own, with the task that it belongs to.

        Raises:
            ConfigError: an entry matches nothing.
            UserError: a task file cannot be read.
        """
        named = expand_paths(self.config.data.evals, self.root, f"{self.path}: data.evals", results=self.runs)
        return eval_sources([*named, *suite_files(self.config.evals.suites, self.root)])

    def with_indexes(self, paths: Sequence[Path], key_file: Path | None) -> Project:
        """The project with the indexes and the key of a command line, which win over the config's."""
        given: dict[str, Any] = {"index": [os.path.relpath(path, self.root) for path in paths]} if paths else {}
        if key_file is not None:
            given["index_key_file"] = os.path.relpath(key_file, self.root)
        data = self.config.data.model_copy(update=given)
        return replace(self, config=self.config.model_copy(update={"data": data}))

    def index_paths(self) -> tuple[Path, ...]:
        """What `data.index` names."""
        return tuple(self.root / entry for entry in self.config.data.index)

    def index_key_file(self) -> Path | None:
        """The file of `data.index_key_file`."""
        name = self.config.data.index_key_file
        return None if name is None else self.root / name


def suite_file(name: str, root: Path) -> Path | None:
    """The file of a suite: beside the config, else among those that ship with assay; null where there is none.

    Args:
        name: of the suite.
        root: the config's folder.
    """
    places = (folder / f"{name}{suffix}" for folder in (root, SHIPPED_SUITES) for suffix in (".yaml", ".py"))
    return next((place for place in places if place.is_file()), None)


def suite_files(suites: Sequence[str], root: Path) -> list[Path]:
    """Task files beside a config, or among those that ship with assay, whose items lie in files of their own.

    Args:
        suites: names of task files.
        root: the config's folder.
    """
    paths = [path for name in suites if (path := suite_file(name, root)) is not None and path.suffix == ".yaml"]
    return [path for path in paths if any(file.is_file() for file in data_files(read_task(path), path))]


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
    document = read_config(path)
    for override in overrides:
        _override(document.value, override, document.places, document.problems)
    return Project(path, validated(document, Config), document.value, out)


def read_config(path: Path) -> Document:
    """A config as it stands in its file, not validated.

    Raises:
        UserError: the file cannot be opened or is not YAML.
        ConfigError: it is not a mapping.
    """
    document = read_yaml(path, "the config", "`assay init YOUR_FILE` writes one with every key")
    if not isinstance(document.value, dict):
        raise ConfigError(
            [Problem("the config is not a mapping", where=str(path), expected="`name:`, `data:`, `gates:`, `evals:`")]
        )
    return document


def validated(document: Document, model: type[C]) -> C:
    """The config as a model.

    Raises:
        ConfigError: it does not validate; carries every problem.
    """
    problems = list(document.problems)
    try:
        config = model.model_validate(document.value)
    except ValidationError as error:
        problems += [invalid(dict(item), document, model) for item in error.errors()]
        raise ConfigError(problems) from error
    if problems:
        raise ConfigError(problems)
    return config


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
