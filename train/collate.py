"""Batches as tensors: examples side by side with padding on the right, or end to end without any."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from curate.supervision import IGNORED, Supervised
from train.examples import Example

Batch = dict[str, torch.Tensor]


def pad_batch(sequences: Sequence[Supervised], pad_token_id: int) -> Batch:
    """Pad sequences on the right to the longest.

    There is no attention mask: attention is causal, so no real token ever sees the padding after it, and without a mask
    the faster attention kernel applies.

    Returns:
        `input_ids` and `labels`, (sequences, tokens), and `lengths` without padding, (sequences,).
    """
    return {
        "input_ids": _padded([sequence.input_ids for sequence in sequences], pad_token_id),
        "labels": _padded([sequence.labels for sequence in sequences], IGNORED),
        "lengths": torch.tensor([len(sequence.input_ids) for sequence in sequences]),
    }


def lay_end_to_end(sequences: Sequence[Supervised]) -> Batch:
    """One sequence of all tokens, without padding; positions start anew with each row.

    From such positions transformers knows where rows begin, and no token attends to another row. The first token of a
    row carries no loss, so none is predicted from the row before.

    Returns:
        `input_ids`, `labels` and `position_ids`, (1, all tokens), and `lengths` of the rows, (sequences,).
    """
    return {
        "input_ids": torch.tensor([[token for sequence in sequences for token in sequence.input_ids]]),
        "labels": torch.tensor([[label for sequence in sequences for label in sequence.labels]]),
        "position_ids": torch.tensor([[k for sequence in sequences for k in range(len(sequence.input_ids))]]),
        "lengths": torch.tensor([len(sequence.input_ids) for sequence in sequences]),
    }


def pad_masked(sequences: Sequence[Supervised], pad_token_id: int) -> Batch:
    """Pad sequences on the right, with masks as TRL's preference trainers take them.

    Returns:
        `input_ids`, `attention_mask` and `completion_mask` (1 where there is loss), each (sequences, tokens).
    """
    return {
        "input_ids": _padded([sequence.input_ids for sequence in sequences], pad_token_id),
        "attention_mask": _padded([[1] * len(sequence.input_ids) for sequence in sequences], 0),
        "completion_mask": _padded([[int(counted) for counted in sequence.supervised] for sequence in sequences], 0),
    }


def pair_batch(examples: Sequence[Example], pad_token_id: int) -> Batch:
    """The better answers of all examples, followed by the worse ones; see `pad_masked`."""
    return pad_masked([example.sequences[k] for k in (0, 1) for example in examples], pad_token_id)


def feedback_batch(examples: Sequence[Example], pad_token_id: int) -> Batch:
    """Rows of KTO, and each prompt with the answer of the row before it, of which the KL term is estimated.

    Source: Ethayarajh et al. 2024 (arXiv 2402.01306), section 4.2: mismatched pairs of one batch.

    Returns:
        What `pad_masked` gives, the same under names with `KL_`, and `label`, (rows,).
    """
    rows = [example.sequences[0] for example in examples]
    others = [rows[-1], *rows[:-1]]
    crossed = [_answered(row, other) for row, other in zip(rows, others, strict=True)]
    labels = torch.tensor([bool(example.label) for example in examples])
    mismatched = {f"KL_{name}": tensor for name, tensor in pad_masked(crossed, pad_token_id).items()}
    return {**pad_masked(rows, pad_token_id), **mismatched, "label": labels}


def _answered(row: Supervised, other: Supervised) -> Supervised:
    """The prompt of one row with the answer of another."""
    prompt, start = row.supervised.index(True), other.supervised.index(True)
    ids = [*row.input_ids[:prompt], *other.input_ids[start:]]
    return Supervised(ids, [False] * prompt + other.supervised[start:], 0, (), other.end_of_turn_supervised)


def _padded(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows])
