"""Modelfile and vllm.sh: what they say to Ollama and vLLM, whatever the names are."""

import json
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evals.release.serving_files import serving_files
from evals.release.source import Source
from evals.release.targets import adapter, gguf_f16, gguf_q8_0, merged
from tests.evals.release.made_source import write_tokenizer

SMOLLM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def made_release(
    root: Path, targets: list[ModuleType], *, name: str = "toy", template: str | None = None, **settings: Any
) -> Source:
    """A base and what the exports would have written, without weights."""
    base = root / "base"
    write_tokenizer(base, template=template or SMOLLM)
    (base / "config.json").write_text(json.dumps({"max_position_embeddings": 512}), "utf-8")
    for target in targets:
        (root / "release" / target.FOLDER).mkdir(parents=True, exist_ok=True)
    lora = {"peft_type": "LORA", "r": 12, "target_modules": ["q_proj"], "bias": "none", **settings}
    if adapter in targets:
        (root / "release" / "adapter" / "adapter_config.json").write_text(json.dumps(lora), "utf-8")
    for target, size in ((gguf_f16, 90), (gguf_q8_0, 50)):
        if target in targets:
            (root / "release" / "gguf" / f"{name}-{target.NAME[5:]}.gguf").write_bytes(b"x" * size)
    return Source(name, base, root / "trained", "float32")


def written(root: Path, source: Source, targets: list[ModuleType]) -> dict[str, str]:
    paths = serving_files(source, root / "release", targets)
    return {path.name: path.read_text("utf-8") for path in paths}


def test_modelfile_says_how_the_model_was_evaluated(tmp_path):
    targets: list[ModuleType] = [gguf_q8_0, gguf_f16]
    files = written(tmp_path, made_release(tmp_path, targets), targets)
    assert files == {
        "Modelfile": """\
# toy for Ollama: ollama create NAME -f Modelfile
# Smaller, with larger differences: ./gguf/toy-q8_0.gguf
FROM "./gguf/toy-f16.gguf"
TEMPLATE \"""{{ range .Messages }}{{ if eq .Role "system" }}<|im_start|>system
{{ .Content }}<|im_end|>
{{ else if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}<|im_end|>
{{ end }}{{ end }}<|im_start|>assistant
\"""
SYSTEM "Be kind."
PARAMETER stop "<|im_end|>"
# As it was evaluated: the most likely token, and no penalty for saying a word twice.
PARAMETER temperature 0
PARAMETER repeat_penalty 1
PARAMETER num_ctx 512
"""
    }


def test_ends_of_an_answer_are_stops_and_long_contexts_are_not_taken_unasked(tmp_path):
    source = made_release(tmp_path, [gguf_f16])
    (source.base / "generation_config.json").write_text('{"eos_token_id": [2, 0]}', "utf-8")
    (source.base / "config.json").write_text('{"max_position_embeddings": 131072}', "utf-8")
    text = written(tmp_path, source, [gguf_f16])["Modelfile"]
    assert 'PARAMETER stop "<|im_end|>"\nPARAMETER stop "<|endoftext|>"\n' in text
    assert "# The model reads up to 131072 tokens; more context takes more memory.\nPARAMETER num_ctx 8192\n" in text


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m['content'] | upper }}{% endfor %}", "not turn after turn"),
        (SMOLLM.replace("Be kind.", "Say {{ '{{' }} x"), "does not compile"),
        (SMOLLM.replace("Be kind.", "Say }} x"), "a meaning of their own"),
        (SMOLLM.replace("Be kind.", 'Say "hi"'), "a meaning of their own"),
        (SMOLLM + "{# strftime_now #}", "the day's date"),
    ],
    ids=["upper case", "broken", "braces", "quotes", "date"],
)
def test_template_that_cannot_be_said_safely_is_left_out_with_the_reason(template, reason, tmp_path):
    source = made_release(tmp_path, [gguf_f16], template=template)
    text = written(tmp_path, source, [gguf_f16])["Modelfile"]
    assert "\nTEMPLATE" not in text
    assert "\nSYSTEM" not in text
    (comment,) = [line for line in text.splitlines() if line.startswith("# No TEMPLATE: ")]
    assert reason in comment
    assert ('PARAMETER stop "<|im_end|>"' in text) == (reason != "does not compile")


def test_base_without_a_chat_template_has_stops_all_the_same(tmp_path):
    source = made_release(tmp_path, [gguf_f16])
    write_tokenizer(source.base, template=None)
    text = written(tmp_path, source, [gguf_f16])["Modelfile"]
    assert "# No TEMPLATE: the base model has no chat template." in text
    assert 'PARAMETER stop "<|im_end|>"' in text


def run_vllm(root: Path, *words: str, **environment: str) -> tuple[int, list[str], str]:
    """Run the script with a vLLM that tells its arguments."""
    fake = root / "bin" / "vllm"
    fake.parent.mkdir(exist_ok=True)
    fake.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done\n', "utf-8")
    fake.chmod(0o755)
    path = os.environ["PATH"]
    done = subprocess.run(
        ["sh", str(root / "release" / "vllm.sh"), *words],
        env={"PATH": f"{fake.parent}:{path}", **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.split("\0")[:-1], done.stderr


SHARED = ["--max-model-len", "512", "--dtype"]
GREEDY = ["--override-generation-config", '{"temperature": 0}']


def test_vllm_script_serves_the_adapter_or_the_merged_model(tmp_path):
    source = made_release(tmp_path, [adapter, merged])
    assert list(written(tmp_path, source, [adapter, merged])) == ["vllm.sh"]
    lora = ["--enable-lora", "--lora-modules", "toy=./adapter", "--max-lora-rank", "16"]
    code, said, _ = run_vllm(tmp_path, BASE="/some/base model")
    assert (code, said) == (0, ["serve", "/some/base model", *lora, *SHARED, "auto", *GREEDY])
    code, said, _ = run_vllm(tmp_path, "merged")
    assert (code, said) == (0, ["serve", "./merged", "--served-model-name", "toy", *SHARED, "float32", *GREEDY])
    code, said, error = run_vllm(tmp_path, "adapter")
    assert code != 0
    assert "give the base model: BASE=FOLDER sh vllm.sh" in error
    assert run_vllm(tmp_path, "other")[::2] == (2, "expected: adapter or merged\n")


def test_base_from_a_hub_is_named_with_its_revision(tmp_path):
    source = made_release(tmp_path, [adapter])
    cached = tmp_path / "models--org--some--name" / "snapshots" / "abc123"
    cached.parent.mkdir(parents=True)
    source.base.rename(cached)
    written(tmp_path, Source("toy", cached, source.trained, "bfloat16"), [adapter])
    code, said, _ = run_vllm(tmp_path)
    assert code == 0
    assert said[:4] == ["serve", "org/some--name", "--revision", "abc123"]
    assert said[said.index("--dtype") + 1] == "bfloat16"


@pytest.mark.parametrize("name", ["a b", "$(touch pwned)", "it's", "`id`", "a;b", 'q"q', "-rf", "x\n# y"])
def test_hostile_names_stay_one_word(name, tmp_path):
    source = made_release(tmp_path, [adapter, merged, gguf_f16], name="toy")
    (tmp_path / "release" / "gguf" / "toy-f16.gguf").rename(tmp_path / "release" / "gguf" / f"{name}-f16.gguf")
    hostile = Source(name, source.base, source.trained, "float32")
    text = written(tmp_path, hostile, [adapter, merged, gguf_f16])["Modelfile"]
    assert text.splitlines()[0].startswith("# ")
    assert text.splitlines()[1].startswith("FROM ")
    _, said, _ = run_vllm(tmp_path, BASE="b")
    assert f"{name}=./adapter" in said
    _, said, _ = run_vllm(tmp_path, "merged")
    assert said[said.index("--served-model-name") + 1] == name
    assert not (tmp_path / "release" / "pwned").exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern"),
        ({"target_modules": ["q_proj", "model.embed_tokens"]}, "an adapter on embed_tokens"),
        ({"r": 1024}, "rank 1024"),
        ({"bias": "all"}, "bias"),
    ],
)
def test_adapter_that_vllm_would_not_serve_as_trained_is_not_offered(settings, reason, tmp_path):
    source = made_release(tmp_path, [adapter, merged], **settings)
    text = written(tmp_path, source, [adapter, merged])["vllm.sh"]
    assert f"# vLLM does not serve this adapter: {reason}." in text.splitlines()
    assert run_vllm(tmp_path)[1][:2] == ["serve", "./merged"]
    assert run_vllm(tmp_path, "adapter")[0] == 2


def test_nothing_is_written_for_what_nothing_serves(tmp_path):
    source = made_release(tmp_path, [adapter], use_dora=True)
    assert written(tmp_path, source, [adapter]) == {}
