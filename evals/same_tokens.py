"""Base and tuned model must read the same tokens: otherwise a loss a token, or a divergence, compares nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from schemas.errors import UserError
from train.run import ADAPTER, MODEL

TOKENIZER = "tokenizer.json"
SHOWN = 3


def require_same_tokens(base: Path, trained: Path) -> None:
    """Compare the tokenizer that lies beside tuned weights, if one does, with the base model's.

    Args:
        base: folder of the base model.
        trained: stage folder of training.

    Raises:
        UserError: a token has another id in one of them, or is missing; or a tokenizer cannot be read.
    """
    for name in (ADAPTER, MODEL):
        own = trained / name / TOKENIZER
        if not own.is_file() or own.read_bytes() == (base / TOKENIZER).read_bytes():
            continue
        theirs, ours = _vocabulary(base / TOKENIZER), _vocabulary(own)
        differing = sorted(token for token in theirs.keys() | ours.keys() if theirs.get(token) != ours.get(token))
        if differing:
            shown = ", ".join(f"{token!r} is {ours.get(token)}, was {theirs.get(token)}" for token in differing[:SHOWN])
            raise UserError(
                "the tuned model reads other tokens than its base, so their losses cannot be compared",
                where=str(own),
                found=f"{len(differing):,} tokens with other ids: {shown}",
                expected="the tokenizer of the base model",
                help="keep the base model's tokenizer when training; a model with its own is another base model",
            )


def _vocabulary(path: Path) -> dict[str, int]:
    from tokenizers import Tokenizer

    try:
        loaded: Any = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise UserError("the tokenizer cannot be read", where=str(path), found=str(error)[:200]) from error
    found: dict[str, int] = loaded.get_vocab(with_added_tokens=True)
    return found
