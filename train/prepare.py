"""Everything that is known, and checked, before weights are loaded."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from curate.configfile import Project
from curate.load_supervisor import load_supervisor
from curate.neutral_text import PASSAGE_TOKENS, python_prose
from curate.supervision import Supervisor
from schemas.errors import ConfigError, Problem, UserError
from schemas.train_config import TrainConfig
from train.canaries import canary_rows
from train.examples import Example, TokenLedger, supervise
from train.rewards import load_rewards
from train.rows import SplitRow, choose_rows, read_split

FORWARD_SHARE = 2 / 3
"""Work of a token that is only measured, against one that is trained: forward, against forward and backward."""
KERNELS = {"flash_attention_2": "flash_attn"}


@dataclass(frozen=True)
class Prepared:
    """What a run is made of."""

    model_folder: Path
    supervisor: Supervisor
    rows_in_split: int
    chosen: list[SplitRow]
    """Rows of the train split that are trained."""
    rows: list[SplitRow]
    """These, then canaries and the sample of the validation split; `Example.row` is an index into them."""
    examples: list[Example]
    """What is trained."""
    unseen: list[Example]
    """What is only measured."""
    samples: dict[str, list[int]]
    """Name -> indices into `examples` followed by `unseen`, of what is measured while training."""

    @property
    def pool(self) -> list[Example]:
        """What samples are indices of."""
        return [*self.examples, *self.unseen]

    @property
    def ledger(self) -> TokenLedger:
        """Of the chosen rows, canaries left out."""
        return TokenLedger.of(example for example in self.examples if example.row < len(self.chosen))

    @property
    def held_out(self) -> list[Example]:
        """The sample of the validation split."""
        return [self.pool[k] for k in self.samples.get("held_out", ())]


def prepare(project: Project, dataset_folder: Path, model_folder: Path) -> Prepared:
    """Choose the rows, make their tokens, and check the config against the model, without loading weights.

    Raises:
        UserError: an empty split, rows that cannot be trained, or settings that do not fit the model or this machine.
    """
    from train.adapter import empty_model, lora_config

    config = project.config.train
    model = empty_model(model_folder)
    text_config = model.config.get_text_config()
    _all_at_once(
        lambda: lora_config(config.lora, model),
        lambda: _check_length(config.max_length, text_config),
        lambda: _check_machine(config),
        lambda: load_rewards(config.rewards, project.root),
        lambda: load_supervisor(model_folder, config.max_length, needs_template=config.method != "text"),
    )
    supervisor = load_supervisor(model_folder, config.max_length, needs_template=config.method != "text")
    everything = read_split(dataset_folder, "train")
    if not everything:
        raise UserError(
            "the train split is empty",
            where=str(dataset_folder / "data" / "train.parquet"),
            found="0 rows",
            help="look at dropped.parquet beside it, or change curate.split",
        )
    chosen = choose_rows(everything, config.max_examples, config.seed)
    examples = supervise(supervisor, chosen, config, "train split")
    _check_groups(config, examples)
    validation = _validation(dataset_folder)
    if config.early_stopping is not None and not validation:
        raise UserError(
            "there is no held-out loss to stop by",
            where="train.early_stopping",
            found="no row in the validation split",
            expected="some rows in it",
            help="give the validation split a share in curate.split, or take train.early_stopping out",
        )
    prepared = Prepared(model_folder, supervisor, len(everything), chosen, list(chosen), list(examples), [], {})
    _add_samples(prepared, config, validation)
    _check_vocabulary(prepared, text_config)
    return prepared


def _add_samples(prepared: Prepared, config: TrainConfig, validation: list[SplitRow]) -> None:
    """Add canaries and the sample of the validation split, and say which examples are measured."""
    canaries = canary_rows(config.canaries, config.seed) if config.canaries else {}
    groups = {f"canary_{dose}": _add_rows(prepared, config, rows, dose, "canaries") for dose, rows in canaries.items()}
    if config.watch.rows > 0 and validation:
        groups |= _watched(prepared, config, validation)
        if config.method in ("sft", "full", "text"):  # the others measure pairs, marks or rewards
            groups["general"] = _add_general(prepared, config.watch.general_texts)
    for name, (is_trained, numbers) in groups.items():
        first = 0 if is_trained else len(prepared.examples)
        if numbers:
            prepared.samples[name] = [first + k for k in numbers]


def _watched(prepared: Prepared, config: TrainConfig, validation: list[SplitRow]) -> dict[str, tuple[bool, list[int]]]:
    watched = {row.row_id for row in choose_rows(prepared.chosen, config.watch.rows, config.seed)}
    known = [example for example in prepared.examples if example.row < len(prepared.chosen)]
    trained = [k for k, one in enumerate(known) if prepared.chosen[one.row].row_id in watched]
    sample = choose_rows(validation, config.watch.rows, config.seed)
    return {"trained": (True, trained), "held_out": _add_rows(prepared, config, sample, 0, "validation split")}


def _add_rows(
    prepared: Prepared, config: TrainConfig, rows: Sequence[SplitRow], copies: int, of: str
) -> tuple[bool, list[int]]:
    """Append rows that are trained so many times or, with 0 copies, only measured.

    Returns:
        Whether they are trained, and the index of one copy of each in `examples` or in `unseen`.

    Raises:
        UserError: a row cannot be trained, and so not be measured.
    """
    made = supervise(prepared.supervisor, rows, config, of)
    into, first = prepared.examples if copies else prepared.unseen, len(prepared.rows)
    start, each = len(into), max(copies, 1)
    into += [dataclasses.replace(one, row=first + one.row) for one in made for _ in range(each)]
    prepared.rows.extend(rows)
    return copies > 0, list(range(start, len(into), each))


def _add_general(prepared: Prepared, count: int) -> tuple[bool, list[int]]:
    """Append so many neutral texts that are only measured."""
    supervisor, start = prepared.supervisor, len(prepared.unseen)
    limited = supervisor.limited(min(PASSAGE_TOKENS, supervisor.max_length))
    for topic, text in islice(python_prose(), count):
        prepared.unseen.append(Example(len(prepared.rows), (limited.encode_text(text)[0],)))
        prepared.rows.append(SplitRow(f"general-{topic}", None, -1, "pydoc_data.topics", None, {"text": text}))
    return False, list(range(start, len(prepared.unseen)))


def _validation(dataset_folder: Path) -> list[SplitRow]:
    """The validation split, to watch training with; the test split stays unseen."""
    present = (dataset_folder / "data" / "validation.parquet").is_file()
    return read_split(dataset_folder, "validation") if present else []


def watch_steps(
    config: TrainConfig, steps: int, examples: Sequence[Example], sampled: Sequence[Example]
) -> frozenset[int]:
    """After which steps samples are measured: before the first, after the last, and evenly between if cheap.

    Args:
        config: `watch.share` is the most of the training's own work that measuring may cost.
        steps: optimiser steps of the run.
        examples: of one epoch.
        sampled: what is measured each time.
    """
    cost = FORWARD_SHARE * sum(example.tokens for example in sampled)
    if cost == 0:
        return frozenset()
    affordable = int(config.watch.share * config.epochs * sum(example.tokens for example in examples) / cost)
    points = min(max(affordable, 2), steps + 1)
    return frozenset(round(k * steps / (points - 1)) for k in range(points))


def _all_at_once(*checks: Callable[[], object]) -> None:
    """Run all checks, and raise what all of them found as one error."""
    problems: list[Problem] = []
    for check in checks:
        try:
            check()
        except UserError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def _check_machine(config: TrainConfig) -> None:
    import torch

    wanted: list[tuple[str, str]] = []
    if config.quantization is not None:
        wanted.append(("train.quantization", "bitsandbytes"))
    if config.attention in KERNELS:
        wanted.append(("train.attention", KERNELS[config.attention]))
    problems = []
    for where, package in wanted:
        on_gpu, installed = torch.cuda.is_available(), importlib.util.find_spec(package) is not None
        if not (on_gpu and installed):
            found = f"{'a GPU' if on_gpu else 'no GPU'}, and {package} {'is' if installed else 'is not'} installed"
            expected = f"a GPU and the package {package}"
            problems.append(Problem("this machine cannot do what the config asks for", where, found, expected))
    for tracker in config.report_to:
        if importlib.util.find_spec(tracker) is None:
            problems.append(
                Problem(
                    "a tracker is not installed",
                    "train.report_to",
                    tracker,
                    help=f"pip install {tracker}, or leave it out: metrics.jsonl is always written",
                )
            )
    if problems:
        raise ConfigError(problems)


def _check_length(max_length: int, model_config: Any) -> None:
    context = getattr(model_config, "max_position_embeddings", None)
    if isinstance(context, int) and max_length > context:
        raise UserError(
            "rows may be longer than the base model can read",
            where="train.max_length",
            found=str(max_length),
            expected=f"at most {context} tokens",
        )


def _check_groups(config: TrainConfig, examples: Sequence[Example]) -> None:
    if (
        config.method == "grpo"
        and len(examples) * config.generations < config.batch_size * config.gradient_accumulation
    ):
        raise UserError(
            "there are too few prompts for one optimiser step",
            where="train.batch_size",
            found=f"{len(examples)} prompts, {config.generations} answers each",
            expected=f"at least {config.batch_size * config.gradient_accumulation} answers a step",
            help="lower train.batch_size or train.gradient_accumulation",
        )
    if config.method == "kto" and len({example.label for example in examples}) == 1:
        raise UserError(
            "all answers are marked alike, and kto learns from the difference",
            where="train.method",
            found=f"{len(examples)} rows with label {str(examples[0].label).lower()}",
            expected="some rows with label true and some with false",
            help="bring answers of the other kind, or use method sft on the good ones",
        )


def _check_vocabulary(prepared: Prepared, model_config: Any) -> None:
    known = getattr(model_config, "vocab_size", None)
    highest = max(max(sequence.input_ids) for example in prepared.pool for sequence in example.sequences)
    if isinstance(known, int) and highest >= known:
        raise UserError(
            "the tokenizer has tokens that the base model does not know",
            where=str(prepared.model_folder),
            found=f"token {highest} in the rows, and a model of {known} tokens",
            expected="the tokenizer that the model was trained with",
            help="restore tokenizer.json, or resize the model's embeddings and save it again",
        )
