"""One training from start to end: resumed where it was killed, sent back where its loss jumped, ended at its best."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers

from schemas.errors import AssayError, Problem, UserError
from train.batches import epoch_order
from train.checkpoints import at_step, discard, latest, step_of
from train.monitor import MetricsLog, View
from train.processes import wait_for_all
from train.trainer import Job, OurTrainer, rows_per_step, thread_count
from train.watch import LossJumped, Rollbacks, Watch

ROLLBACKS = "rollbacks.json"


def train_model(job: Job, checkpoints: Path, metrics_path: Path, view: View) -> Path:
    """Train, resuming from the last complete checkpoint if there is one.

    Args:
        job: what to train.
        checkpoints: folder for checkpoints; it stays, for the caller to delete once the result is saved.
        metrics_path: one JSON object per optimiser step goes here.
        view: where progress is shown.

    Returns:
        The checkpoint whose weights are to be published: the last, or that of the least held-out loss.

    Raises:
        TrainingDiverged: the loss jumped, or was no finite number, more often than `train.guard` allows.
        AssayError: the trainer did not receive the tokens that were counted for it.
        UserError: the GPU's memory does not suffice.
    """
    torch.set_num_threads(thread_count())
    transformers.logging.set_verbosity_error()
    checkpoints.mkdir(parents=True, exist_ok=True)
    rollbacks = Rollbacks(checkpoints / ROLLBACKS)
    while True:
        checkpoint = latest(checkpoints)
        start = 0 if checkpoint is None else step_of(checkpoint)
        metrics = MetricsLog(metrics_path)
        metrics.rewind(start if checkpoint else -1)
        wait_for_all()  # nobody writes before everybody has read
        try:
            return _run(job, checkpoints, checkpoint, Watch(job, metrics, view, rollbacks), view)
        except LossJumped as jumped:
            if len(rollbacks.made) >= job.settings.guard.rollbacks:
                raise rollbacks.give_up(job, jumped) from None
            back_to = discard(checkpoints, jumped.since - 1)  # its weights are those that jumped
            wait_for_all()
            rollbacks.add(jumped.step, back_to, jumped.found)
            factor = job.settings.guard.factor ** len(rollbacks.made)
            view.say(f"step {jumped.step}: {jumped.found}; back to step {back_to} at {factor:g} of the learning rate")


def _run(job: Job, checkpoints: Path, checkpoint: Path | None, watch: Watch, view: View) -> Path:
    start = 0 if checkpoint is None else step_of(checkpoint)
    with warnings.catch_warnings(), _gpu_faults_named(job):
        warnings.simplefilter("ignore", FutureWarning)  # TRL sets names that transformers renames
        warnings.filterwarnings("ignore", message=".*torch.utils.checkpoint.*")
        trainer: OurTrainer = importlib.import_module(f"train.methods.{job.settings.method}").build(
            job, watch, checkpoints
        )
        trainer.check_received()
        view.begin(start, job.steps, tokens_left(job, start))
        if checkpoint is not None:
            view.say(f"resuming after step {start} of {job.steps}")
        try:
            if checkpoint is None or not watch.stopped_early():
                trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            return _best(checkpoints, job.settings.keep, watch, view)
        finally:
            view.end()


def _best(checkpoints: Path, keep: str, watch: Watch, view: View) -> Path:
    """The checkpoint whose weights are to be published."""
    last = latest(checkpoints)
    best = watch.best_step() if keep == "best" else None
    if last is not None and best is not None and best != step_of(last):
        view.say(f"publishing the weights after step {best}, where the held-out loss was least, not the last")
        last = at_step(checkpoints, best)
    if last is None:
        raise AssayError(
            Problem("the checkpoint to publish is gone", where=str(checkpoints), help="run the same command again")
        )
    return last


@contextmanager
def _gpu_faults_named(job: Job) -> Iterator[None]:
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(
            "the GPU's memory does not suffice",
            where=f"train.batch_size: {job.settings.batch_size}, train.max_length: {job.settings.max_length}",
            found=str(error).splitlines()[0][:200],
            help="`assay plan` says which batch fits; lower train.batch_size and raise train.gradient_accumulation, or "
            "set train.gradient_checkpointing",
        ) from error
    except RuntimeError as error:
        if "CUDA error" not in str(error) and "NCCL" not in str(error):
            raise
        raise UserError(
            "the GPU was lost",
            where=f"method {job.settings.method}",
            found=str(error).splitlines()[0][:200],
            help="`nvidia-smi` says what is left of it; the same command goes on from the last checkpoint",
        ) from error


def tokens_left(job: Job, step: int) -> int:
    """Tokens of the rows that training has still to visit after a step."""
    settings, lengths = job.settings, job.lengths
    if settings.method == "grpo":
        drawn = rows_per_step(settings) * settings.generations * (job.steps - step)
        return drawn * (sum(lengths) // max(len(lengths), 1) + settings.max_new_tokens)
    epoch, done = divmod(step, job.steps_per_epoch)
    if epoch >= settings.epochs:
        return 0
    size = rows_per_step(settings)
    rest = sum(lengths[row] for row in epoch_order(lengths, size, settings.seed, epoch)[done * size :])
    return rest + (settings.epochs - epoch - 1) * sum(lengths)
