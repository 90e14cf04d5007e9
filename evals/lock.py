"""The baseline lock: reading it, what an evaluation has to say of the same things, and where the two differ.

Scores of one model are comparable with those of another only where both were asked the same items in the same words,
decoded and scored in the same way by the same engine. Every difference makes the lock stale; none is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from curate.configfile import Project
from evals.documents import read_documents
from evals.evidence import LOCKED, ORIGINAL, Baseline, Evidence
from evals.tasks import resolved_task
from schemas.base import canonical_json, digest, file_digest
from schemas.config import ModelGateConfig
from schemas.errors import ManifestError, UserError
from schemas.lock import (
    LOCK_NAME,
    SCHEMA,
    Lock,
    LockedEngine,
    LockedItem,
    LockedNoise,
    LockedTask,
    body_digest,
    shortened,
)
from schemas.manifest import Manifest, read_manifest
from schemas.terminal import printable
from train.run import trained_files

DECODING = ("generation_kwargs", "repeats")
MAX_BYTES = 256 << 20
SHOWN_CHARS = 100


def lock_path(project: Project) -> Path:
    """The file of `evals.baseline`, or where `assay bless` puts it."""
    return project.root / (project.config.evals.baseline or LOCK_NAME)


def read_lock(path: Path) -> Lock:
    """A lock, as it was written.

    Raises:
        UserError: it cannot be opened, is no lock, or was changed since it was blessed.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError("the baseline lock is too large", where=str(path), expected=f"at most {MAX_BYTES:,} bytes")
        raw = json.loads(path.read_bytes(), parse_constant=_no_number, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise _broken(f"{path}:{error.lineno}:{error.colno}", error.msg) from error
    except OSError as error:
        raise UserError(
            "the baseline lock cannot be opened",
            where=str(path),
            found=error.strerror or str(error),
            expected="the file that `assay bless` wrote",
            help="restore it; for a first one, set evals.baseline to null until `assay bless` has made it",
        ) from error
    except (ValueError, RecursionError) as error:
        raise _broken(str(path), str(error)[:200]) from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA:
        raise _broken(str(path), f"schema {schema!r}"[:200], f"schema {SCHEMA!r}")
    if body_digest(raw) != raw.get("digest"):
        raise _broken(
            str(path),
            f"content that does not hash to its digest {raw.get('digest')!r}"[:200],
            "what `assay bless` wrote",
        )
    try:
        return Lock.model_validate(raw)
    except ValidationError as error:
        said = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5]]
        raise _broken(str(path), "; ".join(said)[:500]) from error


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a field is there twice, among {', '.join(sorted(found))}"[:200])
    return found


def _broken(where: str, found: str, expected: str = "a lock as `assay bless` wrote it") -> UserError:
    return UserError(
        "the baseline lock cannot be used",
        where=where,
        found=found,
        expected=expected,
        help="restore the file from version control; a new baseline is made by `assay bless` alone",
    )


# -------------------------------------------------------------------------------------------- what was evaluated


@dataclass(frozen=True)
class Circumstances:
    """What must be equal in two evaluations that are compared, and what was evaluated."""

    weights: dict[str, str]
    """Of the tuned model; they need not be equal."""
    base: str
    engine: LockedEngine
    conditions: ModelGateConfig
    seed: int
    tasks: dict[str, LockedTask]
    """With the scores of one model, which is not compared here."""


def circumstances(evidence: Evidence, manifest: Manifest, folder: Path, model: str) -> Circumstances:
    """What an evaluation says of everything that a lock holds.

    Args:
        evidence: its files.
        manifest: of the evals stage.
        folder: of the evals stage.
        model: `base` or `tuned`, whose scores are taken.
    """
    about = evidence.results.models[model]
    return Circumstances(
        weights=tuned_weights(manifest, folder),
        base=evidence.results.models["base"]["weights"],
        engine=LockedEngine(
            name=about["engine"],
            versions=about["versions"],
            dtype=about["dtype"],
            device=about["device"],
            arguments=about.get("arguments", {}),
        ),
        conditions=evidence.conditions,
        seed=evidence.seed,
        tasks={name: _task(evidence, name, folder / "tasks", model) for name in sorted(evidence.results.tasks)},
    )


def tuned_weights(manifest: Manifest, folder: Path) -> dict[str, str]:
    """Files of the adapter, or of the fully tuned model, that an evaluation is about -> digest.

    Args:
        manifest: of the evals stage.
        folder: of the evals stage.

    Raises:
        ManifestError: it names no adapter, or one that cannot be read.
    """
    for ref in manifest.inputs:
        if ref.role == "adapter":
            return trained_files(read_manifest(folder / ref.path))
    raise ManifestError("the results name no adapter", where=str(folder), help="run `assay evals` again")


def _task(evidence: Evidence, name: str, folder: Path, model: str) -> LockedTask:
    about, task = evidence.results.tasks[name], resolved_task(folder, name)
    config = _plain(task.config)
    others = [path for path in sorted(folder.glob(f"{name}.*.jsonl"))]
    return LockedTask(
        metric=about["metric"],
        higher_is_better=about["higher_is_better"],
        output_type=about["output_type"],
        split=about["split"],
        decoding={field: config[field] for field in DECODING if field in config},
        template={field: value for field, value in sorted(config.items()) if field not in DECODING},
        files={path.name: file_digest(path) for path in [*task.modules.values(), *others]},
        original=0,
        noise=_noise(evidence, name, model),
        original_noise=_noise(evidence, name, model),
        items=_items(evidence, name, folder, model),
    )


def _noise(evidence: Evidence, name: str, model: str) -> LockedNoise | None:
    found = evidence.noise(name, model)
    return LockedNoise(variance=found.variance, runs=found.runs) if found else None


def _items(evidence: Evidence, name: str, folder: Path, model: str) -> tuple[LockedItem, ...]:
    """The items in order of their names, so that another order of rows is no difference."""
    content = [digest(canonical_json(document)) for document in read_documents(folder / f"{name}.jsonl")]
    answers = evidence.items.filter((pl.col("task") == name) & (pl.col("model") == model))
    if sorted(answers["position"].unique()) != list(range(len(content))):
        raise ManifestError(
            f"the answers to {name} are not those to its items",
            where=str(folder / f"{name}.jsonl"),
            found=f"{answers['item_id'].n_unique():,} items answered",
            expected=f"the {len(content):,} items of this file",
            help="run `assay evals` again",
        )
    finite = pl.when(pl.col("score").is_finite()).then(pl.col("score"))
    means = answers.with_columns(score=finite).group_by("item_id").agg(
        pl.col("position").first(),
        pl.col("prompt_sha256").first(),
        pl.col("prediction").first(),
        pl.when(pl.col("score").null_count() == 0).then(pl.col("score").mean()).alias("score"),
    )  # fmt: skip
    return tuple(
        LockedItem(
            item_id=item,
            item_sha256=content[place],
            prompt_sha256=prompt,
            score=score,
            original=score,
            answer=None if said is None else shortened(said),
        )
        for item, place, prompt, said, score in means.sort("item_id").iter_rows()
    )


def _plain(value: Any) -> Any:
    """YAML as what JSON can carry: dates and such become their text."""
    if isinstance(value, dict):
        return {str(name): _plain(child) for name, child in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(child) for child in value]
    exact = value is None or isinstance(value, bool | int) or (isinstance(value, float) and value - value == 0)
    return value if exact else str(value)


# --------------------------------------------------------------------------------------------------- does it fit


def differences(lock: Lock, now: Circumstances) -> list[str]:
    """Every field in which an evaluation differs from a lock, with both values, in words; empty where it fits."""
    found = []
    if lock.base != now.base:
        found.append(_said("base model (weights and tokenizer)", lock.base[:16], now.base[:16]))
    for field in ("name", "dtype", "device"):
        found += _unequal(f"engine.{field}", getattr(lock.engine, field), getattr(now.engine, field))
    found += _changed("engine.arguments", lock.engine.arguments, now.engine.arguments)
    for package in sorted({*lock.engine.versions, *now.engine.versions}):
        old, new = lock.engine.versions.get(package), now.engine.versions.get(package)
        if old is None or new is None or _release(old) != _release(new):
            found.append(_said(f"engine.versions.{package}", old, new))
    found += _unequal("evals.seed", lock.seed, now.seed)
    found += _changed("gates.model", lock.conditions.model_dump(mode="json"), now.conditions.model_dump(mode="json"))
    for name in sorted({*lock.tasks, *now.conditions.tasks}):
        old_task, new_task = lock.tasks.get(name), now.tasks.get(name)
        if old_task is None or new_task is None:
            found.append(_said(f"tasks.{name}", old_task and "there", new_task and "there"))
        else:
            found += task_differences(name, old_task, new_task)
    return found


def task_differences(name: str, old: LockedTask, new: LockedTask) -> list[str]:
    """In what a task is not the one that was locked; its scores are not looked at."""
    inside = {"items", "original", "noise", "original_noise"}
    found = list(_changed(f"tasks.{name}", old.model_dump(exclude=inside), new.model_dump(exclude=inside)))
    olds, news = ({item.item_id: item for item in task.items} for task in (old, new))
    missing, added = sorted(olds.keys() - news.keys()), sorted(news.keys() - olds.keys())
    if missing or added:
        example = f"{missing[0]} is missing" if missing else f"{added[0]} is new"
        both = f"{len(olds):,} items", f"{len(news):,} items"
        found.append(
            f"{_said(f'tasks.{name}.items', *both)}, {len(missing):,} missing and {len(added):,} new: {_short(example)}"
        )
    for field in ("item_sha256", "prompt_sha256"):
        pairs = [(item, getattr(olds[item], field), getattr(news[item], field)) for item in sorted(olds.keys() & news)]
        unlike = [pair for pair in pairs if pair[1] != pair[2]]
        if unlike:
            item, before, after = unlike[0]
            more = f", and {len(unlike) - 1:,} more items" if len(unlike) > 1 else ""
            found.append(_said(f"tasks.{name}.items.{item}.{field}", before[:16], after[:16]) + more)
    return found


def notes(lock: Lock, now: Circumstances) -> list[str]:
    """Versions that differ and fit all the same."""
    pairs = ((name, old, now.engine.versions.get(name)) for name, old in sorted(lock.engine.versions.items()))
    return [_said(f"engine.versions.{name}", old, new) for name, old, new in pairs if new is not None and old != new]


def _release(version: str) -> tuple[str, ...]:
    """The part of a version that decides: the major one, before 1.0 the minor one as well."""
    numbers = re.findall(r"\d+", version.partition("+")[0])
    return tuple(numbers[:2] if numbers[:1] == ["0"] else numbers[:1]) or (version,)


def _changed(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _changed(f"{place}.{name}", before, after)
        else:
            yield from _unequal(f"{place}.{name}", before, after)


def _unequal(place: str, old: Any, new: Any) -> list[str]:
    return [] if canonical_json(old) == canonical_json(new) else [_said(place, old, new)]


def _said(place: str, old: Any, new: Any) -> str:
    return f"{_short(place)}: locked {_short(old)}, now {_short(new)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = printable(text)
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"


def with_lock(evidence: Evidence, lock: Lock, now: Circumstances) -> Evidence:
    """The evidence with the lock; where it fits, with the scores of its two models beside those of base and tuned.

    Args:
        evidence: of the candidate.
        lock: what it is compared with.
        now: circumstances of the candidate's evaluation.
    """
    unlike = tuple(differences(lock, now))
    same = frozenset() if unlike else frozenset(_same_models(lock, now))
    held = replace(evidence, baseline=Baseline(lock, unlike, tuple(notes(lock, now)), same))
    if unlike:
        return held
    rows = [_scores(evidence.items, name, task) for name, task in lock.tasks.items()]
    return replace(held, items=pl.concat([evidence.items, *rows]))


def _same_models(lock: Lock, now: Circumstances) -> Iterator[tuple[str, str]]:
    """(task, locked model) wherever the candidate is that model: the same weights, and the same score on each item."""
    for name, task in lock.tasks.items():
        scores = [item.score for item in now.tasks[name].items]
        if None in scores:
            continue
        if lock.blessing.weights == now.weights and scores == [item.score for item in task.items]:
            yield name, LOCKED
        if lock.history[task.original].weights == now.weights and scores == [item.original for item in task.items]:
            yield name, ORIGINAL


def _scores(items: pl.DataFrame, name: str, task: LockedTask) -> pl.DataFrame:
    """Rows of the two locked models, otherwise like the candidate's."""
    asked = items.filter((pl.col("task") == name) & (pl.col("model") == "tuned")).unique(
        "item_id", keep="first", maintain_order=True
    )
    ids = [item.item_id for item in task.items]
    known: dict[str, tuple[list[float | None], list[str | None]]] = {
        LOCKED: ([item.score for item in task.items], [item.answer for item in task.items]),
        ORIGINAL: ([item.original for item in task.items], [None] * len(ids)),
    }
    return pl.concat(
        asked.with_columns(
            model=pl.lit(model),
            run=pl.lit(0, pl.Int64),
            sample=pl.lit(0, pl.Int64),
            prediction=pl.col("item_id").replace_strict(ids, pl.Series(said, dtype=pl.String), return_dtype=pl.String),
            detail=pl.lit("{}"),
            score=pl.col("item_id").replace_strict(ids, pl.Series(scores, dtype=pl.Float64), return_dtype=pl.Float64),
        )
        for model, (scores, said) in known.items()
    )
