"""Kahneman-Tversky optimisation on answers marked good or bad, by TRL's KTOTrainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from train.adapter import load_weights
from train.collate import Batch, feedback_batch
from train.examples import Example
from train.trainer import Job, OurTrainer, preference_settings
from train.watch import Watch


def build(job: Job, watch: Watch, checkpoints: Path) -> OurTrainer:
    """The trainer, with the base model loaded."""
    return FeedbackTrainer(job, watch, checkpoints, load_weights(job.model_folder, job.settings))


class FeedbackTrainer(OurTrainer, KTOTrainer):
    """TRL's trainer on our tokens; each batch pairs its own prompts and answers anew for the KL term."""

    def __init__(self, job: Job, watch: Watch, checkpoints: Path, model: Any) -> None:
        settings = preference_settings(job.settings)
        super().__init__(KTOConfig, job, watch, checkpoints, model, settings=settings, data_collator=self.as_batch)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Rows, and prompts with the answer of another row."""
        return feedback_batch(examples, self.job.pad_token_id)
