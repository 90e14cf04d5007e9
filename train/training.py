"""One training from start to end: resumed where it was killed, sent back where its loss jumped, ended at its best."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file

from schemas.errors import AssayError, Problem, UserError
from train.batches import epoch_order
from train.checkpoints import at_step, latest, step_of
from train.monitor import MetricsLog, View
from train.trainer import Job, OurTrainer, rows_per_step, thread_count
from train.watch import LossJumped, Rollbacks, Watch

ROLLBACKS = "rollbacks.json"


def train_model(job: Job, checkpoints: Path, metrics_path: Path, view: View) -> Any:
    """Train, resuming from the last complete checkpoint if there is one.

    Args:
        job: what to train.
        checkpoints: folder for checkpoints; it stays, for the caller to delete once the result is saved.
        metrics_path: one JSON object per optimiser step goes here.
        view: where progress is shown.

    Returns:
        The tuned model: a PeftModel, or of method full the model itself.

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
        try:
            return _run(job, checkpoints, checkpoint, Watch(job, metrics, view, rollbacks), view)
        except LossJumped as jumped:
            back_to = step_of(found) if (found := latest(checkpoints)) else 0
            if len(rollbacks.made) >= job.settings.guard.rollbacks:
                raise rollbacks.give_up(job, jumped) from None
            rollbacks.add(jumped.step, back_to, jumped.found)
            factor = job.settings.guard.factor ** len(rollbacks.made)
            view.say(f"step {jumped.step}: {jumped.found}; back to step {back_to} at {factor:g} of the learning rate")


def _run(job: Job, checkpoints: Path, checkpoint: Path | None, watch: Watch, view: View) -> Any:
    start = 0 if checkpoint is None else step_of(checkpoint)
    with warnings.catch_warnings(), _out_of_memory_named(job):
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
            else:
                _load(trainer.model, checkpoint)
            return _at_its_best(trainer, job, checkpoints, watch, view)
        finally:
            view.end()


def _at_its_best(trainer: OurTrainer, job: Job, checkpoints: Path, watch: Watch, view: View) -> Any:
    """The model with the weights that are to be published."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    best, last = watch.best_step(), max((one["step"] for one in watch.metrics.records()), default=0)
    if job.settings.keep == "last" or best is None or best == last:
        return model
    checkpoint = at_step(checkpoints, best)
    if checkpoint is None:
        raise AssayError(
            Problem("the best checkpoint is gone", where=str(checkpoints), help="run the same command again")
        )
    view.say(f"publishing the weights after step {best}, where the held-out loss was least, not the last")
    _load(model, checkpoint)
    return model


def _load(model: Any, checkpoint: Path) -> None:
    if isinstance(model, PeftModel):
        set_peft_model_state_dict(model, load_file(checkpoint / "adapter_model.safetensors"))
        return
    state: dict[str, Any] = {}
    for path in sorted(checkpoint.glob("model*.safetensors")):
        state |= load_file(path)
    missing, unexpected = model.load_state_dict(state, strict=False)
    tied = set(getattr(model, "all_tied_weights_keys", None) or model._tied_weights_keys or ())
    if unexpected or set(missing) - tied:
        raise AssayError(Problem("a checkpoint does not fit its model", where=str(checkpoint)))


@contextmanager
def _out_of_memory_named(job: Job) -> Iterator[None]:
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


def tokens_left(job: Job, step: int) -> int:
    """Tokens of the rows that training has still to visit after a step."""
    settings, lengths = job.settings, job.lengths
    if settings.method == "grpo":
        drawn = rows_per_step(settings) * settings.generations * (job.steps - step)
        return drawn * (sum(lengths) // max(len(lengths), 1) + settings.max_new_tokens)
    epoch, done = divmod(step, job.steps_per_epoch)
    if epoch >= settings.epochs:
        return 0
    order = epoch_order(lengths, settings.batch_size, settings.seed, epoch)
    rest = sum(lengths[row] for row in order[done * rows_per_step(settings) :])
    return rest + (settings.epochs - epoch - 1) * sum(lengths)
