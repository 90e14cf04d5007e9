"""Reading a GGUF file back by transformers, with what transformers leaves out of the file put in place again."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path
from typing import Any

from evals.release.source import Loaded
from schemas.errors import UserError

ENDS = tuple(f"tokenizer.ggml.{role}_token_id" for role in ("eos", "eot", "eom"))
"""Keys of tokens at which llama.cpp ends an answer."""


def load_gguf(path: Path, base: Path) -> Loaded:
    """The model in float32 and its tokenizer, as the file has them.

    transformers 5 reads weights and vocabulary, and leaves three things out that llama.cpp reads: the rotary factors
    (`rope_freqs.weight`), further tokens that end an answer, and of some cutting rules that the file names
    (`tokenizer.ggml.pre`) the part that splits digits. All are taken from the file here. A rule that is not known here
    is refused.

    Args:
        path: the file.
        base: folder of the base model. Its config only lends the words for rotary frequencies that are the file's.

    Raises:
        UserError: the file cannot be read, lacks weights, or names a cutting rule that is not known here.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging as transformers_logging

    from train.machine import device_class

    transformers_logging.disable_progress_bar()
    where: dict[str, Any] = {
        "pretrained_model_name_or_path": path.parent,
        "gguf_file": path.name,
        "trust_remote_code": False,
    }
    dense = GgufConfig(
        gguf_file=path.name, dequantize=True
    )  # otherwise it could neither be scored in float32 nor moved
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that no setting turns off
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                **where, dtype=torch.float32, quantization_config=dense, output_loading_info=True
            )
        model, report = loaded
        fields, factors = _fields(path)
        tokenizer = AutoTokenizer.from_pretrained(**where)
    except (ValueError, KeyError, OSError, IndexError, RuntimeError, struct.error) as error:
        raise UserError(
            "the GGUF file cannot be read back",
            where=str(path),
            found=f"{type(error).__name__}: {error}"[:300],
            expected="a GGUF file of a Llama model",
        ) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise UserError(
            "the GGUF file lacks weights", where=str(path), found=f"{len(missing)}, the first is {missing[0]}"
        )
    if factors is not None:
        _stretch(model, torch.from_numpy(factors), base)
    ends = [fields[key] for key in ENDS if key in fields]
    model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0] if ends else None
    _cut_as_named(path, tokenizer, fields)
    tokenizer.model_max_length = model.config.max_position_embeddings  # transformers then cuts longer texts, or says so
    return Loaded(model.to(device_class()).eval(), tokenizer)


def _stretch(model: Any, factors: Any, base: Path) -> None:
    """Divide the rotary frequencies; a config has no word for factors, but the base model's may have one for these."""
    import torch
    from transformers import AutoConfig

    rotary = model.model.rotary_emb
    rotary.inv_freq.div_(factors)
    config = AutoConfig.from_pretrained(base, trust_remote_code=False)
    if torch.allclose(type(rotary)(config=config).inv_freq, rotary.inv_freq, atol=0, rtol=1e-5):
        model.config.rope_parameters = config.rope_parameters


def _fields(path: Path) -> tuple[dict[str, Any], Any]:
    """What the file says of cutting text and of ending answers, and its rotary factors."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    wanted = ("tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.add_space_prefix", *ENDS)
    fields = {key: reader.fields[key].contents() for key in wanted if key in reader.fields}
    factors = [tensor.data.copy() for tensor in reader.tensors if tensor.name == "rope_freqs.weight"]
    return fields, factors[0] if factors else None


def _cut_as_named(path: Path, tokenizer: Any, fields: dict[str, Any]) -> None:
    from tokenizers import normalizers

    from train.base_model import split_digits

    model, pre = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    if (model, pre) == ("gpt2", "smollm"):
        split_digits(tokenizer)
    elif model == "llama" and fields.get("tokenizer.ggml.add_space_prefix", True):
        # llama.cpp puts the blank before the text and behind every special token; transformers before the text only.
        backend = tokenizer.backend_tokenizer
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.pre_tokenizer = None
    elif (model, pre) not in {("gpt2", "gpt-2"), ("gpt2", "llama-bpe")}:
        raise UserError(
            "the GGUF file names a rule for cutting text that is not known here",
            where=str(path),
            found=f"tokenizer {model!r}, rule {pre!r}",
            expected="gpt-2, smollm, llama-bpe, or sentencepiece",
        )


def only_file(folder: Path, kind: str) -> Path:
    """The release's file of one kind.

    Raises:
        UserError: there is none, or several.
    """
    found = sorted(folder.glob(f"*-{kind}.gguf"))
    if len(found) != 1:
        raise UserError(
            f"there is not one {kind} file to be read back",
            where=str(folder),
            found=", ".join(path.name for path in found) or "none",
            expected=f"one file that ends in -{kind}.gguf",
        )
    return found[0]
