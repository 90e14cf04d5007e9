"""A tiny Llama that reads: it gives the word that belongs to a name where the conversation tells it, else `unknown`.

It is trained from scratch on conversations that are made up with names and words in pairs that never come again, so it
can only learn to look them up: in notes of the question, in passages before it (in the words of
`evals/comparing/prompting.py`), with examples before them or without. It knows nothing and has no house format, which
is what tasks with a known winner need (`compare_winners.py`).

Looking up takes two layers that help each other, which training finds late and suddenly. So a few heads begin where
they would end (`begin`): in the first layer, one looks at the token before, and one from where an answer begins at the
name that is asked; in the second, two look for tokens behind an equal name. All weights are trained from there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from curate.model_files import STAGE, model_cache
from evals.selftest.base_model import PACKAGES, SPECIAL, TEMPLATE, save_tokenizer
from schemas.base import file_digest, fingerprint
from schemas.stage import Stage, run_stage
from train.base_model import waiting_lock

NAMES, VALUES, CODES = 600, 24, 40
"""Made-up words: names, what belongs to them, and what stands around that in house formats."""
FRAME = "Passages that may help : Question ? . [ ] user assistant system unknown 1 2 3 4 5 6 7 8 9 0"
UNKNOWN, UNREAD = "unknown", "<|unread|>"
SHAPE: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
}
TRAINING: dict[str, Any] = {"steps": 600, "batch_size": 32, "learning_rate": 2e-3, "warmup_steps": 50, "seed": 0}
POOL = 8
"""Batches whose documents are sorted by length together."""
IGNORED = -100
HALF, HEAD = SHAPE["hidden_size"] // 2, SHAPE["hidden_size"] // SHAPE["num_attention_heads"]
PAIRS, ROPE_BASE = HEAD // 2, 10_000.0
BEFORE, ASKED = 1, 4
"""How far back a head looks: at the token before; from the token behind which an answer begins, at the name."""
CONSTANT, SHARPNESS = 0.4, 1.1


class Words(NamedTuple):
    """The language."""

    names: tuple[str, ...]
    values: tuple[str, ...]
    codes: tuple[str, ...]


class Part(NamedTuple):
    """A piece of a conversation, and whether its tokens are learned."""

    text: str
    learned: bool


def words() -> Words:
    """The language: the same words always, each of three syllables."""
    drawn = Random(0)
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    found: dict[str, None] = {}
    while len(found) < NAMES + VALUES + CODES:
        found["".join(drawn.choice(syllables) for _ in range(3))] = None
    every = iter(found)
    parts = [tuple(next(every) for _ in range(count)) for count in (NAMES, VALUES, CODES)]
    return Words(*parts)


# ------------------------------------------------------------------------------------------------------------ language


def fact(name: str, value: str) -> str:
    """An entry that tells what belongs to a name."""
    return f"{name} {value}."


def question(name: str, notes: Sequence[str] = ()) -> str:
    """What is asked, after entries that may tell it."""
    return " ".join([*notes, f"{name}?"])


def behind(passages: Sequence[str], asked: str) -> str:
    """A question after passages, as a comparison writes it."""
    numbered = "\n\n".join(f"[{k}] {passage}" for k, passage in enumerate(passages, 1))
    return f"Passages that may help:\n\n{numbered}\n\nQuestion:\n\n{asked}"


def exchange(asked: str, answer: str, *, learned: bool = True) -> list[Part]:
    """A question and its answer, as the chat template writes them."""
    before = f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
    return [Part(before, False), Part(f"{answer}<|im_end|>", learned), Part("\n", False)]


def document(drawn: Random, known: Words) -> list[Part]:
    """A conversation: perhaps examples, then a question with notes, with passages, or with nothing that tells it."""
    names = iter(drawn.sample(known.names, 50))
    parts: list[Part] = []
    if drawn.random() < 0.3:
        form = _form(drawn, known)
        noted = drawn.random() < 0.5
        for _ in range(drawn.randint(1, 4)):
            parts += _example(drawn, known, names, form, noted=noted)
    facts = {next(names): drawn.choice(known.values) for _ in range(drawn.choice((1, 2, 2, 3, 4, 6, 10)))}
    target, told = drawn.choice(list(facts)), drawn.random()
    sentences = [fact(name, value) for name, value in facts.items()]
    if told < 0.4:
        asked = question(target, sentences)
    elif told < 0.85:
        asked = behind(_passages(drawn, known, names, sentences), question(target))
    else:
        others = [fact(next(names), drawn.choice(known.values)) for _ in range(drawn.randint(0, 2))]
        bare = question(next(names))
        return parts + exchange(behind(others, bare) if others else bare, UNKNOWN)
    parts += exchange(asked, facts[target])
    rest = [name for name in facts if name != target]
    for name in rest[:5] if drawn.random() < 0.8 else ():
        parts += exchange(question(name), facts[name])
    return parts


def _form(drawn: Random, known: Words) -> tuple[str, str] | None:
    """Words around the answers of examples, which are another house's; the question's own answer has none."""
    return (drawn.choice(known.codes), drawn.choice(known.codes)) if drawn.random() < 0.4 else None


def _said(value: str, form: tuple[str, str] | None) -> str:
    return f"{form[0]} {value} {form[1]}" if form else value


def _example(drawn: Random, known: Words, names: Any, form: tuple[str, str] | None, *, noted: bool) -> list[Part]:
    name, value = next(names), drawn.choice(known.values)
    notes = [fact(name, value), fact(next(names), drawn.choice(known.values))]
    drawn.shuffle(notes)
    asked = question(name, notes if noted else ())
    return exchange(asked, _said(value, form), learned=noted and form is None)


def _passages(drawn: Random, known: Words, names: Any, sentences: list[str]) -> list[str]:
    """Entries, up to five to a passage, and trained rows among them."""
    size = drawn.randint(2, 5)
    found = ["\n\n".join(sentences[k : k + size]) for k in range(0, len(sentences), size)]
    form = _form(drawn, known)
    while len(found) < 3 and drawn.random() < 0.4:
        name, value = next(names), drawn.choice(known.values)
        found.append(f"{question(name, [fact(name, value)])}\n{_said(value, form)}")
    drawn.shuffle(found)
    return found


# --------------------------------------------------------------------------------------------------------------- model


def reading_model_stage() -> Stage:
    """The stage that trains the model; its folder is the model folder."""
    return Stage(
        stage=STAGE,
        name="reading-llama",
        config={"shape": SHAPE, "training": TRAINING, "template": TEMPLATE},
        config_given={},
        inputs=(),
        code=fingerprint([file_digest(Path(__file__))]),
        root=model_cache(),
        packages=PACKAGES,
        seeds={"train": int(TRAINING["seed"])},
        notes=("trained from scratch on sentences that a benchmark makes up; it can look up, and nothing else",),
    )


def ensure_reading_model() -> Path:
    """The folder of the model, trained where it is not on this machine yet."""
    stage = reading_model_stage()
    with waiting_lock(stage):
        return run_stage(stage, build).folder


def build(folder: Path) -> dict[str, int]:
    """Make the tokenizer, train the weights, and save both as any base model is saved."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer = write_tokenizer(folder)
    torch.manual_seed(int(TRAINING["seed"]))
    ids = {name: tokenizer.token_to_id(name) for name in SPECIAL}
    model = LlamaForCausalLM(
        LlamaConfig(
            **SHAPE,
            vocab_size=tokenizer.get_vocab_size(),
            bos_token_id=ids["<|im_start|>"],
            eos_token_id=ids["<|im_end|>"],
            pad_token_id=ids["<|endoftext|>"],
            tie_word_embeddings=True,
        )
    )
    begin(model, tokenizer.token_to_id("assistant"))
    right = train(model, tokenizer)
    model.save_pretrained(folder)
    return {"parameters": sum(weights.numel() for weights in model.parameters()), "last_right_permille": right}


def write_tokenizer(folder: Path) -> Any:
    """A tokenizer whose tokens are whole words and marks, saved with the chat template as transformers reads it."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    listed = [*SPECIAL, UNREAD, *FRAME.split(), *(word for part in words() for word in part)]
    vocabulary = {word: place for place, word in enumerate(listed)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNREAD))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    save_tokenizer(folder, tokenizer, int(SHAPE["max_position_embeddings"]), unk_token=UNREAD)
    return tokenizer


def begin(model: Any, assistant: int) -> None:
    """Give a few heads the weights that they are to have in the end, about; the others stay as they were drawn.

    A token's embedding stands in the first half of the hidden state, behind a constant that all tokens share. What the
    first layer brings from the token before stands in the third quarter, and the name that is asked in the fourth.

    Args:
        model: of SHAPE.
        assistant: the token behind which an answer begins.
    """
    import torch

    first, second = (layer.self_attn for layer in model.model.layers[:2])
    turned = torch.linalg.qr(torch.randn(HALF - 1, HALF - 1)).Q
    with torch.no_grad():
        table = model.model.embed_tokens.weight
        table.normal_(0.0, 0.07)
        table[:, 0], table[:, HALF:] = CONSTANT, 0.0
        everywhere, told = torch.zeros(HALF), torch.zeros(HALF)
        everywhere[0] = 1.0
        told[1:] = CONSTANT * table[assistant, 1:HALF] / table[assistant, 1:HALF].square().sum()
        _looks_back(first, 0, BEFORE, everywhere, turned[:HEAD])
        _looks_back(first, 1, ASKED, told, turned[:HEAD])
        _looks_up(second, 0, turned[:HEAD], turned[:HEAD])
        _looks_up(second, 1, turned[:HEAD], turned[HEAD:])


def _looks_back(layer: Any, head: int, offset: int, where: Any, copied: Any) -> None:
    """A head that looks so many tokens back where a direction of the hidden state says so, and brings what it sees.

    Rotary positions turn the pairs of a query and of a key by an angle for each token between them; a query that is
    turned back by the angles of `offset` fits a key at that distance best.
    """
    import torch

    rows, slot = slice(head * HEAD, (head + 1) * HEAD), slice(HALF + head * HEAD, HALF + (head + 1) * HEAD)
    angles = -offset * ROPE_BASE ** (-torch.arange(PAIRS) / PAIRS)
    for matrix in (layer.q_proj, layer.k_proj, layer.v_proj):
        matrix.weight[rows] = 0.0
    layer.q_proj.weight[rows, :HALF] = torch.outer(SHARPNESS * torch.cat([angles.cos(), angles.sin()]), where)
    layer.k_proj.weight[rows.start : rows.start + PAIRS, 0] = SHARPNESS
    layer.v_proj.weight[rows, 1:HALF] = copied
    layer.o_proj.weight[:, rows] = 0.0
    layer.o_proj.weight[slot, rows] = 0.076 * torch.eye(HEAD)


def _looks_up(layer: Any, head: int, known: Any, copied: Any) -> None:
    """A head that looks for a token behind one that equals this token or the name that is asked, and brings it.

    It compares by the pairs that positions turn slowly: half of the head, so two heads compare a half each.
    """
    import torch

    rows, half = slice(head * HEAD, (head + 1) * HEAD), torch.eye(HEAD)[head * PAIRS : (head + 1) * PAIRS]
    slow = torch.arange(PAIRS // 2, PAIRS)
    at = (rows.start + torch.cat([slow, slow + PAIRS]))[:, None]
    before, asked = HALF + torch.arange(HEAD), HALF + HEAD + torch.arange(HEAD)
    for matrix in (layer.q_proj, layer.k_proj, layer.v_proj):
        matrix.weight[rows] = 0.0
    layer.q_proj.weight[at, 1 + torch.arange(HALF - 1)] = 1.5 * half @ known
    layer.q_proj.weight[at, asked] = 3.0 * half
    layer.k_proj.weight[at, before] = 1.5 * half
    layer.v_proj.weight[rows.start : rows.start + len(copied), 1:HALF] = copied
    layer.o_proj.weight[:, rows] = 0.0
    layer.o_proj.weight[1:HALF, rows.start : rows.start + len(copied)] = 0.13 * copied.T


def train(model: Any, tokenizer: Any) -> int:
    """Train on new documents in every step; gives the tokens of answers that were right in the last tenth, of 1,000."""
    import torch

    steps, warm = int(TRAINING["steps"]), int(TRAINING["warmup_steps"])
    optimiser = torch.optim.AdamW(model.parameters(), lr=float(TRAINING["learning_rate"]), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, 1.0) * (1 - step / steps)
    )
    drawn, known = Random(int(TRAINING["seed"])), words()
    waiting: list[list[tuple[list[int], list[int]]]] = []
    shares: list[float] = []
    model.train()
    for step in range(steps):
        waiting = waiting or _batches(drawn, known, tokenizer)
        inputs, labels = (torch.tensor(rows) for rows in _padded(waiting.pop()))
        learned = labels[:, 1:] != IGNORED
        wanted = labels[:, 1:][learned]
        logits = model.lm_head(model.model(input_ids=inputs).last_hidden_state[:, :-1][learned])
        torch.nn.functional.cross_entropy(logits, wanted).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        shares.append(float((logits.detach().argmax(-1) == wanted).float().mean()))
        if step % 100 == 99:
            recent = sum(shares[-100:]) / 100
            sys.stderr.write(f"reading model: step {step + 1} of {steps}, {recent:.1%} of answer tokens right\n")
    last = shares[-max(1, steps // 10) :]
    return round(1000 * sum(last) / len(last))


def _batches(drawn: Random, known: Words, tokenizer: Any) -> list[list[tuple[list[int], list[int]]]]:
    """Batches of (tokens, labels) of about the same length, in random order."""
    size = int(TRAINING["batch_size"])
    made = sorted(
        (_encoded(document(drawn, known), tokenizer) for _ in range(POOL * size)), key=lambda one: len(one[0])
    )
    batches = [made[k : k + size] for k in range(0, len(made), size)]
    drawn.shuffle(batches)
    return batches


def _encoded(parts: Sequence[Part], tokenizer: Any) -> tuple[list[int], list[int]]:
    ids: list[int] = []
    labels: list[int] = []
    for part in parts:
        tokens = tokenizer.encode(part.text, add_special_tokens=False).ids
        ids += tokens
        labels += tokens if part.learned else [IGNORED] * len(tokens)
    return ids, labels


def _padded(batch: Sequence[tuple[list[int], list[int]]]) -> tuple[list[list[int]], list[list[int]]]:
    """Rows of equal length; what is filled up stands behind a row, where it changes nothing."""
    longest = max(len(ids) for ids, _ in batch)
    rows = [(ids + [0] * (longest - len(ids)), labels + [IGNORED] * (longest - len(labels))) for ids, labels in batch]
    return [ids for ids, _ in rows], [labels for _, labels in rows]
