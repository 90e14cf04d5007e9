"""Reading tokenizer and chat template of a model folder; needs tokenizers and jinja2, no torch and no transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.model_files import find_tokenizer_folder
from curate.row_tokens import NO_LIMIT, TokenSettings
from schemas.errors import UserError

if TYPE_CHECKING:
    from curate.supervision import Supervisor

LONGEST_CONTEXT = 10_000_000
"""Tokenizers without a limit of their own state an enormous one."""


def load_token_settings(model: str | None, max_length: int | None) -> TokenSettings | None:
    """What the audit measures rows with.

    Args:
        model: bundled name, folder or hub id; null estimates tokens.
        max_length: most tokens a row may have; null takes what the model's tokenizer states, if it does.

    Returns:
        Null where neither is given.

    Raises:
        UserError: the model's tokenizer is not on this machine, or cannot be used.
    """
    if model is None:
        return None if max_length is None else TokenSettings(None, max_length)
    folder = find_tokenizer_folder(model)
    if folder is None:
        raise UserError(
            "the model's tokenizer is not on this machine",
            where="--model",
            found=model,
            expected="a folder with tokenizer.json and tokenizer_config.json, or a model in the hub's cache",
            help="`assay train` fetches its base model; or download the two files (no weights are needed)",
        )
    supervisor = load_supervisor(folder, max_length or NO_LIMIT)
    if max_length is None:
        stated = tokenizer_settings(folder).get("model_max_length")
        max_length = int(stated) if isinstance(stated, int | float) and 0 < stated <= LONGEST_CONTEXT else None
    return TokenSettings(supervisor, max_length, model)


def load_supervisor(model_folder: Path, max_length: int, *, needs_template: bool = True) -> Supervisor:
    """Read tokenizer and chat template of a model folder.

    Args:
        model_folder: folder with tokenizer.json, tokenizer_config.json and, if not inside it, chat_template.jinja.
        max_length: most tokens a row may have.
        needs_template: refuse a model without chat template; plain text needs none.

    Raises:
        UserError: a file is missing or broken, there is no chat template, or no end-of-sequence token.
    """
    from tokenizers import Tokenizer, processors

    from curate.chat_template import ChatTemplate
    from curate.supervision import Supervisor

    settings = tokenizer_settings(model_folder)
    path = model_folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise UserError(
            "the tokenizer cannot be read",
            where=str(path),
            found=str(error)[:200],
            expected="a tokenizer.json of the tokenizers library",
            help="save the tokenizer with a recent transformers; it writes tokenizer.json",
        ) from error
    added_start = _added_start(tokenizer)
    # Templates write their own special tokens; and some post-processors move offsets off leading blanks.
    tokenizer.post_processor = processors.Sequence([])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    special = {name: text for name in SPECIAL_NAMES if (text := _token_text(settings.get(name)))}
    eos = special.get("eos_token")
    if eos is None or tokenizer.token_to_id(eos) is None:
        raise UserError(
            "the tokenizer has no end-of-sequence token, so a trained model would never stop",
            where=str(model_folder / "tokenizer_config.json"),
            found="no eos_token" if eos is None else f"eos_token {eos!r}, which is not in the vocabulary",
            expected="eos_token, a token of the vocabulary",
            help="use the instruct version of the model, or set eos_token in tokenizer_config.json",
        )
    template = ChatTemplate(template_source(model_folder, settings, needs_template), special)
    pad = special.get("pad_token")
    known_pad = pad if pad is not None and tokenizer.token_to_id(pad) is not None else None
    return Supervisor(
        tokenizer, template, eos_token=eos, pad_token=known_pad, max_length=max_length, added_start=added_start
    )


def _added_start(tokenizer: Any) -> str:
    """What the tokenizer writes before a text unless it is told not to, such as `<s>`."""
    bare, dressed = tokenizer.encode("a", add_special_tokens=False), tokenizer.encode("a")
    start = next((k for k in range(len(dressed.ids)) if dressed.ids[k : k + len(bare.ids)] == bare.ids), 0)
    return "".join(dressed.tokens[:start])


SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def _token_text(entry: Any) -> str | None:
    """A special token as text: written as a string, or as an object with `content`."""
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) else None


def tokenizer_settings(folder: Path) -> dict[str, Any]:
    """What a model's folder says of special tokens and the chat template; empty without such files.

    Raises:
        UserError: a file cannot be read.
    """
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            found = json.loads(path.read_text("utf-8"))
        except (ValueError, OSError) as error:
            raise UserError("a tokenizer file cannot be read", where=str(path), found=str(error)[:200]) from error
        if isinstance(found, dict):
            settings |= {key: value for key, value in found.items() if value is not None}
    return settings


def template_source(folder: Path, settings: dict[str, Any], needed: bool) -> str:
    """The chat template of a model's folder; empty where it has none.

    Args:
        folder: of the model.
        settings: `tokenizer_settings` of it.
        needed: whether it must have one.

    Raises:
        UserError: the file cannot be read, or a template is needed.
    """
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_text("utf-8")
        except (ValueError, OSError) as error:
            raise UserError("the chat template cannot be read", where=str(path), found=str(error)[:200]) from error
    source = settings.get("chat_template")
    if isinstance(source, list):  # several named templates: [{"name": ..., "template": ...}, ...]
        named = {str(entry.get("name")): entry.get("template") for entry in source if isinstance(entry, dict)}
        source = named.get("default")
    if not isinstance(source, str) or not source.strip():
        if not needed:
            return ""
        raise UserError(
            "the base model has no chat template",
            where=str(folder),
            expected="chat_template.jinja, or chat_template in tokenizer_config.json",
            help="use the instruct version of the model, or add the chat template that its answers should follow",
        )
    return source
