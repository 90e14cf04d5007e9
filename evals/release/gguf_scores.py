"""Merge ranks as the scores of a sentencepiece vocabulary, which is how GGUF's `llama` tokenizers state them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from schemas.errors import UserError

NORMAL = 1


def sentencepiece_scores(
    path: Path, tokens: Sequence[str], types: Sequence[int], merges: Sequence[Sequence[str]]
) -> list[float]:
    """The score of each token: the earlier it is merged, the higher.

    Merging by scores joins the two neighbours whose joint text is the token of the highest score; merging by rank joins
    the pair that stands first in a list. They agree where the list holds every pair that makes a token, and all pairs
    that make the same token stand together. Lists that sentencepiece's own conversion made are so, but for some older
    ones, which lack the pair of the very first piece: with these a file would form a token that the model never saw.

    Args:
        path: tokenizer.json, for messages.
        tokens: by id.
        types: GGUF's type of each.
        merges: pairs, best first.

    Raises:
        UserError: they would not agree.
    """
    scores: dict[str, float] = {}
    last = ""
    for left, right in merges:
        whole = left + right
        if whole != last and whole in scores:
            raise _disagree(path, f"pairs that make {whole!r} at several places of the list")
        scores[whole] = -float(len(scores)) if whole not in scores else scores[whole]
        last = whole
    known, listed = set(tokens), {(left, right) for left, right in merges}
    for token, kind in zip(tokens, types, strict=True):
        if kind == NORMAL:
            pairs = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
            unlisted = [pair for pair in pairs if pair not in listed and pair[0] in known and pair[1] in known]
            if unlisted:
                raise _disagree(path, f"no merge of {unlisted[0][0]!r} and {unlisted[0][1]!r}, whose text is a token")
    missing = [token for token in (f"<0x{byte:02X}>" for byte in range(256)) if token not in known]
    if missing:
        raise _disagree(path, f"no token {missing[0]}")
    return [scores.get(token, -float(len(scores))) for token in tokens]


def _disagree(path: Path, found: str) -> UserError:
    return UserError(
        "this tokenizer cannot be written as GGUF: scores cannot say in which order it merges",
        where=str(path),
        found=found,
        expected="the merges of a sentencepiece vocabulary with all 256 bytes",
        help="drop the gguf targets from release.targets; adapter and merged keep the tokenizer as it is",
    )
