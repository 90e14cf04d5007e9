"""The adapter as it was trained, beside its base model's tokenizer: a folder that plain peft reads."""

from __future__ import annotations

import shutil
from pathlib import Path

from evals.release.adapter_checks import adapter_folder, open_adapter
from evals.release.source import Loaded, Source
from schemas.atomic import readable_disk_errors

NAME = "adapter"
FOLDER = "adapter"
LOSSLESS = True


def export(source: Source, folder: Path, name: str) -> list[Path]:
    """Copy the adapter's two files, byte for byte, and the tokenizer's.

    Raises:
        UserError: there is no adapter, it is not one that changes nothing but its own weights, it does not fit the
            base model, or the disk refuses.
    """
    from curate.model_files import TOKENIZER_FILES
    from train.adapter import ADAPTER_FILES

    origin = adapter_folder(source)
    open_adapter(source)
    files = [origin / file for file in ADAPTER_FILES]
    files += [path for path in (source.base / file for file in TOKENIZER_FILES) if path.is_file()]
    written = [folder / path.name for path in files]
    with readable_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path, target in zip(files, written, strict=True):
            shutil.copyfile(path, target)
    return written


def load(source: Source, folder: Path) -> Loaded:
    """The adapter on the untouched base model, by transformers and peft alone."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from train.machine import device_class

    base = AutoModelForCausalLM.from_pretrained(
        source.base, dtype=getattr(torch, source.dtype), trust_remote_code=False
    )
    model = PeftModel.from_pretrained(base, str(folder)).to(device_class()).eval()
    return Loaded(model, AutoTokenizer.from_pretrained(folder, trust_remote_code=False))
