"""The small base model: a Llama of two to three million weights, trained from scratch in about two minutes.

Gates are to be tried on dozens of trainings, which a model of ordinary size does not allow on two cores. This one reads
a language of a few hundred words (`language.py`) and its own chat template, answers questions about what it reads, and
is tuned by the same code as any other base model. It is made once and cached beside converted models.
"""

from __future__ import annotations

import inspect
import json
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from curate.model_files import STAGE, model_cache
from curate.rules.catalogue import all_rules
from evals.selftest import language
from schemas.base import digest, fingerprint
from schemas.errors import MissingExtra
from schemas.stage import Stage, run_stage
from train.base_model import waiting_lock

NAME = "selftest-llama"
RECIPE = "selftest-llama/1"
"""Stands for the sources of the training in the key; its number goes up when they make other weights."""
SAMPLED_DOCUMENTS = 200
"""Documents that stand for the text in the key."""
PACKAGES = ("safetensors", "tokenizers", "torch", "transformers")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SHAPE: dict[str, Any] = {
    "vocab_size": 1536,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 5,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "max_position_embeddings": 512,
}
TRAINING = {"steps": 600, "batch_size": 16, "length": 64, "learning_rate": 3e-3, "warmup_steps": 20, "seed": 0}
VOCABULARY_TEXTS = 3000
"""Made-up documents that the tokenizer's merges are learned from."""
PROSE_SHARE, PLAIN_SHARE = 0.25, 0.2
"""Shares of ordinary English and of made-up paragraphs among the documents; the others are conversations."""
PROSE_CHARS = 400
"""Of one document of ordinary English."""


def base_model_stage() -> Stage:
    """The stage that trains the model; its folder is the model folder. The text that it reads is part of its key."""
    drawn = Random(0)
    sample = [prose(), *(document(drawn) for _ in range(SAMPLED_DOCUMENTS))]
    return Stage(
        stage=STAGE,
        name=NAME,
        config={"shape": SHAPE, "training": TRAINING, "template": TEMPLATE},
        config_given={},
        inputs=(),
        code=fingerprint([RECIPE, digest("\n".join(sample).encode("utf-8"))]),
        root=model_cache(),
        packages=PACKAGES,
        seeds={"train": int(TRAINING["seed"])},
        notes=("trained from scratch on sentences that assay makes up; for trying gates, and for nothing else",),
    )


def ensure_small_model() -> Path:
    """The folder of the small base model, trained where it is not on this machine yet.

    Raises:
        MissingExtra: torch or transformers is not installed.
        ManifestError: the cached model was changed since it was written.
    """
    stage = base_model_stage()
    with waiting_lock(stage):
        return run_stage(stage, build).folder


def build(folder: Path) -> dict[str, int]:
    """Train tokenizer and weights, and save them as any base model is saved."""
    try:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise MissingExtra("train", error.name or "transformers") from error
    disable_progress_bar()
    sys.stderr.write("training the small base model (once, about two minutes on two cores)\n")
    tokenizer = write_tokenizer(folder)
    torch.manual_seed(int(TRAINING["seed"]))
    ids = {name: tokenizer.token_to_id(name) for name in SPECIAL}
    model = LlamaForCausalLM(
        LlamaConfig(
            **SHAPE,
            bos_token_id=ids["<|im_start|>"],
            eos_token_id=ids["<|im_end|>"],
            pad_token_id=ids["<|endoftext|>"],
            tie_word_embeddings=True,
        )
    )
    loss = _train(model, tokenizer, ids["<|endoftext|>"])
    model.save_pretrained(folder)
    return {
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "tokens": int(TRAINING["steps"]) * int(TRAINING["batch_size"]) * int(TRAINING["length"]),
        "last_loss_thousandths": round(1000 * loss),
    }


def _train(model: Any, tokenizer: Any, separator: int) -> float:
    """Next-token training on packed documents; gives the mean loss of the last tenth."""
    import torch

    steps, size, length = (int(TRAINING[name]) for name in ("steps", "batch_size", "length"))
    optimiser = torch.optim.AdamW(model.parameters(), lr=float(TRAINING["learning_rate"]), weight_decay=0.01)
    warm = int(TRAINING["warmup_steps"])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, 1.0) * (1 - step / steps)
    )
    stream = _tokens(tokenizer, separator)
    model.train()
    losses, shown = [], time.monotonic()
    for step in range(steps):
        batch = torch.tensor([[next(stream) for _ in range(length)] for _ in range(size)])
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            sys.stderr.write(f"small base model: step {step + 1} of {steps}, loss {losses[-1]:.2f}\n")
    last = losses[-max(1, steps // 10) :]
    return sum(last) / len(last)


def _tokens(tokenizer: Any, separator: int) -> Iterator[int]:
    """Documents without end, one after the other."""
    drawn = Random(int(TRAINING["seed"]))
    while True:
        yield from tokenizer.encode(document(drawn), add_special_tokens=False).ids
        yield separator


@cache
def prose() -> str:
    """Ordinary English of about a hundred thousand characters: the pages of the rules."""
    return "\n\n".join(inspect.getdoc(rule) or "" for rule in all_rules())


def document(drawn: Random) -> str:
    """Some English, a paragraph of the language, or a conversation about one."""
    kind = drawn.random()
    if kind < PROSE_SHARE:
        start = drawn.randrange(len(prose()) - PROSE_CHARS)
        return prose()[start : start + PROSE_CHARS]
    theme = drawn.choice(list(language.THEMES))
    if kind < PROSE_SHARE + PLAIN_SHARE:
        return language.paragraph(drawn, theme, drawn.randint(2, 5))
    question, answer = conversation(drawn, theme)
    turns = (("user", question), ("assistant", answer))
    return "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)


def conversation(drawn: Random, theme: str) -> tuple[str, str]:
    """A message, and what it is about, when it was, or where it goes by the model's own table."""
    time = drawn.choice(list(language.TIMES))
    desk = dict(zip(language.THEMES, language.DESKS, strict=True))[theme]
    degree = dict(zip(language.TIMES, language.DEGREES, strict=True))[time]
    routed = language.answer_of(desk, degree, short=drawn.random() < 0.5)
    return language.message(drawn, theme, time), drawn.choice((f"it is about {theme}.", f"it is {time}.", routed))


def write_tokenizer(folder: Path) -> Any:
    """A byte-level BPE over the language, saved with the chat template as transformers reads it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPE["vocab_size"],
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    drawn = Random(int(TRAINING["seed"]) + 1)
    tokenizer.train_from_iterator((document(drawn) for _ in range(VOCABULARY_TEXTS)), trainer)
    save_tokenizer(folder, tokenizer, int(SHAPE["max_position_embeddings"]))
    return tokenizer


def save_tokenizer(folder: Path, tokenizer: Any, longest: int, **more: str) -> None:
    """Write a tokenizer as transformers reads it, with the special tokens and the template of both made-up models.

    Args:
        folder: of the model.
        tokenizer: of the library tokenizers, that knows SPECIAL.
        longest: tokens that the model reads.
        more: further settings, such as `unk_token`.
    """
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": longest,
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | more, indent=1) + "\n", encoding="utf-8")
