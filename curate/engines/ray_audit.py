"""An audit by the workers of a Ray cluster: Ray Data hands out the files, and looks again at what a lost worker had."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from curate.audit import Audit
from curate.contamination.search import telling_index
from curate.engines.merging import merged, wording_of
from curate.engines.ray_cluster import connected
from curate.engines.shards import Counted, Looked, Recipe, ShardFile, Worker
from curate.readers.files import STDIN
from curate.rules.base import Need, Rule, Scope
from schemas.errors import ConfigError, Problem
from schemas.progress import Progress

if TYPE_CHECKING:
    from curate.request import Settings

SHOWN = 5
"""Rows of each rule that formats for people show, unless the user says otherwise."""


def audit_on_ray(settings: Settings, progress: Progress, cpus: int | None = None) -> Audit:
    """Read the files and run the rules, each file on a worker.

    A file that cannot be read is named by `Audit.raise_failure`; the others go on.

    Args:
        settings: of the audit.
        progress: shows how many files are done.
        cpus: cores of the cluster, if one is started here; null for all.

    Raises:
        ConfigError: something is asked for that files do not tell one by one.
        MissingExtra: Ray is not installed.
        UserError: the cluster cannot be reached or runs other versions, or a file changed meanwhile.
    """
    refuse_what_needs_all_rows(settings)
    recipe = _recipe(settings)
    files = [
        ShardFile(number, path.absolute(), str(path), split)
        for number, (path, split) in enumerate(settings.paths.items())
    ]
    index = telling_index(Worker(recipe).base) if recipe.searches else None
    with connected(settings.engine.address, cpus) as held:
        wording, everyone = None, held(recipe)
        if index is not None:
            progress.begin("counting common wording", "files")
            rows = _mapped(_counted, (everyone,), files, progress)
            wording = wording_of((Counted.of(row) for row in rows), index)
        progress.begin("auditing", "files")
        rows = _mapped(_looked, (everyone, held(None if wording is None else wording.common_runs)), files, progress)
        audit = merged(recipe, [file.name for file in files], (Looked(**row) for row in rows), wording)
    skipped = {**settings.skipped, **audit.corpus.skipped}
    return replace(audit, corpus=replace(audit.corpus, skipped=skipped))


def refuse_what_needs_all_rows(settings: Settings) -> None:
    """Name everything at once that was asked for and cannot be told of one file after the other.

    Raises:
        ConfigError: there is such a thing.
    """
    where, problems = "--engine ray", []
    if compared := [rule for rule in settings.rules if rule.scope is Scope.ALL and not _idle(rule, settings)]:
        codes = ",".join(rule.code for rule in compared)
        found = ", ".join(f"{rule.code} {rule.name}" for rule in compared)
        advice = f"leave them out with --ignore {codes}, or use the local engine"
        problems.append(Problem("these rules compare all rows with each other", where, found, help=advice))
    if settings.with_statistics:
        advice = "take text, sarif, junit, github or markdown without --statistics, or use the local engine"
        problems.append(Problem("the numbers of the rows are not counted by this engine", where, help=advice))
    if STDIN in settings.paths:
        problems.append(Problem("workers cannot read standard input", where, "-", "files that every worker can open"))
    if problems:
        raise ConfigError(problems)


def _idle(rule: Rule, settings: Settings) -> bool:
    """Whether a rule has no index of earlier rows to go by: it is named as not run."""
    return rule.needs is Need.INDEX and settings.indexes.rows is None


def _recipe(settings: Settings) -> Recipe:
    tokens = settings.tokens
    return Recipe(
        rules=settings.rules,
        evals={path.absolute(): task for path, task in settings.evals.items()},
        names={path.absolute(): str(path) for path in settings.evals},
        eval_index=settings.indexes.evals,
        reading=settings.reading,
        tokens=None if tokens is None else (tokens.model or None, tokens.max_length),
        shown=SHOWN if settings.max_findings is None else settings.max_findings,
    )


@cache
def _worker(recipe: Any) -> Worker:
    """What all files need, read once by each process that Ray keeps for tasks."""
    import ray

    return Worker(ray.get(recipe))


def _counted(item: dict[str, Any], recipe: Any) -> dict[str, Any]:
    return _worker(recipe).counted(ShardFile.of(item)).as_item()


def _looked(item: dict[str, Any], recipe: Any, common_runs: Any) -> dict[str, Any]:
    import ray

    return asdict(_worker(recipe).looked(ShardFile.of(item), ray.get(common_runs)))


def _mapped(
    look: Callable[..., dict[str, Any]], held: tuple[Any, ...], files: Sequence[ShardFile], progress: Progress
) -> Iterator[Mapping[str, Any]]:
    """What a function returns for each file, in their order; a task each, which Ray begins again if its worker is lost.

    Args:
        look: takes a file as an item, and what is held.
        held: references to objects that every task needs.
        files: all of them.
        progress: shows how many are done.
    """
    import ray

    if not files:
        return
    items = ray.data.from_items([file.as_item() for file in files], override_num_blocks=len(files))
    for done, row in enumerate(items.map(look, fn_args=held, num_cpus=1).iter_rows(), 1):
        progress.advance(done, len(files))
        yield row
