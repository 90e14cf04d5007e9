"""The drift stage: both sides read, compared and judged, with the rows that differ most as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.export import whole_lines
from evals.drift.dataset import Known, dataset_behind, read_known
from evals.drift.judge import HEADLINES, measured, overall, sentences
from evals.drift.matter import ranked
from evals.drift.new_rows import NewRows, read_new
from evals.drift.pages import write_pages
from evals.drift.pool import Pool, pooled
from evals.drift.score import Model, not_asked, scored
from evals.run import require_installed
from schemas.atomic import write_atomic
from schemas.base import fingerprint, folder_digest
from schemas.drift import Drift, DriftMeasurement
from schemas.drift_config import DriftConfig
from schemas.errors import UnopenedError, UserError
from schemas.manifest import InputRef, input_file, input_stage, read_manifest
from schemas.progress import Progress
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage

STAGE = "drift"
ROWS = "rows.jsonl"
PACKAGES = ("numpy", "polars", "scikit-learn", "scipy")
HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class Request:
    """What is compared, and how."""

    new: tuple[Path, ...]
    """Files."""
    run: Path
    """Result whose dataset is the other side."""
    config: DriftConfig
    root: Path
    """The folder that the config's paths start from."""
    runs: Path
    """The folder of all results."""
    model: Model | None = None
    """Who is asked the new rows; null asks nobody."""

    @property
    def embedding(self) -> Path | None:
        """The folder of the embedding model."""
        return None if self.config.embedding is None else self.root / self.config.embedding


def drift_stage(request: Request, dataset: Path) -> Stage:
    """What `assay drift` is about to do, with the folder where its result lives.

    Raises:
        UserError: a file of new rows cannot be read, or there is no embedding model.
        ManifestError: the dataset or the run cannot be read.
    """
    folder = inputs_from(request.runs, STAGE)
    known = input_stage("dataset", dataset, folder)
    inputs = [known, *(_new_rows(path, folder) for path in request.new)]
    scoring = {}
    if request.model is not None:
        inputs.append(input_stage("results", request.model.results, folder))
        scoring = {"score": request.model.task}
    config = request.config.model_dump(mode="json", exclude={"embedding"})
    return Stage(
        stage=STAGE,
        name=read_manifest(dataset).name,
        config={
            "drift": config,
            "embedding": _embedding_digest(request.embedding),
            # Rows are named by their files; equal content under other names makes other bytes.
            "files": [str(path) for path in request.new],
            **scoring,
        },
        config_given={},
        inputs=tuple(inputs),
        code=code_digest(["schemas", "curate", "train", "evals"]),
        root=request.runs,
        packages=PACKAGES,
        seeds={"drift": request.config.seed},
    )


def _new_rows(path: Path, folder: Path) -> InputRef:
    try:
        return input_file("new_rows", path, folder)
    except OSError as error:
        raise UnopenedError("the file of new rows", path, error, help="check the path") from error


def _embedding_digest(folder: Path | None) -> str | None:
    if folder is None:
        return None
    if not folder.is_dir():
        raise UserError(
            "there is no embedding model in this folder",
            where=f"drift.embedding: {folder}",
            found="no such folder",
            expected="the folder of a local embedding model, or null",
        )
    return folder_digest(folder)


def drift(request: Request, progress: Progress) -> Finished:
    """Compare new rows with the dataset behind a run, or return what an equal run found.

    Raises:
        NothingNew: there is no new row to compare.
        UserError, ManifestError: something cannot be read, or does not hash to its manifest.
        MissingExtra: an optional dependency is not installed.
    """
    require_installed("evals")
    dataset = dataset_behind(request.run).path
    stage = drift_stage(request, dataset)

    def fill(folder: Path) -> dict[str, int]:
        progress.begin("reading")
        known = read_known(dataset, request.root)
        new = read_new(request.new, known)
        _require_unchanged(stage, new)
        progress.begin("finding what is alike")
        pool = pooled(known, new, request.config, request.embedding)
        found, records = judged(request, known, new, pool, progress)
        write_atomic(folder / ROWS, whole_lines(record.encode() for record in records))
        write_pages(folder, found)
        return {"new_rows": new.read, "compared": found.rows.compared, "known_rows": found.known_rows}

    return run_stage(stage, fill)


def _require_unchanged(stage: Stage, new: NewRows) -> None:
    promised = sorted(ref.sha256 for ref in stage.inputs if ref.role == "new_rows")
    if promised != sorted(new.sources):
        raise UserError("a file of new rows changed while it was read", help="run the command again")


def judged(request: Request, known: Known, new: NewRows, pool: Pool, progress: Progress) -> tuple[Drift, list[str]]:
    """Everything that is found, and the records of the rows that matter most."""
    config = request.config
    progress.begin("measuring")
    found = measured(pool.sample, config)
    placebo = placebo_of(pool, config)
    score = not_asked(config.margin)
    if request.model is not None:
        score = (
            scored(request.model, pool, known.reading.get("columns") or {}, config, progress)
            if new.answered
            else not_asked(config.margin, "the new rows have no answers to score by")
        )
    rows, records = ranked(pool, config.rows)
    outcome = overall(found, score)
    return Drift(
        outcome=outcome,
        headline=HEADLINES[outcome],
        sentences=tuple(sentences(found, placebo, score)),
        alpha=config.alpha,
        dataset=known.dataset.manifest.name,
        subject={
            "dataset": known.dataset.manifest.content_digest,
            "new_rows": fingerprint(sorted(new.sources)),
        },
        rows=pool.account,
        known_rows=int((~pool.sample.new).sum()),
        measurements=found,
        placebo=placebo,
        score=score,
        matter_most=tuple(rows),
        notes=tuple(_notes(request, known, new, pool)),
    ), records


def placebo_of(pool: Pool, config: DriftConfig) -> tuple[DriftMeasurement, ...]:
    """The same measurements with the dataset's validation and test rows in the place of the new ones."""
    splits = pool.rows["split"]
    places = np.flatnonzero((~pool.sample.new) & splits.is_not_null().to_numpy())
    held_out = splits.is_in(HELD_OUT).fill_null(False).to_numpy()[places]
    return measured(pool.sample.only(places, held_out), config)


def _notes(request: Request, known: Known, new: NewRows, pool: Pool) -> list[str]:
    """What a reader should know of how it was compared."""
    notes = []
    if not new.answered:
        notes.append("the new rows have no answers: prompts are compared, and nothing is said of labels")
    elif not pool.with_answers:
        notes.append("answers are labels: texts are compared without them")
    if request.embedding is None:
        notes.append("without drift.embedding, topics are those of words (TF-IDF and a singular value decomposition)")
    if request.model is None:
        notes.append("the model was not asked: --score compares its score on new rows with that on the test split")
    if not known.rules:
        notes.append("the dataset names no step that looks at a row alone: new rows are compared as they are")
    return notes
