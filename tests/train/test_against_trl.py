"""Our preference methods against plain TRL, which tokenises the same rows by itself: same tensors, loss, gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from curate.load_supervisor import load_supervisor
from schemas.train_config import TrainConfig
from tests.tiny_model import CHATML, write_tiny_model, write_tiny_tokenizer
from train.adapter import load_scorer, load_weights, lora_config
from train.examples import supervise
from train.methods import dpo, grpo, kto, reward
from train.monitor import MetricsLog, SilentView
from train.rows import SplitRow
from train.trainer import Job
from train.watch import Rollbacks, Watch

END_TO_END = CHATML.replace("'<|im_end|>' + '\n'", "'<|im_end|>'")
"""Nothing follows the end of a turn. TRL gives loss to a line break after it, which the model never has to write."""
PLAIN: dict[str, tuple[Any, Any]] = {
    "dpo": (DPOConfig, DPOTrainer),
    "kto": (KTOConfig, KTOTrainer),
    "reward": (RewardConfig, RewardTrainer),
    "grpo": (GRPOConfig, GRPOTrainer),
}


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def records(method: str) -> list[dict[str, Any]]:
    """Four rows of unlike lengths: one turn, a system turn, an assistant's turn inside the prompt, a long answer."""
    prompts = [
        [said("user", "Is it so?")],
        [said("system", "Be brief."), said("user", "And this, which is rather longer, is it so too?")],
        [said("user", "One?"), said("assistant", "yes"), said("user", "Two?")],
        [said("user", "Three?")],
    ]
    good = ["yes", "it is", "no, not at all", "certainly, as far as anybody could tell"]
    bad = ["no", "it is not, whatever one may say", "yes", "x"]
    rows: list[dict[str, Any]] = []
    for k, prompt in enumerate(prompts):
        chosen, rejected = [said("assistant", good[k])], [said("assistant", bad[k])]
        if method == "kto":
            rows.append({"prompt": prompt, "completion": chosen if k % 2 else rejected, "label": bool(k % 2)})
        elif method == "grpo":
            rows.append({"prompt": prompt, "reference": good[k]})
        else:
            rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    return rows


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")
    write_tiny_tokenizer(folder, template=END_TO_END)
    return folder


def trainers(folder: Path, method: str, place: Path) -> tuple[Any, Any]:
    """Ours and TRL's own, with adapters of the same random weights."""
    extra: dict[str, Any] = {"generations": 2, "rewards": [{"use": "exact_match"}]} if method == "grpo" else {}
    config = TrainConfig.model_validate({"method": method, "batch_size": 4, "lora": {"r": 2}, **extra})
    supervisor = load_supervisor(folder, config.max_length)
    given = records(method)
    rows = [SplitRow(f"r{k}", None, k, "rows.jsonl", k + 1, record) for k, record in enumerate(given)]
    examples = supervise(supervisor, rows, config, "train")
    job = Job(config, folder, folder, supervisor.pad_token_id, rows, examples, [], {}, frozenset())
    rollbacks = Rollbacks(place / "rollbacks.json")
    watch = Watch(job, MetricsLog(place / "metrics.jsonl"), SilentView(), rollbacks)
    built = {"dpo": dpo, "kto": kto, "reward": reward, "grpo": grpo}[method]
    ours: Any = built.build(job, watch, place / "ours")

    settings, kind = PLAIN[method]
    given_to_trl = {"num_generations": 2} if method == "grpo" else {"max_length": None}
    arguments = settings(
        output_dir=str(place / "theirs"), per_device_train_batch_size=4, report_to="none", use_cpu=True, bf16=False,
        gradient_checkpointing=False, **given_to_trl,
    )  # fmt: skip
    model = load_scorer(folder, config, supervisor.pad_token_id) if method == "reward" else load_weights(folder, config)
    functions = {"reward_funcs": [lambda completions, **columns: [0.0] * len(completions)]} if method == "grpo" else {}
    theirs = kind(
        model=model, args=arguments, train_dataset=Dataset.from_list(given), processing_class=ours.processing_class,
        peft_config=lora_config(config.lora, model), **functions,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for parameter in ours.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    theirs.model.load_state_dict(ours.model.state_dict())
    return ours, theirs


def loss_and_gradients(trainer: Any, batch: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, dict(batch))
    loss.backward()
    return float(loss), {name: one.grad for name, one in trainer.model.named_parameters() if one.requires_grad}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("method", ["dpo", "kto", "reward"])
def test_batches_losses_and_gradients_are_those_of_plain_trl(model_folder, tmp_path, method):
    ours, theirs = trainers(model_folder, method, tmp_path)
    mine = ours.as_batch([{"example": k} for k in range(4)])
    other = theirs.data_collator([theirs.train_dataset[k] for k in range(4)])
    other = {name: tensor for name, tensor in other.items() if isinstance(tensor, torch.Tensor)}
    assert set(other) <= set(mine)
    for name, tensor in other.items():
        assert torch.equal(mine[name], tensor), name
    (loss, gradients), (their_loss, their_gradients) = (
        loss_and_gradients(trainer, batch) for trainer, batch in ((ours, mine), (theirs, other))
    )
    assert loss == pytest.approx(their_loss, rel=1e-6)
    assert set(gradients) == set(their_gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, their_gradients[name], rtol=1e-5, atol=1e-8)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_prompts_are_those_of_plain_trl(model_folder, tmp_path):
    ours, theirs = trainers(model_folder, "grpo", tmp_path)
    found = theirs._tokenize_prompts([record["prompt"] for record in records("grpo")])[0]
    assert [list(ids) for ids in found] == [example.sequences[0].input_ids for example in ours.job.examples]
