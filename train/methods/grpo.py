"""Group relative policy optimisation, by TRL's GRPOTrainer: answers are drawn, and reward functions judge them.

Source: Shao et al. 2024 (arXiv 2402.03300). Answers are drawn by transformers itself; no other engine is started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from schemas.errors import AssayError, Problem, UserError
from train.adapter import load_weights
from train.processes import processes
from train.rewards import Reward, load_rewards
from train.trainer import ROWS, Job, OurTrainer
from train.watch import Watch

EPOCHS = 1 << 20
"""More epochs than any run has: seeds of epochs of different runs do not meet."""


def build(job: Job, watch: Watch, checkpoints: Path) -> OurTrainer:
    """The trainer, with the base model loaded."""
    return PolicyTrainer(job, watch, checkpoints, load_weights(job.model_folder, job.settings))


class PolicyTrainer(OurTrainer, GRPOTrainer):
    """TRL's trainer on our prompts."""

    def __init__(self, job: Job, watch: Watch, checkpoints: Path, model: Any) -> None:
        given = job.settings
        rewards = load_rewards(given.rewards, job.root)
        settings = {
            "beta": given.beta or 0.0,
            "num_generations": given.generations,
            "max_completion_length": given.max_new_tokens,
            "temperature": given.temperature,
            "reward_weights": [reward.weight for reward in given.rewards],
            "disable_dropout": given.lora.lora_dropout == 0.0,
            "use_vllm": False,
        }
        super().__init__(
            GRPOConfig,
            job,
            watch,
            checkpoints,
            model,
            settings=settings,
            reward_funcs=[_for_trl(reward, job) for reward in rewards],
        )

    def dataset(self, numbers: Sequence[int]) -> Dataset:
        """The rendered prompts with the index of each example."""
        prompts = [self.job.pool[k].prompt for k in numbers]
        return Dataset.from_dict({"prompt": prompts, ROWS: list(numbers)})

    def measure(self, name: str) -> dict[str, float]:
        """The mean reward of answers that are drawn for a sample; the loss is its negative: less is better there."""
        found = super().measure(name)
        return {**found, "loss": 0.0 - found["reward"]}

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's own."""
        return GRPOTrainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Any:
        """TRL's own, where each answer has at least one reward.

        Raises:
            UserError: no reward function applies to a row.
        """
        found = GRPOTrainer._calculate_rewards(self, inputs, prompts, completions, completion_ids_list)
        without = found.isnan().all(dim=1).nonzero().flatten().tolist()
        if without:
            alone = processes() == 1  # of several, each holds the rewards of all, and its own rows
            raise UserError(
                "no reward function applies to the row",
                where=self.job.rows[self.job.pool[inputs[without[0]][ROWS]].row].place if alone else "",
                found="null from each of train.rewards",
                expected="a number from one of them at least",
                help="exact_match, numeric and regex with a group need a reference; add a reward that judges this row",
            )
        return found

    def check_received(self) -> None:
        """Compare the tokens that TRL makes of each prompt with those that were counted for it.

        Raises:
            AssayError: they differ.
        """
        for k, example in enumerate(self.job.examples):
            found = self._tokenize_prompts([example.prompt])[0][0]
            if list(found) != example.sequences[0].input_ids:
                raise AssayError(
                    Problem(
                        "the trainer did not receive what was prepared for it",
                        where=self.job.rows[self.job.examples[k].row].place,
                        found=f"a prompt of {len(found)} tokens",
                        expected=f"{len(example.sequences[0].input_ids)} tokens",
                        help="this is a bug in assay; nothing was trained",
                    )
                )

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        theirs = GRPOTrainer._get_train_sampler(self, dataset)  # repeats each prompt as often as answers are drawn
        return PromptSampler(theirs, self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        return GRPOTrainer._get_eval_sampler(self, eval_dataset)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """The template wrote the special tokens already; TRL would let the tokenizer add its own once more."""
        tokenizer: Any = self.processing_class
        return tokenizer(text=prompts, add_special_tokens=False)["input_ids"], None, {}


class PromptSampler(torch.utils.data.Sampler[int]):
    """TRL's sampler with an order that depends on the epoch alone: a run that goes on in the middle draws the same."""

    def __init__(self, theirs: Any, seed: int) -> None:
        self._theirs = theirs
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0-based, whose order the next iteration gives."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._theirs)

    def __iter__(self) -> Iterator[int]:
        self._theirs.generator.manual_seed(self._seed * EPOCHS + self._epoch)
        return iter(self._theirs)


def _for_trl(reward: Reward, job: Job) -> Callable[..., list[float | None]]:
    """A reward as TRL calls it: all completions of a batch at once."""

    def judge(completions: list[str], **columns: Any) -> list[float | None]:
        records = [job.rows[job.pool[k].row].record for k in columns[ROWS]]
        return [reward(text, record) for text, record in zip(completions, records, strict=True)]

    judge.__name__ = reward.name
    return judge
