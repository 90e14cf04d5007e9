"""Supervised fine-tuning of a LoRA adapter with TRL, on tokens and labels that `curate/supervision.py` made."""

from __future__ import annotations

import errno
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoTokenizer, PreTrainedModel, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from curate.supervision import IGNORED, Supervised
from schemas.errors import AssayError, Problem
from schemas.train_config import TrainConfig
from train.adapter import TrainingDiverged
from train.batches import epoch_order
from train.checkpoints import PREFIX, latest, seal, step_of
from train.monitor import MetricsLog, View
from train.rows import TokenLedger

HELD_OUT_BATCH = 8


@dataclass(frozen=True)
class Job:
    """One training run, ready to start."""

    settings: TrainConfig
    model_folder: Path
    model: PreTrainedModel
    lora: LoraConfig
    pad_token_id: int
    rows: Sequence[Supervised]
    held_out: Sequence[Supervised]
    """A fixed small sample of the validation split; its loss is measured at `held_out_steps`."""
    held_out_steps: frozenset[int]

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the rows."""
        return math.ceil(len(self.rows) / self.settings.batch_size)

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.steps_per_epoch * self.settings.epochs


def train_adapter(job: Job, checkpoints: Path, metrics_path: Path, view: View) -> PeftModel:
    """Train, resuming from the last complete checkpoint if there is one.

    Args:
        job: what to train.
        checkpoints: folder for checkpoints; it stays, for the caller to delete once the adapter is saved.
        metrics_path: one JSON object per optimiser step goes here.
        view: where progress is shown.

    Returns:
        The tuned model.

    Raises:
        TrainingDiverged: the loss is not a finite number.
        AssayError: the trainer did not receive the tokens that were counted for it.
    """
    torch.set_num_threads(thread_count())
    transformers.logging.set_verbosity_error()
    checkpoint = latest(checkpoints)
    start = 0 if checkpoint is None else step_of(checkpoint)
    metrics = MetricsLog(metrics_path)
    metrics.rewind(start if checkpoint else -1)
    watch = Watch(job, metrics, view)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TRL sets names that transformers renames
        trainer = SupervisedTrainer(job, watch, checkpoints)
        _check_received(trainer, job.rows)
        view.begin(start, job.steps, _tokens_left(job, start))
        if checkpoint is not None:
            view.say(f"resuming after step {start} of {job.steps}")
        try:
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        finally:
            view.end()
    assert isinstance(trainer.model, PeftModel)
    return trainer.model


def thread_count() -> int:
    """Threads for torch: what OMP_NUM_THREADS says, else the cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else len(os.sched_getaffinity(0))


def _tokens_left(job: Job, step: int) -> int:
    """Tokens of the rows that training has still to visit after a step."""
    size, lengths = job.settings.batch_size, [len(row.input_ids) for row in job.rows]
    epoch, done = divmod(step, job.steps_per_epoch)
    if epoch == job.settings.epochs:
        return 0
    order = epoch_order(lengths, size, job.settings.seed, epoch)
    rest = sum(lengths[row] for row in order[done * size :])
    return rest + (job.settings.epochs - epoch - 1) * sum(lengths)


def pad_batch(rows: Sequence[dict[str, Any]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Pad rows on the right to the longest.

    There is no attention mask: attention is causal, so no real token ever sees the padding after it, and without a mask
    the faster attention kernel applies.

    Returns:
        `input_ids` and `labels`, (rows, tokens), and `lengths` without padding, (rows,).
    """
    lengths = [len(row["input_ids"]) for row in rows]

    def padded(name: str, filler: int) -> torch.Tensor:
        return torch.tensor([row[name] + [filler] * (max(lengths) - len(row[name])) for row in rows])

    return {
        "input_ids": padded("input_ids", pad_token_id),
        "labels": padded("labels", IGNORED),
        "lengths": torch.tensor(lengths),
    }


@dataclass
class Tally:
    """Sums over the supervised tokens of some batches."""

    nll: float = 0.0
    """Negative log-likelihood in nats."""
    supervised: int = 0
    correct: int = 0
    """Tokens that the model would have chosen itself."""
    tokens: int = 0
    """All tokens of the rows, padding left out."""

    def add(self, other: Tally) -> None:
        """Count another batch in."""
        self.nll += other.nll
        self.supervised += other.supervised
        self.correct += other.correct
        self.tokens += other.tokens

    @property
    def loss(self) -> float:
        """Nats per supervised token."""
        return self.nll / max(self.supervised, 1)


def supervised_nll(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, Tally]:
    """Sum of the negative log-likelihood over the supervised tokens of a batch, in nats, with its tally.

    Logits are computed only in columns where some row of the batch is supervised: with answers of a few tokens and a
    vocabulary of tens of thousands, the rest of the output layer would be a large part of the work.
    """
    targets = inputs["labels"][:, 1:]
    wanted = targets != IGNORED
    columns = wanted.any(dim=0).nonzero().squeeze(1)
    outputs = model(input_ids=inputs["input_ids"], logits_to_keep=columns, use_cache=False)
    mask = wanted[:, columns]
    logits, expected = outputs.logits[mask].float(), targets[:, columns][mask]
    nll = torch.nn.functional.cross_entropy(logits, expected, reduction="sum")
    tally = Tally(
        nll=float(nll.detach()),
        supervised=expected.numel(),
        correct=int((logits.detach().argmax(dim=-1) == expected).sum()),
        tokens=int(inputs["lengths"].sum()),
    )
    return nll, tally


class Watch(TrainerCallback):
    """Follows the run: metrics, progress, held-out loss, and the stop at a loss that is no number."""

    def __init__(self, job: Job, metrics: MetricsLog, view: View) -> None:
        self.metrics = metrics
        self._job = job
        self._view = view
        self._step = Tally()
        self._held_out: dict[str, Any] = {}

    def saw(self, batch: Tally, step: int) -> None:
        """One batch went forward."""
        if not math.isfinite(batch.nll):
            raise _diverged(step + 1, f"a loss of {batch.nll}")
        self._step.add(batch)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the untouched base model on the held-out sample."""
        if state.global_step == 0 and self._job.held_out:
            self._measure(0, kwargs["model"])
            self.metrics.write({"step": 0, **self._held_out})
            self._held_out = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the held-out sample at the planned steps."""
        if state.global_step in self._job.held_out_steps and self._job.held_out:
            self._measure(state.global_step, kwargs["model"])

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Write the record of the step; this runs before the checkpoint of the same step is saved."""
        if logs is None or "loss" not in logs:
            return
        norm = float(logs["grad_norm"])
        if not math.isfinite(norm):
            raise _diverged(state.global_step, f"a gradient norm of {norm}")
        tally = self._step
        record = {
            "step": state.global_step,
            "epoch": round(float(state.epoch), 6),
            "loss": tally.loss,
            "accuracy": tally.correct / max(tally.supervised, 1),
            "supervised_tokens": tally.supervised,
            "tokens": tally.tokens,
            "learning_rate": float(logs["learning_rate"]),
            "grad_norm": norm,
        }
        self.metrics.write(record | self._held_out)
        self._view.advance(state.global_step, tally.tokens, tally.loss)
        self._step, self._held_out = Tally(), {}

    def _measure(self, step: int, model: Any) -> None:
        held_out = mean_loss(model, self._job.held_out, self._job.pad_token_id)
        self._held_out = {"held_out_loss": held_out.loss, "held_out_tokens": held_out.supervised}
        self._view.say(f"held-out loss {held_out.loss:.4f} on {len(self._job.held_out)} rows after step {step}")


def mean_loss(model: Any, rows: Sequence[Supervised], pad_token_id: int) -> Tally:
    """Loss over the supervised tokens of some rows, without gradients and without dropout."""
    total = Tally()
    training = model.training
    model.eval()
    ordered = sorted(rows, key=lambda row: len(row.input_ids))
    with torch.no_grad():
        for start in range(0, len(ordered), HELD_OUT_BATCH):
            chunk = [{"input_ids": r.input_ids, "labels": r.labels} for r in ordered[start : start + HELD_OUT_BATCH]]
            batch = {name: tensor.to(model.device) for name, tensor in pad_batch(chunk, pad_token_id).items()}
            _, tally = supervised_nll(model, batch)
            total.add(tally)
    model.train(training)
    return total


def _diverged(step: int, found: str) -> TrainingDiverged:
    return TrainingDiverged(
        "training diverged; nothing was published",
        where=f"optimiser step {step}",
        found=found,
        expected="a finite number",
        help="lower train.learning_rate, or add train.warmup_steps",
    )


class LengthGroupedSampler(torch.utils.data.Sampler[int]):
    """Row indices in the order of `epoch_order`; the trainer tells the epoch."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0-based, whose order the next iteration gives."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(epoch_order(self._lengths, self._batch_size, self._seed, self._epoch))


class SupervisedTrainer(SFTTrainer):
    """TRL's trainer on our tokens: rows of like length together, logits where there is loss, sealed checkpoints."""

    def __init__(self, job: Job, watch: Watch, checkpoints: Path) -> None:
        self._lengths = [len(row.input_ids) for row in job.rows]
        self._watch = watch
        self._checkpoints = checkpoints
        rows = {"input_ids": [row.input_ids for row in job.rows], "labels": [row.labels for row in job.rows]}
        super().__init__(
            model=job.model,
            args=trainer_settings(job.settings, checkpoints),
            train_dataset=Dataset.from_dict(rows),
            data_collator=lambda batch: pad_batch(batch, job.pad_token_id),
            processing_class=AutoTokenizer.from_pretrained(job.model_folder, trust_remote_code=False),
            peft_config=job.lora,
            callbacks=[watch],
        )
        self.remove_callback(PrinterCallback)  # it prints to stdout, where results belong
        self.processing_class = None  # the tokenizer does not change; every checkpoint would carry a copy

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        return LengthGroupedSampler(self._lengths, self.args.per_device_train_batch_size, self.args.seed)

    def compute_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean over the supervised tokens of the whole optimiser step, as TRL's own loss."""
        nll, tally = supervised_nll(model, inputs)
        self._watch.saw(tally, self.state.global_step)
        loss = nll / (tally.supervised if num_items_in_batch is None else num_items_in_batch)
        return (loss, None) if return_outputs else loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with _disk_full_as_oserror():
            super(SFTTrainer, self)._save_checkpoint(model, trial)  # without TRL's model card
            self._watch.metrics.sync()
            seal(self._checkpoints / f"{PREFIX}{self.state.global_step}")

    def _send_telemetry(self) -> None:
        """TRL reports each run to its hub here; assay reports to nobody."""


def trainer_settings(settings: TrainConfig, output: Path) -> SFTConfig:
    """TRL's settings for a run; every default of TRL that matters on a CPU is set here."""
    warm = settings.schedule == "constant" and settings.warmup_steps > 0
    return SFTConfig(
        output_dir=str(output),
        per_device_train_batch_size=settings.batch_size,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup" if warm else settings.schedule,
        warmup_steps=settings.warmup_steps,
        optim="adamw_torch",
        bf16=False,
        fp16=False,
        gradient_checkpointing=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        save_strategy="steps",
        save_steps=settings.checkpoint_steps,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        seed=settings.seed,
    )


@contextmanager
def _disk_full_as_oserror() -> Iterator[None]:
    """Raise an OSError for a full disk, which torch and safetensors report as errors of their own kinds.

    torch's zip writer keeps no reason: it only finds that fewer bytes than it wrote arrived in the file.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if any(words in str(error) for words in ("No space left", "inline_container", "PytorchStreamWriter")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def _check_received(trainer: SupervisedTrainer, rows: Sequence[Supervised]) -> None:
    """Compare what the trainer's own loader yields in an epoch with what was counted for it, before the first step."""
    expected = TokenLedger.of(rows)
    found_rows = found_tokens = 0
    for batch in trainer.get_train_dataloader():
        found_rows += len(batch["labels"])
        found_tokens += int((batch["labels"][:, 1:] != IGNORED).sum())
    if (found_rows, found_tokens) != (expected.rows, expected.supervised_tokens):
        raise AssayError(
            Problem(
                "the trainer did not receive what was prepared for it",
                where="before the first step",
                found=f"{found_rows} rows with {found_tokens} supervised tokens",
                expected=f"{expected.rows} rows with {expected.supervised_tokens} supervised tokens",
                help="this is a bug in assay; nothing was trained",
            )
        )
