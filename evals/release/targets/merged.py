"""One model without an adapter: sharded safetensors with config, generation config, tokenizer and chat template.

The weights are saved in the dtype in which the model was evaluated (`evals.dtype`). In float32 merging changes answers
in the last places only; in bfloat16 or float16 each merged weight is rounded once more than it was when judged.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from evals.release.merging import merged_model
from evals.release.source import Loaded, Source
from schemas.atomic import readable_disk_errors

NAME = "merged"
FOLDER = "merged"
LOSSLESS = True
SHARD_BYTES = 2_000_000_000
"""Largest file of weights; a shard is held in memory a second time while it is written."""


def export(source: Source, folder: Path, name: str) -> list[Path]:
    """Merge the adapter into its base and save all as transformers does; after full fine-tuning, the model itself.

    Raises:
        UserError: as `merged_model`, or the disk refuses.
    """
    from curate.model_files import TOKENIZER_FILES

    model = merged_model(source)
    own = ("generation_config.json", *TOKENIZER_FILES)  # as they were when the model was judged, byte for byte
    with readable_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder, max_shard_size=SHARD_BYTES)
        for path in (source.base / file for file in own):
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
    return sorted(path for path in folder.iterdir() if path.is_file())


def load(source: Source, folder: Path) -> Loaded:
    """The folder as anybody would read it, by transformers alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from train.machine import device_class

    number = getattr(torch, source.dtype)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=number, trust_remote_code=False)
    return Loaded(model.to(device_class()).eval(), AutoTokenizer.from_pretrained(folder, trust_remote_code=False))
