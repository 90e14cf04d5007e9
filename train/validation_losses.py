"""The loss of published weights on each row of the validation split, which the trials of a sweep are compared by."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from peft import PeftModel

from curate.load_supervisor import load_supervisor
from schemas.atomic import write_atomic
from schemas.errors import UserError
from schemas.train_config import TrainConfig
from train.adapter import load_weights
from train.collate import pad_batch
from train.examples import Example, encode_rows, examples_of
from train.methods.sft import supervised_nll
from train.rows import SplitRow, choose_rows, read_split
from train.run import ADAPTER, MODEL
from train.trainer import thread_count


@dataclass(frozen=True)
class ValidationRows:
    """The rows that every trial of a sweep is measured on."""

    rows: list[SplitRow]
    examples: list[Example]
    pad_token_id: int


def read_validation(
    dataset_folder: Path, model_folder: Path, config: TrainConfig, limit: int | None, seed: int
) -> ValidationRows:
    """Choose rows of the validation split and make their tokens.

    Args:
        dataset_folder: of `assay curate`.
        model_folder: of the base model.
        config: whose method and max_length decide what a row becomes.
        limit: most rows; null takes all.
        seed: of the choice.

    Raises:
        UserError: there is no row to measure.
    """
    rows = choose_rows(read_split(dataset_folder, "validation"), limit, seed)
    supervisor = load_supervisor(model_folder, config.max_length, needs_template=config.method != "text")
    examples = examples_of(supervisor, rows, encode_rows(supervisor, rows, config), config)
    if not examples:
        raise UserError(
            "there is nothing to choose by",
            where=str(dataset_folder / "data" / "validation.parquet"),
            found=f"{len(rows)} rows, none of which can be measured",
            expected="rows of the validation split, which the settings are chosen on",
            help="raise curate.split.validation, and run `assay curate` again",
        )
    return ValidationRows(rows, examples, supervisor.pad_token_id)


def measure_losses(finished: Path, model_folder: Path, config: TrainConfig, validation: ValidationRows) -> pl.DataFrame:
    """The loss of every row under the weights that a training published.

    Args:
        finished: folder of the training.
        model_folder: of the base model.
        config: that it was trained with.
        validation: the rows.

    Returns:
        `row_id`, `component`, `nll` in nats summed over the row's supervised tokens, `tokens` their number.
    """
    torch.set_num_threads(thread_count())
    model = _published(finished, model_folder, config)
    model.eval()
    sums = {example.row: [0.0, 0] for example in validation.examples}
    with torch.no_grad():
        for example in validation.examples:  # one at a time: a row's loss must not depend on its neighbours
            batch = pad_batch(example.sequences, validation.pad_token_id)
            _, found = supervised_nll(model, {key: tensor.to(model.device) for key, tensor in batch.items()})
            sums[example.row][0] += found["nll"]
            sums[example.row][1] += int(found["supervised"])
    measured = [validation.rows[row] for row in sums]
    return pl.DataFrame(
        {
            "row_id": [row.row_id for row in measured],
            "component": [row.component for row in measured],
            "nll": [nll for nll, _ in sums.values()],
            "tokens": [tokens for _, tokens in sums.values()],
        },
        schema={"row_id": pl.String, "component": pl.Int64, "nll": pl.Float64, "tokens": pl.Int64},
    )


def mean_of(losses: pl.DataFrame) -> float:
    """Nats a supervised token over all rows."""
    return float(losses["nll"].sum()) / max(int(losses["tokens"].sum()), 1)


def write_losses(path: Path, losses: pl.DataFrame) -> None:
    """Write the losses of one trial in one step."""
    stream = io.BytesIO()
    losses.write_parquet(stream)
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, stream.getvalue())


def read_losses(path: Path) -> pl.DataFrame:
    """The losses of one trial, as `measure_losses` gave them."""
    return pl.read_parquet(path)


def _published(finished: Path, model_folder: Path, config: TrainConfig) -> Any:
    if config.method == "full":
        model: Any = load_weights(finished / MODEL, config)
    else:
        base = load_weights(model_folder, config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft sets names that transformers renames
            model = PeftModel.from_pretrained(base, str(finished / ADAPTER))
    on_gpu = torch.cuda.is_available() and config.quantization is None  # 4-bit weights lie there already
    return model.to("cuda") if on_gpu else model
