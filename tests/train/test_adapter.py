"""Adapter settings against a model's shape, and files that plain peft reads."""

import json
import shutil

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from schemas.errors import UserError
from schemas.train_config import LoraSettings
from train.adapter import empty_model, load_weights, lora_config, publish_adapter


def settings(**values) -> LoraSettings:
    return LoraSettings(**({"r": 2, "target_modules": ["v_proj", "q_proj"]} | values))


def test_an_empty_model_has_shapes_and_no_weights(tiny_model_folder):
    model = empty_model(tiny_model_folder)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_only_the_last_layers_are_adapted(tiny_model_folder):
    model = load_weights(tiny_model_folder)
    tuned = get_peft_model(model, lora_config(settings(last_layers=2), model))
    trained = {name for name, weight in tuned.named_parameters() if weight.requires_grad}
    layers = {name.split(".layers.")[1].split(".")[0] for name in trained}
    assert layers == {"1", "2"}
    assert len(trained) == 2 * 2 * 2  # layers, modules, A and B
    everything = lora_config(settings(last_layers=None), empty_model(tiny_model_folder))
    assert everything.layers_to_transform is None


def test_more_layers_than_the_model_has_are_refused(tiny_model_folder):
    with pytest.raises(UserError, match="fewer layers") as caught:
        lora_config(settings(last_layers=4), empty_model(tiny_model_folder))
    assert caught.value.problems[0].expected == "at most 3, or null for all"


@pytest.mark.parametrize("unknown", ["c_attn", "lm_head", "norm", "embed_tokens"])
def test_modules_that_cannot_be_adapted_are_refused(tiny_model_folder, unknown):
    with pytest.raises(UserError, match="no such modules") as caught:
        lora_config(settings(target_modules=["q_proj", unknown]), empty_model(tiny_model_folder))
    problem = caught.value.problems[0]
    assert problem.found == unknown
    assert problem.expected == "some of down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"


def test_an_architecture_that_transformers_does_not_have_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "hexagon", "auto_map": {"AutoConfig": "evil.Config"}}')
    (tmp_path / "evil.py").write_text("raise SystemExit('code of the model ran')")
    with pytest.raises(UserError, match="architecture cannot be built"):
        empty_model(tmp_path)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "incomplete metadata"),
        (lambda path: path.write_bytes(b""), "header"),
        (lambda path: _without(path, "model.layers.1.mlp.up_proj.weight"), "1 tensors, the first is model.layers.1."),
    ],
    ids=["truncated", "empty", "a tensor is missing"],
)
def test_weights_that_are_not_whole_are_refused(tiny_model_folder, tmp_path, damage, found):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    load_weights(folder)
    damage(folder / "model.safetensors")
    with pytest.raises(UserError, match="weights cannot be loaded") as caught:
        load_weights(folder)
    assert found in caught.value.problems[0].found


def _without(path, name):
    tensors = load_file(path)
    del tensors[name]
    save_file(tensors, path, metadata={"format": "pt"})


def tuned_model(folder) -> PeftModel:
    model = load_weights(folder)
    torch.manual_seed(3)
    tuned = get_peft_model(model, lora_config(settings(), model))
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    assert isinstance(tuned, PeftModel)
    return tuned


def save_adapter(model, folder, base_model) -> int:
    """As the trainer's checkpoint is published."""
    raw = folder.parent / "raw"
    model.save_pretrained(str(raw))
    try:
        return publish_adapter(raw, folder, base_model)
    finally:
        shutil.rmtree(raw)


def test_plain_peft_reads_the_adapter(tiny_model_folder, tmp_path):
    tuned = tuned_model(tiny_model_folder)
    size = save_adapter(tuned, tmp_path / "adapter", "some-base")
    assert size == sum(w.numel() for w in tuned.parameters() if w.requires_grad)
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]
    loaded = PeftModel.from_pretrained(load_weights(tiny_model_folder), str(tmp_path / "adapter"))
    ids = torch.arange(10, 20)[None]
    with torch.no_grad():
        assert torch.equal(loaded.eval()(input_ids=ids).logits, tuned.eval()(input_ids=ids).logits)


def test_the_adapter_names_its_base_and_no_place_on_this_machine(tiny_model_folder, tmp_path):
    save_adapter(tuned_model(tiny_model_folder), tmp_path / "adapter", "some-base")
    text = (tmp_path / "adapter" / "adapter_config.json").read_text("utf-8")
    config = json.loads(text)
    assert config["base_model_name_or_path"] == "some-base"
    assert config["target_modules"] == ["q_proj", "v_proj"]
    assert str(tiny_model_folder) not in text


def test_equal_adapters_are_equal_bytes(tiny_model_folder, tmp_path):
    for name in ("one", "two"):
        save_adapter(tuned_model(tiny_model_folder), tmp_path / name, "some-base")
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_weights_that_are_no_numbers_are_not_saved(tiny_model_folder, tmp_path):
    tuned = tuned_model(tiny_model_folder)
    with torch.no_grad():
        next(w for name, w in tuned.named_parameters() if "lora_A" in name)[0, 0] = float("inf")
    with pytest.raises(UserError, match="not finite numbers"):
        save_adapter(tuned, tmp_path / "adapter", "some-base")
    assert list(tmp_path.iterdir()) == []
