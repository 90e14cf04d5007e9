"""Writing a Llama model as one GGUF file, tensor by tensor.

Names, key order and the order of rows in `q_proj` and `k_proj` are those of llama.cpp's own converter, which no
distribution brings along; the format itself and the block quantisation are the `gguf` package's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Stored
from numpy.typing import NDArray

from evals.release.gguf_tokenizer import Vocabulary, read_vocabulary
from evals.release.merging import merged_model
from evals.release.source import Source
from schemas.atomic import readable_disk_errors
from schemas.errors import UserError

FAMILIES = ("llama", "mistral")
"""Model types with the layout of GGUF's `llama`: rotary attention without biases, SwiGLU, RMS norm."""
ROPE_TYPES = ("default", "linear", "llama3")
"""Ways to stretch positions that only divide the rotary frequencies."""
ENDS = ("token_embd.weight", "output.weight")
LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Kind:
    """How numbers are stored."""

    name: str
    """Ends the file's name."""
    file_type: gguf.LlamaFileType
    weights: Stored
    """Of the linear layers."""
    ends: Stored
    """Of the embedding and the output head. llama.cpp keeps them finer than 4 bits, and so do we."""


F16 = Kind("f16", gguf.LlamaFileType.MOSTLY_F16, Stored.F16, Stored.F16)
Q8_0 = Kind("q8_0", gguf.LlamaFileType.MOSTLY_Q8_0, Stored.Q8_0, Stored.Q8_0)
Q4_0 = Kind("q4_0", gguf.LlamaFileType.MOSTLY_Q4_0, Stored.Q4_0, Stored.Q8_0)


def export_gguf(source: Source, path: Path, kind: Kind) -> list[Path]:
    """Write the judged model.

    Norms and other vectors are kept in float32. A matrix whose rows do not divide into blocks of 32 numbers is kept in
    float16, and a line on stderr says so.

    Args:
        source: the judged model.
        path: the file.
        kind: how numbers are stored.

    Raises:
        UserError: the architecture or the tokenizer has no equal in GGUF, a weight does not fit the type, the model
            cannot be merged, or the disk refuses.
    """
    folder = source.full or source.base
    config = _llama_config(folder)
    vocabulary = read_vocabulary(source.base, config.vocab_size)
    model = merged_model(source)
    tensors = dict(_tensors(model))
    chosen = {name: _stored_as(name, tensor.shape, kind) for name, tensor in tensors.items()}
    wider = [name for name, stored in chosen.items() if stored is Stored.F16 and kind.weights is not Stored.F16]
    if wider:
        sys.stderr.write(
            f"{path.name}: {len(wider)} tensors stay f16, the first is {wider[0]}: their rows do not divide by 32\n"
        )
    _check_range(path, tensors, chosen)
    with readable_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, _header(path, config, vocabulary, source.name, kind), tensors, chosen)
    return [path]


def _llama_config(folder: Path) -> Any:
    """The config of a model whose layout GGUF's `llama` has."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    where = str(folder / "config.json")
    if config.model_type not in FAMILIES:
        raise UserError(
            "this architecture is not written as GGUF",
            where=where,
            found=", ".join(config.architectures or [config.model_type]),
            expected="LlamaForCausalLM or MistralForCausalLM",
            help="drop the gguf targets from release.targets; llama.cpp's own converter takes the folder `merged`",
        )
    rope = config.rope_parameters.get("rope_type", "default")
    window = getattr(config, "sliding_window", None)
    odd = {
        "attention_bias": getattr(config, "attention_bias", False),
        "mlp_bias": getattr(config, "mlp_bias", False),
        f"hidden_act {config.hidden_act}": config.hidden_act != "silu",
        f"rope_type {rope}": rope not in ROPE_TYPES,
        f"sliding_window {window}": window is not None,
    }
    if any(odd.values()):
        raise UserError(
            "this model has parts that GGUF's `llama` would lose when it is read back",
            where=where,
            found=", ".join(name for name, present in odd.items() if present),
            expected=f"no biases, no sliding window, hidden_act silu, rope_type one of {', '.join(ROPE_TYPES)}",
            help="drop the gguf targets from release.targets",
        )
    return config


def _header(path: Path, config: Any, vocabulary: Vocabulary, name: str, kind: Kind) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LLAMA])
    writer.add_type("model")
    writer.add_name(f"{name} {kind.name}")  # transformers takes a file that is called `mistral` alone for another model
    writer.add_file_type(kind.file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(_head_size(config))
    writer.add_key_length(_head_size(config))
    writer.add_value_length(_head_size(config))
    writer.add_vocab_size(config.vocab_size)
    _add_vocabulary(writer, vocabulary)
    return writer


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.model == "gpt2":
        writer.add_token_merges(vocabulary.merges)
    else:
        writer.add_token_scores(vocabulary.scores)
    writer.add_add_space_prefix(vocabulary.model == "llama")
    for role, number in vocabulary.special.items():
        getattr(writer, f"add_{role}_token_id")(number)
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(vocabulary.add_eos)
    if vocabulary.template:
        writer.add_chat_template(vocabulary.template)


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _tensors(model: Any) -> Iterator[tuple[str, Any]]:
    """GGUF's name and the weights of each tensor, each once."""
    import torch

    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        heads = {"q_proj.weight": config.num_attention_heads, "k_proj.weight": config.num_key_value_heads}
        of = next((count for end, count in heads.items() if name.endswith(end)), None)
        known = names.get_name(name, try_suffixes=(".weight",))
        assert known is not None, name
        yield known, tensor if of is None else _interleaved(tensor, of)
    factors = _rotary_factors(model)
    if factors is not None:
        assert isinstance(factors, torch.Tensor)
        yield "rope_freqs.weight", factors


def _interleaved(weights: Any, heads: int) -> Any:
    """The rows of each head in llama.cpp's order: it turns neighbours (2k, 2k+1), transformers turns (k, k + half)."""
    rows, columns = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def _rotary_factors(model: Any) -> Any:
    """What the model divides each rotary frequency by; null where it is 1 throughout."""
    import torch

    rotary = model.model.rotary_emb
    size = 2 * rotary.inv_freq.numel()
    base = model.config.rope_parameters["rope_theta"]
    plain = 1.0 / (base ** (torch.arange(0, size, 2, dtype=torch.int64).float() / size))
    factors = plain / rotary.inv_freq.float().cpu()
    return None if torch.allclose(factors, torch.ones_like(factors)) else factors


def _stored_as(name: str, shape: Any, kind: Kind) -> Stored:
    if len(shape) == 1:
        return Stored.F32
    wanted = kind.ends if name in ENDS else kind.weights
    block, _ = gguf.GGML_QUANT_SIZES[wanted]
    return wanted if shape[-1] % block == 0 else Stored.F16


def _write(path: Path, writer: gguf.GGUFWriter, tensors: dict[str, Any], chosen: dict[str, Stored]) -> None:
    """Write header and tensors one after the other, so that only one is held twice."""
    for name, tensor in tensors.items():
        block, size = gguf.GGML_QUANT_SIZES[chosen[name]]
        number = np.dtype(np.float32 if chosen[name] is Stored.F32 else np.float16)
        writer.add_tensor_info(name, tensor.shape, number, tensor.numel() // block * size, raw_dtype=chosen[name])
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, tensor in tensors.items():
            writer.write_tensor_data(_numbers(tensor, chosen[name]))
    except OSError as error:
        if error.errno is None:  # numpy tells how many numbers it wrote and not what stopped it: ask the system
            with path.open("ab") as stream:
                stream.write(bytes(gguf.GGUF_DEFAULT_ALIGNMENT))
        raise
    finally:
        writer.close()


def _check_range(path: Path, tensors: dict[str, Any], chosen: dict[str, Stored]) -> None:
    """Half-precision numbers, and the scales of blocks, end at 65,504."""
    for name, tensor in tensors.items():
        largest = float(tensor.abs().max())
        limit = LARGEST if chosen[name] is not Stored.F32 else float(np.finfo(np.float32).max)
        if not largest <= limit:  # so that what is no number is caught as well
            raise UserError(
                "a weight is too large for GGUF's half-precision numbers",
                where=f"{path.name}: {name}",
                found=f"{largest:g}",
                expected=f"at most {limit:g}",
                help="drop the gguf targets from release.targets",
            )


def _numbers(tensor: Any, stored: Stored) -> NDArray[Any]:
    weights: NDArray[np.float32] = tensor.detach().float().contiguous().numpy()
    numbers: NDArray[Any] = gguf.quants.quantize(weights, stored)
    return numbers
