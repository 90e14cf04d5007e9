"""lm-eval task files as sources of eval items: where their items lie, and which fields are asked and answered."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import UserError

MAX_BYTES = 1 << 20
OWN_DATASET = "dataset:"
PACKAGE = "package:"
_NAMES = re.compile(r"(?<![\w.'\"])[A-Za-z_]\w*")
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


@dataclass(frozen=True)
class EvalTask:
    """What a task file says of its items."""

    name: str
    question: tuple[str, ...] = ()
    """Fields that `doc_to_text` names, in its order; empty where that is Python of the task's own."""
    answer: tuple[str, ...] = ()
    """Likewise of `doc_to_target`."""


class _Loader(yaml.SafeLoader):
    """Plain YAML; of a tag such as `!function` nothing is left."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def eval_sources(paths: Iterable[Path]) -> dict[Path, EvalTask | None]:
    """Files of eval items, with the task that they belong to: task files stand for the data that they name.

    Args:
        paths: data files, and lm-eval task files (`.yaml`, `.yml`).

    Raises:
        UserError: a task file cannot be read, or its items lie elsewhere.
    """
    found: dict[Path, EvalTask | None] = {}
    for path in paths:
        if path.suffix.lower() not in (".yaml", ".yml"):
            found.setdefault(path, None)
            continue
        config = read_task(path)
        files = data_files(config, path)
        if not files:
            raise UserError(
                "the items of this task are not on this machine",
                where=str(path),
                found=f"dataset_path {config.get('dataset_path')!r} without data_files",
                expected="`dataset_path: json` with `dataset_kwargs: {data_files: {test: items.jsonl}}`",
                help="name the file with its items instead",
            )
        task = EvalTask(
            str(config.get("task", path.stem)), _fields(config, "doc_to_text"), _fields(config, "doc_to_target")
        )
        found |= dict.fromkeys(files, task)
    return found


def read_task(path: Path) -> dict[str, Any]:
    """A task file as plain data.

    Raises:
        UserError: it cannot be read, or is no mapping.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError("the task file is too large", where=str(path), expected=f"at most {MAX_BYTES:,} bytes")
        value = yaml.load(path.read_bytes(), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UserError("the task file cannot be read", where=str(path), found=str(error)[:300]) from error
    if not isinstance(value, dict):
        raise UserError("the task file is not a mapping", where=str(path), expected="an lm-eval task, `task: ...`")
    return value


def data_files(config: dict[str, Any], path: Path) -> list[Path]:
    """Files with the items that a task asks, beside its own; empty where it names none.

    Args:
        config: of the task.
        path: of its file.
    """
    settings = config.get("dataset_kwargs")
    named = settings.get("data_files") if isinstance(settings, dict) else None
    if isinstance(named, dict):
        split = config.get("test_split") or config.get("validation_split") or "test"
        named = named.get(str(split))
    names = named if isinstance(named, list) else [named]
    return [item_file(name, path.parent) for name in names if isinstance(name, str)]


def item_file(name: str, beside: Path) -> Path:
    """Where a file of items lies that a task names.

    Args:
        name: relative to the task file, or `package:name/path` inside an installed package, which is not imported.
        beside: the task file's folder.
    """
    if not name.startswith(PACKAGE):
        return beside / name
    package, _, inside = name.removeprefix(PACKAGE).partition("/")
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    places = list(found.submodule_search_locations or ()) if found else []
    return Path(places[0], inside) if places else Path(PACKAGE, package, inside)


def _fields(config: dict[str, Any], key: str) -> tuple[str, ...]:
    """Names that a template uses; a template that is one word is the name itself."""
    template = config.get(key)
    if not isinstance(template, str):
        return ()
    if re.fullmatch(r"\s*[A-Za-z_]\w*\s*", template):
        return (template.strip(),)
    return tuple(dict.fromkeys(name for part in _EXPRESSION.findall(template) for name in _NAMES.findall(part)))
