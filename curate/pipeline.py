"""The data pipeline: sources -> kept rows in splits, dropped rows with their reasons, ledger, proof, report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from curate.audit import statistics
from curate.configfile import Project
from curate.contamination.account import FILE, contamination_file, searched_sets
from curate.export import ROWS_PER_PART, write_parquet, write_split
from curate.findings import one_per_row, to_finding
from curate.indexes import Indexes, holds_rows, index_input, open_indexes
from curate.keep import Keeper, KeepList, read_keep_list
from curate.ledger import DROPPED_SCHEMA, Ledger, Remaining, Step
from curate.llamafactory import describe_splits
from curate.readers import read_corpus
from curate.readers.builder import ROWS_PER_CHUNK
from curate.readers.mapping import shape_records
from curate.readers.shapes import Shaped
from curate.rows import Corpus, Source
from curate.rules.base import Need, Rule
from curate.rules.catalogue import select_rules
from curate.sensitive import masked, masker
from curate.spill import size_of
from curate.split import SPLITS
from curate.splitting import Splits, published_ids, split_rows
from curate.steps import as_published, rows_found, run_steps
from schemas.base import file_digest
from schemas.errors import ExitCode, UnopenedError, UserError
from schemas.finding import Finding
from schemas.manifest import InputRef, input_file
from schemas.progress import SILENT, Progress
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage

STAGE = "curate"
REPORT_SCHEMA = "assay/curate-report/1"
UNREADABLE = ("broken-line", "not-an-object", "unknown-shape", "wrong-type", "duplicate-key")
"""Rules whose rows cannot be written in any form, or not without a guess at what they mean."""


EARLIER = ("earlier-duplicate", "earlier-conflict")
"""Rules that an index of earlier rows adds to the steps."""


class NoRows(UserError):
    """There is nothing to curate, or nothing was left: no verdict can rest on it."""

    exit_code = ExitCode.INCONCLUSIVE


@dataclass(frozen=True)
class Curated:
    """What the pipeline made, before anything is written."""

    whole: Corpus
    kept: Corpus
    ledger: Ledger
    splits: Splits
    remaining: dict[str, Remaining]
    """Rule code -> what was found in rows that stayed as they are."""
    keep: KeepList = field(default_factory=KeepList)
    indexes: Indexes = field(default_factory=Indexes)

    @property
    def rows_by_split(self) -> dict[str, int]:
        """Number of rows of each split."""
        return {name: int((self.splits.rows["split"] == name).sum()) for name in SPLITS}


def curate_stage(project: Project) -> Stage:
    """The stage that `assay curate` runs for a config; nothing is read but the files' digests.

    Raises:
        UserError: a source is missing, or a step names no rule.
        ConfigError: options that a rule does not accept.
    """
    rules = configured_rules(project)
    folder = inputs_from(project.runs, STAGE)
    refs = [_input("source", path, folder) for path in project.source_files()]
    refs += [_input("evals", path, folder) for path in project.eval_files()]
    refs += [index_input(path, folder) for path in project.index_paths()]
    refs += [_input("rule", path, folder) for rule in rules for path in rule.files()]
    if (kept := project.config.curate.keep_file) is not None:
        read_keep_list(project.config.curate, project.root)
        refs.append(_input("keep", project.root / kept, folder))
    given: dict[str, Any] = {key: project.given[key] for key in ("data", "curate") if key in project.given}
    return Stage(
        stage=STAGE,
        name=project.config.name,
        config={
            # The result is the same bytes wherever it was worked on, and whoever holds the key.
            "data": project.config.data.model_dump(mode="json", exclude={"index_key_file", "memory_mb"}),
            "curate": project.config.curate.model_dump(mode="json"),
            # Findings name files; equal content under other names makes other rows of dropped.parquet.
            "files": [_name(project, path) for path in (*project.source_files(), *project.eval_files())],
            "eval_tasks": [task and vars(task) for task in project.eval_files().values()],
        },
        config_given=given,
        inputs=tuple(refs),
        code=code_digest(["schemas", "curate"]),
        root=project.runs,
        packages=("polars", "orjson", "numba"),
        seeds={"split": project.config.curate.split.seed},
    )


def _input(role: str, path: Path, folder: Path) -> InputRef:
    try:
        return input_file(role, path, folder)
    except OSError as error:
        raise UnopenedError("the data file", path, error, help="check the path") from error


def _name(project: Project, path: Path) -> str:
    return Path(os.path.relpath(path, project.root)).as_posix()


def configured_rules(project: Project) -> tuple[Rule, ...]:
    """The rules of `curate.steps` in order, with the options of `curate.rules`.

    An index of earlier rows is asked before any other rule compares rows: a row that it holds can stand for none.
    """
    config = project.config.curate
    steps = list(config.steps)
    kinds = {holds_rows(path) for path in project.index_paths()}
    if True in kinds and EARLIER[0] not in steps:
        first = next((place for place, step in enumerate(steps) if step != "schema"), len(steps))
        steps[first:first] = EARLIER
    rules = select_rules(steps, config.rules, where=f"{project.path}: curate", root=project.root)
    if False in kinds and not any(rule.needs is Need.EVALS for rule in rules):
        raise UserError(
            "an index of eval items is named, and no step looks for them",
            where=f"{project.path}: curate.steps",
            found=", ".join(config.steps),
            help="add the step `contamination`",
        )
    return rules


def curate(project: Project, progress: Progress = SILENT) -> Finished:
    """Run the pipeline and publish its folder, or return the verified result of an equal run.

    Raises:
        NoRows: the sources hold no row, or every row was dropped.
        UserError: a file cannot be read, changed during the run, or the folder cannot be written.
        ConservationError: rows were lost: our bug; nothing is published.
    """
    stage = curate_stage(project)

    def fill(folder: Path) -> dict[str, int]:
        made = run_pipeline(project, progress, folder=folder)
        check_unchanged(stage, made)
        return publish(made, project, folder, progress)

    return run_stage(stage, fill)


def run_pipeline(
    project: Project,
    progress: Progress = SILENT,
    rows_per_chunk: int = ROWS_PER_CHUNK,
    folder: Path | None = None,
) -> Curated:
    """Read, run the steps in order, split; writes nothing.

    Raises:
        NoRows, UserError, ConservationError: as `curate`.
    """
    keep = read_keep_list(project.config.curate, project.root)
    rules = configured_rules(project)
    indexes = open_indexes(project.index_paths(), project.index_key_file())
    whole = _read(project, progress, rows_per_chunk, folder)
    readable = as_published(whole, rules) if indexes.rows is not None else None
    whole = indexes.beside(whole, readable)
    unwritable = _unwritable(whole)
    keeper = Keeper(keep.entries, whole, unwritable) if keep.entries else None
    kept, ledger, remaining = run_steps(whole, rules, progress, keeper)
    kept = _drop_unwritable(kept, unwritable, ledger)
    ledger.keep = keeper.account() if keeper else {}
    ledger.close(kept.height)
    if not kept.height:
        raise NoRows(
            "every row was dropped",
            where=str(project.path),
            found=", ".join(f"{step.name}: {step.rows_dropped:,}" for step in ledger.steps if step.rows_dropped),
            help="run `assay audit` on the sources to see why",
        )
    progress.begin("splitting")
    # Rows are compared as they will be published, those that were dropped too: they tie together rows that stay.
    readable = readable or as_published(whole, rules)
    splits = split_rows(readable, kept, project.config.curate.split, project.config.data.group_by)
    return Curated(whole, kept, ledger, splits, remaining, keep, indexes)


def _read(project: Project, progress: Progress, rows_per_chunk: int, folder: Path | None) -> Corpus:
    paths = project.source_files()
    total, done = sum(map(size_of, paths)), 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        progress.advance(done, total)

    progress.begin("reading", "bytes")
    whole = read_corpus(
        paths,
        kind=project.config.data.format,
        columns=project.config.data.columns,
        evals=project.eval_files(),
        rows_per_chunk=rows_per_chunk,
        progress=count,
        name=lambda path: _name(project, path),
        folder=folder,
        memory_mb=project.config.data.memory_mb,
    )
    if not whole.height:
        raise NoRows("the sources hold no row", where=", ".join(source.path for source in whole.sources)[:500])
    return replace(whole, progress=progress)


def _unwritable(corpus: Corpus) -> NDArray[np.bool_]:
    """By row index, whether a row cannot be written: of no known shape, or with values of the wrong type."""
    unwritable = np.zeros(corpus.height, dtype=np.bool_)
    unwritable[corpus.rows.filter(pl.col("kind").is_null())["index"].to_numpy()] = True
    for rule in select_rules(["wrong-type"]):
        unwritable[rows_found(rule, corpus)] = True
    return unwritable


def _drop_unwritable(corpus: Corpus, unwritable: NDArray[np.bool_], ledger: Ledger) -> Corpus:
    """Rows that cannot be written are dropped even if no step of the config asked for it."""
    left = corpus.rows["index"].to_numpy()
    left = left[unwritable[left]]
    if not len(left):
        return corpus
    rows_in = corpus.height
    mask = masker(select_rules([]))
    drops: dict[int, Finding] = {}
    for rule in select_rules(UNREADABLE):
        for hit in one_per_row(rule.find(corpus)):
            if unwritable[hit.index]:
                drops.setdefault(hit.index, to_finding(rule, hit, corpus, mask))
    ledger.take([ledger.told(drops)])
    ledger.steps.append(Step("SCH1", "unreadable", "drop", rows_in, len(left), 0, len(left)))
    return corpus.without(left)


def check_unchanged(stage: Stage, made: Curated) -> None:
    """Make sure that the bytes that were read are those that the stage is named after, under the same names.

    Raises:
        UserError: a source, or another file that decides the result, is not what it was when the run began.
    """

    def promised(role: str) -> list[str]:
        return [ref.sha256 for ref in stage.inputs if ref.role == role]

    sources, items = made.whole.sources, made.whole.evals.sources if made.whole.evals else ()
    tasks = made.whole.evals.tasks if made.whole.evals else {}
    asked = [tasks.get(source.path) for source in items]
    if promised("source") != [source.sha256 for source in sources]:
        what, where = "a source", _named(sources)
    elif promised("keep") != ([made.keep.sha256] if made.keep.sha256 else []):
        what, where = "the keep file", str(stage.config["curate"]["keep_file"])
    elif promised("index") != list(made.indexes.sha256):
        what, where = "an index", ", ".join(stage.config["data"]["index"])
    elif promised("evals") != [source.sha256 for source in items]:
        what, where = "a file of eval items", _named(items)
    elif stage.config["files"] != [source.path for source in (*sources, *items)]:
        what, where = "the name of a file", _named((*sources, *items))
    elif stage.config["eval_tasks"] != [task and vars(task) for task in asked]:
        what, where = "a task file", _named(items)
    elif changed := [
        ref.path for ref in stage.inputs if ref.role == "rule" and _now(stage.place_of(ref)) != ref.sha256
    ]:
        what, where = "the file of a rule", ", ".join(changed)
    else:
        return
    raise UserError(
        f"{what} changed while it was being curated",
        where=where,
        help="wait until nothing writes to it, and run the command again",
    )


def _named(sources: Iterable[Source]) -> str:
    return ", ".join(source.path for source in sources)[:500]


def _now(path: Path) -> str:
    """The digest that a file has now; empty where it cannot be read."""
    try:
        return file_digest(path)
    except OSError:
        return ""


def publish(made: Curated, project: Project, folder: Path, progress: Progress = SILENT) -> dict[str, int]:
    """Write the files of the stage; gives its counts."""
    progress.begin("writing")
    return write_dataset(made, shape_records(project.config.data.columns, project.config.data.format), folder)


def write_dataset(made: Curated, shape: Callable[[Any], Shaped | None], folder: Path) -> dict[str, int]:
    """Write the splits, the dropped rows, the ledger, the proof and the report; gives the counts.

    Args:
        made: what is published.
        shape: the function from records to shaped rows that the sources were read with.
        folder: an empty folder.
    """
    data = folder / "data"
    data.mkdir()
    joined = made.splits.rows.with_columns(published_ids(made.kept))
    for name in SPLITS:
        write_split(made.kept, joined, shape, data, name)
    kinds = joined.select("split", kind=made.kept.rows["kind"]).unique()
    describe_splits(folder, {name: set(kinds.filter(pl.col("split") == name)["kind"]) for name in SPLITS})
    write_parquet(made.ledger.dropped_frames(made.whole), DROPPED_SCHEMA, folder / "dropped.parquet", ROWS_PER_PART)
    ledger = made.ledger.as_json(made.rows_by_split)
    write_json(folder / "ledger.json", ledger)
    write_json(folder / "split_proof.json", made.splits.proof)
    if made.kept.evals is not None or made.kept.eval_index is not None:
        order = made.kept.rows.select("index").join(joined.select("index", "split"), on="index", maintain_order="left")
        write_json(folder / FILE, contamination_file(made.kept, order["split"]))
    write_json(folder / "report.json", report(made))
    counts = {key: ledger[key] for key in ("rows_in", "rows_kept", "rows_dropped", "rows_changed")}
    return counts | made.rows_by_split


def report(made: Curated) -> dict[str, Any]:
    """What `report.json` holds: numbers for people, and the findings of rows that stayed."""
    labels = made.splits.rows.group_by("split", "label").len().sort("split", "label")
    table: dict[str, dict[str, int]] = {}
    for split, label, count in labels.iter_rows():
        table.setdefault(split, {})[label or ""] = count
    numbers = {
        "schema": REPORT_SCHEMA,
        "rows_by_split": made.rows_by_split,
        "labels_by_split": table if max(map(len, table.values())) <= 50 else {},
        "before": statistics(made.whole),
        "after": statistics(made.kept),
        "searches": made.ledger.searches,
        "eval_sets": searched_sets(made.kept).get("eval_sets", []),
        "findings_kept": {code: found.rows for code, found in sorted(made.remaining.items())},
    }
    findings = [finding.model_dump(mode="json") for found in made.remaining.values() for finding in found.first]
    # Labels and roles are words from the data: they may be anybody's name.
    shown: dict[str, Any] = masked(numbers, masker(select_rules([])))
    return shown | {"findings": findings}


def write_json(path: Path, value: Any) -> None:
    """JSON for people: indented, keys in the order given."""
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
