"""Whether a tuned model's own tokenizer is that of its base, with which it is evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curate.load_supervisor import template_source, tokenizer_settings
from schemas.errors import UserError

STATES = ("padding", "truncation")
"""Parts of a tokenizer file that a training run sets and that split no text otherwise."""


def require_same_tokenizer(folder: Path, base: Path) -> None:
    """Refuse tuned weights whose folder holds another tokenizer or another chat template than their base model.

    It is compared as the library reads it, so that a file which another version wrote is no difference.

    Args:
        folder: of the adapter or the tuned model; without tokenizer files there is nothing to compare.
        base: folder of the base model.

    Raises:
        UserError: they differ, or a file cannot be read.
    """
    if (folder / "tokenizer.json").is_file():
        own, its = _parts(folder / "tokenizer.json"), _parts(base / "tokenizer.json")
        unlike = sorted(part for part in own.keys() | its.keys() if own.get(part) != its.get(part))
        if unlike:
            raise _other("tokenizer", folder, base, f"another {', another '.join(unlike)}")
    own_template, its_template = (template_source(place, tokenizer_settings(place), False) for place in (folder, base))
    if own_template and own_template.strip() != its_template.strip():
        raise _other("chat template", folder, base, f"a template of {len(own_template):,} characters")


def _parts(path: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer

    try:
        read = json.loads(Tokenizer.from_file(str(path)).to_str())
    except Exception as error:  # the library raises nothing narrower
        raise UserError("a tokenizer file cannot be read", where=str(path), found=str(error)[:200]) from error
    return {part: value for part, value in read.items() if part not in STATES}


def _other(what: str, folder: Path, base: Path, found: str) -> UserError:
    return UserError(
        f"the tuned model has another {what} than its base model has",
        where=str(folder),
        found=found,
        expected=f"that of {base}",
        help="name the base model with this tokenizer: --base-model FOLDER; evaluations ask with the base's own",
    )
