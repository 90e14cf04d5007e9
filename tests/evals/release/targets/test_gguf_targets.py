"""GGUF files: what transformers reads back is the judged model, but for rounding that is bounded block by block."""

from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader

from evals.release.merging import merged_model
from evals.release.source import Loaded, Source, load_judged
from evals.release.targets import gguf_f16, gguf_q4_0, gguf_q8_0
from schemas.errors import UserError
from tests.evals.release.made_source import TEXTS, logits_of, made_source, write_adapter, write_base

pytestmark = pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`", "ignore:Model with `tie_word")

LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 50000.0, "factor": 4.0}
MODELS: dict[str, dict[str, Any]] = {
    "smollm": {"cut": "smollm"},
    "gpt-2": {"cut": "gpt-2"},
    "llama-bpe": {"cut": "llama-bpe", "rope_parameters": LLAMA_3_ROPE},
    "sentencepiece": {"cut": "sentencepiece"},
    "linear rope": {"rope_parameters": LINEAR_ROPE},
    "mistral": {"mistral": True, "sliding_window": None, "cut": "sentencepiece"},
    "wide heads, untied": {"head_dim": 16, "tie_word_embeddings": False},
    "rows without tokens": {"vocab_size": 288},
}


def same_tokenizer(one: Any, other: Any) -> None:
    for text in TEXTS:
        assert one(text)["input_ids"] == other(text)["input_ids"], text
        plain = {"add_special_tokens": False}
        assert one(text, **plain)["input_ids"] == other(text, **plain)["input_ids"], text
    assert one.special_tokens_map == other.special_tokens_map
    assert one.chat_template == other.chat_template


@pytest.mark.parametrize("kind", MODELS)
def test_f16_file_is_the_judged_model_in_half_precision(kind, tmp_path):
    source = made_source(tmp_path, **MODELS[kind])
    (path,) = gguf_f16.export(source, tmp_path / "gguf", "toy")
    assert path.name == "toy-f16.gguf"
    loaded = gguf_f16.load(source, tmp_path / "gguf")
    expected = merged_model(source)
    got = loaded.model.state_dict()
    assert got.keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        stored = tensor if tensor.dim() == 1 else tensor.half().float()
        assert torch.equal(got[name], stored), name
    frequencies = [model.model.rotary_emb.inv_freq for model in (loaded.model, expected)]
    torch.testing.assert_close(*frequencies, atol=0, rtol=1e-6)
    assert loaded.model.config.tie_word_embeddings == expected.config.tie_word_embeddings
    assert loaded.model.config.max_position_embeddings == expected.config.max_position_embeddings
    assert loaded.model.config.rope_parameters == expected.config.rope_parameters
    judged = load_judged(source)
    same_tokenizer(loaded.tokenizer, judged.tokenizer)
    torch.testing.assert_close(logits_of(loaded.model), logits_of(judged.model), atol=0.05, rtol=0)


def largest_of_blocks(tensor: torch.Tensor) -> torch.Tensor:
    """The largest absolute value of each block of 32, at each of its numbers."""
    return tensor.reshape(-1, 32).abs().amax(1, keepdim=True).expand(-1, 32).reshape(tensor.shape)


@pytest.mark.parametrize(
    ("target", "of_weights", "of_ends"), [(gguf_q8_0, 127.0, 127.0), (gguf_q4_0, 8.0, 127.0)], ids=["q8_0", "q4_0"]
)
def test_quantised_file_is_off_by_at_most_its_step(target, of_weights, of_ends, tmp_path):
    source = made_source(tmp_path, tie_word_embeddings=False)
    target.export(source, tmp_path / "gguf", "toy")
    got = target.load(source, tmp_path / "gguf").model.state_dict()
    errors = []
    for name, tensor in merged_model(source).state_dict().items():
        if tensor.dim() == 1:
            assert torch.equal(got[name], tensor)
            continue
        ends = "embed_tokens" in name or "lm_head" in name
        # Half a step of rounding, a whole one where 4 bits end at +7, and the scale itself is half-precision.
        step = largest_of_blocks(tensor) / (of_ends if ends else of_weights)
        bound = step * (1.0 if target is gguf_q4_0 and not ends else 0.5) + largest_of_blocks(tensor) * 2**-10
        assert ((got[name] - tensor).abs() <= bound).all(), name
        errors.append(float((got[name] - tensor).abs().max()))
    assert min(errors) > 0  # it was quantised at all


def types_of(path: Path) -> dict[str, str]:
    return {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(path).tensors}


def test_embeddings_are_kept_finer_than_4_bits(tmp_path):
    source = made_source(tmp_path, tie_word_embeddings=False)
    types = types_of(gguf_q4_0.export(source, tmp_path / "gguf", "toy")[0])
    assert {name for name, stored in types.items() if stored == "Q8_0"} == {"token_embd.weight", "output.weight"}
    assert {stored for name, stored in types.items() if "norm" in name} == {"F32"}
    assert {stored for name, stored in types.items() if name.startswith("blk") and "norm" not in name} == {"Q4_0"}


def test_rows_that_do_not_divide_stay_f16_and_it_is_said(tmp_path, capfd):
    source = made_source(tmp_path, hidden_size=48, intermediate_size=64)
    types = types_of(gguf_q4_0.export(source, tmp_path / "gguf", "toy")[0])
    assert {name.split(".")[-2] for name, stored in types.items() if stored == "Q4_0"} == {"ffn_down"}
    wider = [name for name, stored in types.items() if stored == "F16"]
    assert f"toy-q4_0.gguf: {len(wider)} tensors stay f16, the first is token_embd.weight" in capfd.readouterr().err
    loaded = gguf_q4_0.load(source, tmp_path / "gguf")
    assert loaded.model.config.hidden_size == 48


def test_head_that_an_adapter_untied_is_in_the_file(tmp_path):
    source = made_source(tmp_path, lora={"target_modules": ["lm_head"]})
    (path,) = gguf_f16.export(source, tmp_path / "gguf", "toy")
    assert types_of(path)["output.weight"] == "F16"
    loaded = gguf_f16.load(source, tmp_path / "gguf").model
    torch.testing.assert_close(logits_of(loaded), logits_of(load_judged(source).model), atol=0.05, rtol=0)


def test_several_ends_of_an_answer_are_named(tmp_path):
    source = made_source(tmp_path)
    (source.base / "generation_config.json").write_text('{"eos_token_id": [0, 2]}', "utf-8")
    fields = GGUFReader(gguf_f16.export(source, tmp_path / "gguf", "toy")[0]).fields
    ids = {key: fields[f"tokenizer.ggml.{key}_token_id"].contents() for key in ("bos", "eos", "eot", "padding")}
    assert ids == {"bos": 1, "eos": 2, "eot": 0, "padding": 0}
    assert fields["tokenizer.ggml.add_bos_token"].contents() is False
    assert gguf_f16.load(source, tmp_path / "gguf").model.generation_config.eos_token_id == [2, 0]


def test_same_model_gives_the_same_bytes(tmp_path):
    source = made_source(tmp_path)
    first, second = (gguf_q4_0.export(source, tmp_path / place, "toy")[0] for place in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_files_of_several_kinds_lie_side_by_side(tmp_path):
    source = made_source(tmp_path)
    for target in (gguf_f16, gguf_q8_0, gguf_q4_0):
        target.export(source, tmp_path / "gguf", "x-f16")
    loaded: list[Loaded] = [target.load(source, tmp_path / "gguf") for target in (gguf_f16, gguf_q8_0, gguf_q4_0)]
    away = [float((logits_of(one.model) - logits_of(load_judged(source).model)).abs().mean()) for one in loaded]
    assert away == sorted(away)
    (tmp_path / "gguf" / "x-f16-f16.gguf").unlink()
    with pytest.raises(UserError, match="not one f16 file"):
        gguf_f16.load(source, tmp_path / "gguf")


def test_broken_file_is_refused_when_read_back(tmp_path):
    source = made_source(tmp_path)
    (path,) = gguf_f16.export(source, tmp_path / "gguf", "toy")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match="cannot be read back"):
        gguf_f16.load(source, tmp_path / "gguf")


def test_full_fine_tuning_is_written_too(tmp_path):
    base = write_base(tmp_path / "base")
    write_base(tmp_path / "trained" / "model", seed=3)
    source = Source("toy", base, tmp_path / "trained", "float32")
    gguf_f16.export(source, tmp_path / "gguf", "toy")
    got = gguf_f16.load(source, tmp_path / "gguf").model
    torch.testing.assert_close(logits_of(got), logits_of(load_judged(source).model), atol=0.05, rtol=0)


def test_every_adapter_reaches_the_file(tmp_path):
    base = write_base(tmp_path / "base")
    write_adapter(base, tmp_path / "trained", use_dora=True, modules_to_save=["norm"], target_modules="all-linear")
    source = Source("toy", base, tmp_path / "trained", "float32")
    gguf_f16.export(source, tmp_path / "gguf", "toy")
    got = gguf_f16.load(source, tmp_path / "gguf").model
    torch.testing.assert_close(logits_of(got), logits_of(load_judged(source).model), atol=0.05, rtol=0)
