"""Direct preference optimisation, by TRL's DPOTrainer; the base model, the adapter switched off, is the reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from train.adapter import load_weights
from train.collate import Batch, pair_batch
from train.examples import Example
from train.trainer import Job, OurTrainer, preference_settings
from train.watch import Watch


def build(job: Job, watch: Watch, checkpoints: Path) -> OurTrainer:
    """The trainer, with the base model loaded."""
    return PreferenceTrainer(job, watch, checkpoints, load_weights(job.model_folder, job.settings))


class PreferenceTrainer(OurTrainer, DPOTrainer):
    """TRL's trainer on our tokens."""

    def __init__(self, job: Job, watch: Watch, checkpoints: Path, model: Any) -> None:
        settings = preference_settings(job.settings)
        super().__init__(DPOConfig, job, watch, checkpoints, model, settings=settings, data_collator=self.as_batch)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """The better answers, then the worse."""
        return pair_batch(examples, self.job.pad_token_id)
