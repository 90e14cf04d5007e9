"""Supervised fine-tuning: the answers of conversations, by TRL's SFTTrainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from curate.supervision import IGNORED
from train.adapter import load_weights
from train.collate import Batch, lay_end_to_end, pad_batch
from train.examples import Example
from train.trainer import Job, OurTrainer
from train.watch import Watch

MEASURED_AT_ONCE = 8


def build(job: Job, watch: Watch, checkpoints: Path) -> OurTrainer:
    """The trainer, with the base model loaded."""
    return SupervisedTrainer(job, watch, checkpoints, load_weights(job.model_folder, job.settings))


def supervised_nll(model: Any, inputs: Batch) -> tuple[torch.Tensor, dict[str, float]]:
    """Sum of the negative log-likelihood over the supervised tokens of a batch, in nats.

    Returns:
        The sum, and as numbers `nll`, `supervised` tokens and those of them that the model would have chosen itself.
    """
    logits, expected, _ = supervised_logits(model, inputs)
    nll = torch.nn.functional.cross_entropy(logits, expected, reduction="sum")
    correct = int((logits.detach().argmax(dim=-1) == expected).sum())
    return nll, {"nll": float(nll.detach()), "supervised": expected.numel(), "correct": correct}


def supervised_logits(model: Any, inputs: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits (tokens, vocabulary) of the supervised tokens of a batch, these tokens, and the row of each.

    Logits are computed only in columns where some row of the batch is supervised: with answers of a few tokens and a
    vocabulary of tens of thousands, the rest of the output layer would be a large part of the work.
    """
    targets = inputs["labels"][:, 1:]
    wanted = targets != IGNORED
    columns = wanted.any(dim=0).nonzero().squeeze(1)
    # With a cache transformers would not look for rows in the positions.
    places = {"position_ids": inputs["position_ids"]} if "position_ids" in inputs else {}
    outputs = model(input_ids=inputs["input_ids"], logits_to_keep=columns, use_cache=False, **places)
    mask = wanted[:, columns]
    return outputs.logits[mask].float(), targets[:, columns][mask], mask.nonzero()[:, 0]


class SupervisedTrainer(OurTrainer, SFTTrainer):
    """TRL's trainer on our tokens: rows of like length together, logits where there is loss."""

    def __init__(self, job: Job, watch: Watch, checkpoints: Path, model: Any) -> None:
        settings = {"dataset_kwargs": {"skip_prepare_dataset": True}, "max_length": None}
        super().__init__(SFTConfig, job, watch, checkpoints, model, settings=settings, data_collator=self.as_batch)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Rows side by side, or end to end."""
        sequences = [example.sequences[0] for example in examples]
        return lay_end_to_end(sequences) if self.job.settings.packing else pad_batch(sequences, self.job.pad_token_id)

    def supervised_in(self, batch: Batch) -> int:
        """Labels that the loss counts."""
        return int((batch["labels"][:, 1:] != IGNORED).sum())

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean over the supervised tokens of the whole optimiser step, as TRL's own loss."""
        self.watch.saw_tokens(int(inputs["lengths"].sum()))
        nll, sums = supervised_nll(model, inputs)
        self.watch.saw(**sums)
        whole_step = num_items_in_batch is not None
        loss = nll / (num_items_in_batch if whole_step else sums["supervised"])
        if whole_step and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over processes, items were summed
        return (loss, None) if return_outputs else loss

    def measure(self, name: str) -> dict[str, Any]:
        """Loss in nats a supervised token and token accuracy of a sample, without gradients and without dropout."""
        sequences = [self.job.pool[k].sequences[0] for k in self.job.samples[name]]
        with self.compute_loss_context_manager():
            return mean_loss(self.model, sequences, self.job.pad_token_id)


def mean_loss(model: Any, sequences: Sequence[Any], pad_token_id: int) -> dict[str, Any]:
    """`loss` in nats a supervised token, `accuracy`, the share of them that the model would have chosen itself.

    And `rows`, the loss of each sequence in nats, in their order.
    """
    nll, correct = [0.0] * len(sequences), 0
    training = model.training
    model.eval()
    ordered = sorted(range(len(sequences)), key=lambda k: len(sequences[k].input_ids))
    with torch.no_grad():
        for start in range(0, len(ordered), MEASURED_AT_ONCE):
            chosen = ordered[start : start + MEASURED_AT_ONCE]
            batch = pad_batch([sequences[k] for k in chosen], pad_token_id)
            inputs = {key: tensor.to(model.device) for key, tensor in batch.items()}
            logits, expected, rows = supervised_logits(model, inputs)
            each = torch.nn.functional.cross_entropy(logits, expected, reduction="none")
            correct += int((logits.argmax(dim=-1) == expected).sum())
            sums = torch.zeros(len(chosen), dtype=torch.float64, device=each.device)
            for k, value in zip(chosen, sums.index_add(0, rows, each.double()).tolist(), strict=True):
                nll[k] = value
    model.train(training)
    count = max(sum(sequence.supervised_tokens for sequence in sequences), 1)
    return {"loss": sum(nll) / count, "accuracy": correct / count, "rows": nll}
