"""What every training method shares: the job, TRL's settings, our order of rows, sealed checkpoints."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer, Trainer
from transformers.trainer_callback import PrinterCallback

from schemas.errors import AssayError, Problem
from schemas.train_config import TrainConfig
from train.adapter import lora_config, wants_bfloat16
from train.batches import epoch_order
from train.checkpoints import PREFIX, seal
from train.collate import Batch
from train.examples import Example
from train.processes import processes, processes_here
from train.rows import SplitRow

_Trainer: Any = Trainer
"""Untyped, as TRL's trainers are that stand between it and ours."""
ROWS = "example"
"""Column and batch key: the index of each example."""


@dataclass(frozen=True)
class Job:
    """One training run, ready to start."""

    settings: TrainConfig
    root: Path
    """Folder of the config, which the paths of reward functions start from."""
    model_folder: Path
    pad_token_id: int
    rows: Sequence[SplitRow]
    """Of the train split, as chosen; `Example.row` is an index into them."""
    examples: Sequence[Example]
    """What is trained, canaries included."""
    unseen: Sequence[Example]
    """What is only measured: the sample of the validation split, and canaries that are never inserted."""
    samples: Mapping[str, Sequence[int]]
    """What is measured at `watch_steps`: name -> indices into `examples` followed by `unseen`. `held_out` is a sample
    of the validation split, `trained` one of the trained rows, `canary_N` the canaries that were inserted N times."""
    watch_steps: frozenset[int]

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the rows."""
        return steps_per_epoch(self.settings, len(self.examples))

    @property
    def steps(self) -> int:
        """Optimiser steps in all, unless training stops early."""
        return self.steps_per_epoch * self.settings.epochs

    @cached_property
    def pool(self) -> list[Example]:
        """All examples, trained and only measured; batches name them by their index here."""
        return [*self.examples, *self.unseen]

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each trained example."""
        return [example.tokens for example in self.examples]

    def rows_of_step(self, step: int) -> list[str]:
        """Where the rows of an optimiser step came from; empty where the method draws its own order, and of step 0."""
        if self.settings.method == "grpo" or step < 1:
            return []
        epoch, done = divmod(step - 1, self.steps_per_epoch)
        size = rows_per_step(self.settings)
        order = epoch_order(self.lengths, size, self.settings.seed, epoch)
        return [self.rows[self.examples[k].row].place for k in order[done * size : (done + 1) * size]]


def rows_per_step(settings: TrainConfig) -> int:
    """Examples of one optimiser step, over all processes; of GRPO, prompts."""
    size = settings.batch_size * settings.gradient_accumulation * processes()
    return size // settings.generations if settings.method == "grpo" else size


def steps_per_epoch(settings: TrainConfig, examples: int) -> int:
    """Optimiser steps in one pass; GRPO leaves out prompts that do not fill a step."""
    size = rows_per_step(settings)
    return examples // size if settings.method == "grpo" else math.ceil(examples / size)


def thread_count() -> int:
    """Threads for torch: what OMP_NUM_THREADS says, else the cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return (
        int(asked) if asked.isdecimal() and int(asked) > 0 else max(1, len(os.sched_getaffinity(0)) // processes_here())
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


def settings_for(kind: type[Any], settings: TrainConfig, output: Path, **extra: Any) -> Any:
    """TRL's settings for a run; every default of TRL that would surprise is set here.

    Args:
        kind: TRL's class of settings, such as SFTConfig.
        settings: of the run.
        output: folder for checkpoints.
        extra: what the method sets beside.
    """
    warm = settings.schedule == "constant" and settings.warmup_steps > 0
    on_gpu = torch.cuda.is_available()
    return kind(
        output_dir=str(output),
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup" if warm else settings.schedule,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch",
        bf16=wants_bfloat16(settings),
        fp16=False,
        gradient_checkpointing=settings.gradient_checkpointing,
        use_cpu=not on_gpu,
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        save_strategy="steps",
        save_steps=settings.checkpoint_steps,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=list(settings.report_to) or "none",
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        seed=settings.seed,
        **extra,
    )


DEFAULT_BETA = 0.1
"""Strength of the tie to the base model in DPO and KTO, as TRL has it."""


def preference_settings(settings: TrainConfig) -> dict[str, Any]:
    """What TRL's trainers of preferences take beside the settings of every method."""
    beta = DEFAULT_BETA if settings.beta is None else settings.beta
    return {"beta": beta, "max_length": None, "disable_dropout": settings.lora.lora_dropout == 0.0}


class OurTrainer(_Trainer):
    """Comes before one of TRL's trainers: our examples and their order, watched steps, sealed checkpoints.

    A method's trainer gives `collate` and, where it can do better than TRL's own evaluation, `measure`.
    """

    processing_class: Any

    def __init__(self, kind: type[Any], job: Job, watch: Any, checkpoints: Path, model: Any, **extra: Any) -> None:
        self.job = job
        self.watch = watch
        self._checkpoints = checkpoints
        settings = settings_for(kind, job.settings, checkpoints, **extra.pop("settings", {}))
        tokenizer = AutoTokenizer.from_pretrained(job.model_folder, trust_remote_code=False)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(job.pad_token_id)
        super().__init__(
            model=model,
            args=settings,
            train_dataset=self.dataset(range(len(job.examples))),
            processing_class=tokenizer,
            peft_config=None if job.settings.method == "full" else lora_config(job.settings.lora, model),
            callbacks=[watch],
            **extra,
        )
        watch.trainer = self
        self.remove_callback(PrinterCallback)  # it prints to stdout, where results belong

    def dataset(self, numbers: Sequence[int]) -> Dataset:
        """What the trainer draws from: the index of each example in `Job.pool`."""
        return Dataset.from_dict({ROWS: list(numbers)})

    def collate(self, examples: Sequence[Example]) -> Batch:
        """The tensors of a batch."""
        raise NotImplementedError

    def supervised_in(self, batch: Batch) -> int:
        """Tokens of a batch that carry loss, as the loss function will count them."""
        return int(batch["completion_mask"][:, 1:].sum())

    def as_batch(self, chosen: Sequence[dict[str, int]]) -> Batch:
        """The collator that TRL is given: drawn indices in, tensors out."""
        numbers = [one[ROWS] for one in chosen]
        return {**self.collate([self.job.pool[k] for k in numbers]), ROWS: torch.tensor(numbers)}

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return LengthGroupedSampler(self.job.lengths, rows_per_step(self.job.settings), self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        return torch.utils.data.SequentialSampler(eval_dataset)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """TRL would tokenise here; the examples are tokens."""
        return dataset

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """As the method has it, after the rows were noted."""
        rows = inputs.pop(ROWS, None)
        if rows is not None and self.model.training:
            self.watch.saw_tokens(sum(self.job.lengths[k] for k in rows.tolist()))
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def measure(self, name: str) -> dict[str, float]:
        """`loss`, and what else the method reports, over a sample of the job, by TRL's own evaluation."""
        prefix, training = f"{name}_at", self.model.training
        found = self.evaluate(eval_dataset=self.dataset(self.job.samples[name]), metric_key_prefix=prefix)
        self.model.train(training)  # TRL tells by it which figures belong to the step
        # TRL marks its own figures with another prefix.
        return {key.removeprefix(f"{prefix}_").removeprefix("eval_"): value for key, value in found.items()}

    def check_received(self) -> None:
        """Compare what the trainer's own loader yields in an epoch with what was counted for it, before the first step.

        Raises:
            AssayError: rows or supervised tokens are missing.
        """
        rows: list[int] = []
        supervised = 0
        for batch in self.get_train_dataloader():
            rows += batch[ROWS].tolist()
            supervised += self.supervised_in(batch)
        expected = sum(self.job.examples[k].supervised_tokens for k in rows)
        missing = set(range(len(self.job.examples))) - set(rows) if processes() == 1 else set()
        if missing or supervised != expected or not rows:
            raise AssayError(
                Problem(
                    "the trainer did not receive what was prepared for it",
                    where="before the first step",
                    found=f"{len(set(rows))} rows with {supervised} supervised tokens",
                    expected=f"{len(self.job.examples)} rows with {expected} supervised tokens",
                    help="this is a bug in assay; nothing was trained",
                )
            )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with disk_full_as_oserror():
            kept = self.processing_class
            self.processing_class = None  # every checkpoint would carry a copy
            try:
                Trainer._save_checkpoint(self, model, trial)  # without TRL's model card
            finally:
                self.processing_class = kept
            self.accelerator.wait_for_everyone()  # each process writes the state of its random numbers
            if self.is_world_process_zero():
                self.watch.metrics.sync()
                keep = self.watch.best_step() if self.job.settings.keep == "best" else None
                seal(self._checkpoints / f"{PREFIX}{self.state.global_step}", keep)
            self.accelerator.wait_for_everyone()

    def _send_telemetry(self) -> None:
        """TRL reports each run to its hub here; assay reports to nobody."""


@contextmanager
def disk_full_as_oserror() -> Iterator[None]:
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
