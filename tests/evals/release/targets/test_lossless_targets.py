"""Adapter and merged model: what is loaded back gives the judged model's numbers, whatever the adapter touches."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from evals.discovery import modules
from evals.release.adapter_checks import open_adapter
from evals.release.merging import merged_model
from evals.release.source import Source, load_judged
from evals.release.targets import adapter, merged
from schemas.errors import UserError
from tests.evals.release.made_source import logits_of, made_source, write_adapter, write_base

pytestmark = pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`", "ignore:Model with `tie_word")

ADAPTERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "ranks": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 16}},
    "bias": {"bias": "none", "target_modules": ["gate_proj", "up_proj"]},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "both ends": {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
    "both ends, tied": {"target_modules": ["q_proj", "embed_tokens", "lm_head"], "ensure_weight_tying": True},
    "saved head": {"modules_to_save": ["lm_head"]},
    "saved norm": {"modules_to_save": ["norm"]},
    "new tokens": {"trainable_token_indices": [260, 261]},
}
STILL_TIED = {"plain", "rslora", "dora", "ranks", "bias", "saved norm", "new tokens"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base") / "base")


def test_every_target_is_found_and_complete():
    found = modules("evals.release.targets")
    assert [target.NAME for target in found] == ["adapter", "gguf-f16", "gguf-q4_0", "gguf-q8_0", "merged"]
    assert {target.NAME: target.FOLDER for target in found if target.LOSSLESS} == {
        "adapter": "adapter",
        "merged": "merged",
    }
    assert all(callable(target.export) and callable(target.load) for target in found)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_merged_model_answers_as_the_adapter_on_its_base(kind, base, tmp_path):
    write_adapter(base, tmp_path / "trained", **ADAPTERS[kind])
    source = Source("toy", base, tmp_path / "trained", "float32")
    judged = logits_of(load_judged(source).model)
    merged.export(source, tmp_path / "merged", "toy")
    loaded = merged.load(source, tmp_path / "merged")
    assert not hasattr(loaded.model, "peft_config")
    torch.testing.assert_close(logits_of(loaded.model), judged, atol=2e-5, rtol=0)
    assert (logits_of(load_base(base)) - judged).abs().max() > 0.1  # the adapter is no empty one
    first, last = loaded.model.get_input_embeddings().weight, loaded.model.get_output_embeddings().weight
    assert (first.data_ptr() == last.data_ptr()) == (kind in STILL_TIED)
    assert loaded.model.config.tie_word_embeddings == (kind in STILL_TIED)


def load_base(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["plain", "dora", "saved head", "new tokens"])
def test_released_adapter_is_the_trained_one_byte_for_byte(kind, base, tmp_path):
    trained = write_adapter(base, tmp_path / "trained", **ADAPTERS[kind])
    source = Source("toy", base, tmp_path / "trained", "float32")
    written = adapter.export(source, tmp_path / "out", "toy")
    assert sorted(path.name for path in written) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for path in written:
        origin = trained if path.name.startswith("adapter") else base
        assert path.read_bytes() == (origin / path.name).read_bytes()
    loaded = adapter.load(source, tmp_path / "out")
    assert torch.equal(logits_of(loaded.model), logits_of(load_judged(source).model))
    assert loaded.tokenizer.chat_template == load_judged(source).tokenizer.chat_template


def test_untied_model_stays_untied(tmp_path):
    source = made_source(tmp_path, lora={"target_modules": ["lm_head"]}, tie_word_embeddings=False)
    merged.export(source, tmp_path / "merged", "toy")
    loaded = merged.load(source, tmp_path / "merged").model
    assert not loaded.config.tie_word_embeddings
    torch.testing.assert_close(logits_of(loaded), logits_of(load_judged(source).model), atol=2e-5, rtol=0)


def test_weights_are_saved_in_shards_that_hold_each_tensor_once(base, tmp_path, monkeypatch):
    monkeypatch.setattr(merged, "SHARD_BYTES", 40_000)
    write_adapter(base, tmp_path / "trained")
    source = Source("toy", base, tmp_path / "trained", "float32")
    written = merged.export(source, tmp_path / "merged", "toy")
    shards = [path for path in written if path.suffix == ".safetensors"]
    assert len(shards) > 1
    index = json.loads((tmp_path / "merged" / "model.safetensors.index.json").read_text("utf-8"))["weight_map"]
    held = [name for path in shards for name in load_file(path)]
    assert sorted(held) == sorted(index)
    assert len(held) == len(set(held))
    expected = merged_model(source).state_dict()
    got = merged.load(source, tmp_path / "merged").model.state_dict()
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_merged_folder_is_whole_and_names_no_place_of_this_machine(base, tmp_path):
    (base / "generation_config.json").write_text('{"eos_token_id": [2, 0], "max_new_tokens": 9}', "utf-8")
    write_adapter(base, tmp_path / "trained")
    source = Source("toy", base, tmp_path / "trained", "float32")
    written = {path.name for path in merged.export(source, tmp_path / "merged", "toy")}
    assert written == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    for file in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "merged" / file).read_bytes() == (base / file).read_bytes()
    assert str(base.parent) not in (tmp_path / "merged" / "config.json").read_text("utf-8")
    assert merged.load(source, tmp_path / "merged").model.generation_config.eos_token_id == [2, 0]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_are_saved_in_the_dtype_of_the_evaluation(dtype, base, tmp_path):
    write_adapter(base, tmp_path / "trained")
    merged.export(Source("toy", base, tmp_path / "trained", dtype), tmp_path / "merged", "toy")
    with safe_open(tmp_path / "merged" / "model.safetensors", framework="pt") as tensors:
        assert {str(tensors.get_tensor(name).dtype) for name in tensors.keys()} == {f"torch.{dtype}"}


def test_full_fine_tuning_releases_the_model_itself(base, tmp_path):
    other = write_base(tmp_path / "trained" / "model", seed=5)
    source = Source("toy", base, tmp_path / "trained", "float32")
    assert source.adapter is None
    merged.export(source, tmp_path / "merged", "toy")
    loaded = merged.load(source, tmp_path / "merged").model
    assert torch.equal(logits_of(loaded), logits_of(load_base(other)))
    assert torch.equal(logits_of(loaded), logits_of(load_judged(source).model))
    with pytest.raises(UserError, match="every weight was trained"):
        adapter.export(source, tmp_path / "out", "toy")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------------- refusals


def changed(folder: Path, **settings: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | settings), "utf-8")


def refused(source: Source, out: Path) -> str:
    """What both targets say; nothing is written."""
    said = set()
    for target in (adapter, merged):
        with pytest.raises(UserError) as error:
            target.export(source, out, "toy")
        said.add(str(error.value))
        assert not out.exists()
    (one,) = said
    return one


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga"])
def test_start_that_changed_the_base_is_refused(start, base, tmp_path):
    changed(write_adapter(base, tmp_path / "trained"), init_lora_weights=start)
    assert "changing the base model's weights" in refused(
        Source("toy", base, tmp_path / "trained", "float32"), tmp_path / "out"
    )


@pytest.mark.parametrize("start", [True, False, "gaussian", "orthogonal", "eva"])
def test_start_that_left_the_base_alone_is_taken(start, base, tmp_path):
    changed(write_adapter(base, tmp_path / "trained"), init_lora_weights=start)
    assert open_adapter(Source("toy", base, tmp_path / "trained", "float32")) is not None


def test_adapter_with_extra_modules_is_refused(base, tmp_path):
    folder = write_adapter(base, tmp_path / "trained")
    tensors = load_file(folder / "adapter_model.safetensors")
    extra = {name.replace("layers.2.", "layers.9."): value.clone() for name, value in tensors.items()}
    save_file(tensors | extra, folder / "adapter_model.safetensors")
    source = Source("toy", base, tmp_path / "trained", "float32")
    assert refused(source, tmp_path / "out") == "the adapter has weights for modules that the base model does not have"


@pytest.mark.parametrize("shape", [{"hidden_size": 48, "intermediate_size": 96}, {"num_hidden_layers": 4}])
def test_wrong_base_is_refused(shape, base, tmp_path):
    write_adapter(base, tmp_path / "trained")
    other = write_base(tmp_path / "other", **shape)
    source = Source("toy", other, tmp_path / "trained", "float32")
    assert refused(source, tmp_path / "out") == "the adapter does not fit the base model"


def test_adapter_of_a_deeper_model_is_refused(base, tmp_path):
    deeper = write_base(tmp_path / "deeper", num_hidden_layers=5)
    write_adapter(deeper, tmp_path / "trained")
    source = Source("toy", base, tmp_path / "trained", "float32")
    assert refused(source, tmp_path / "out") == "the adapter has weights for modules that the base model does not have"


def test_other_methods_and_broken_settings_are_refused(base, tmp_path):
    folder = write_adapter(base, tmp_path / "trained")
    source = Source("toy", base, tmp_path / "trained", "float32")
    changed(folder, peft_type="PROMPT_TUNING")
    assert refused(source, tmp_path / "out") == "only LoRA adapters are released"
    changed(folder, peft_type="LORA", layer_replication=[[0, 2], [1, 3]])
    assert "neither merged nor served" in refused(source, tmp_path / "out")
    (folder / "adapter_config.json").write_text("[" * 5, "utf-8")
    assert refused(source, tmp_path / "out") == "the adapter's settings cannot be read"


def test_weights_that_are_no_numbers_are_not_merged(base, tmp_path):
    folder = write_adapter(base, tmp_path / "trained")
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors[sorted(tensors)[0]][:] = torch.inf
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(UserError, match="cannot be merged"):
        merged.export(Source("toy", base, tmp_path / "trained", "float32"), tmp_path / "out", "toy")
    assert not (tmp_path / "out").exists()


def test_full_disk_is_said_in_words(base, tmp_path, monkeypatch):
    write_adapter(base, tmp_path / "trained")
    source = Source("toy", base, tmp_path / "trained", "float32")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device", str(args[1]))

    monkeypatch.setattr(shutil, "copyfile", full)
    for target in (adapter, merged):
        with pytest.raises(UserError, match="the disk is full; nothing was published"):
            target.export(source, tmp_path / target.NAME, "toy")
