"""A reward model: one number for a conversation, higher for the better answer of a pair, by TRL's RewardTrainer.

The adapter holds the score head too. Source: Bradley-Terry, as in Ouyang et al. 2022 (arXiv 2203.02155).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import set_seed
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from train.adapter import load_scorer
from train.collate import Batch, pair_batch
from train.examples import Example
from train.trainer import ROWS, Job, OurTrainer
from train.watch import Watch


def build(job: Job, watch: Watch, checkpoints: Path) -> OurTrainer:
    """The trainer, with the base model loaded under a new score head."""
    set_seed(job.settings.seed)  # of which the head is drawn
    return ScoreTrainer(job, watch, checkpoints, load_scorer(job.model_folder, job.settings, job.pad_token_id))


class ScoreTrainer(OurTrainer, RewardTrainer):
    """TRL's trainer on our tokens."""

    def __init__(self, job: Job, watch: Watch, checkpoints: Path, model: Any) -> None:
        settings = {"max_length": None, "disable_dropout": job.settings.lora.lora_dropout == 0.0}
        super().__init__(RewardConfig, job, watch, checkpoints, model, settings=settings, data_collator=self.as_batch)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """The better answers, then the worse."""
        return pair_batch(examples, self.job.pad_token_id)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The score is read at the last token; which tokens carry loss elsewhere is nothing to it."""
        wanted = {name: inputs[name] for name in ("input_ids", "attention_mask", ROWS) if name in inputs}
        return super().compute_loss(model, wanted, return_outputs, num_items_in_batch)
