"""GGUF files in llama.cpp itself: the second reader, which shares nothing with transformers. Where it is installed."""

import itertools
import json
import urllib.request
from typing import Any

import pytest
import torch

from evals.release.source import load_judged
from evals.release.targets import gguf_f16
from tests.evals.release.made_source import TEXTS, made_source
from tests.evals.release.targets.test_gguf_targets import MODELS

xllamacpp = pytest.importorskip("xllamacpp")
STEPS = 12


def sure_answer(model: Any, tokens: list[int]) -> list[int]:
    """The greedy answer up to where two tokens are so near that rounding to half precision may change their order."""
    with torch.no_grad():
        said = model.generate(
            torch.tensor([tokens]),
            max_new_tokens=STEPS,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
    best = [logits[0].topk(2).values for logits in said.logits]
    sure = itertools.takewhile(lambda two: two[0] - two[1] > 0.04, best)
    answer: list[int] = said.sequences[0, len(tokens) :].tolist()
    return answer[: sum(1 for _ in sure)]


@pytest.mark.parametrize("kind", MODELS)
def test_llama_cpp_reads_the_same_tokens_and_gives_the_same_answers(kind, tmp_path):
    source = made_source(tmp_path, **MODELS[kind])
    (path,) = gguf_f16.export(source, tmp_path / "gguf", "toy")
    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.n_ctx, settings.n_parallel, settings.warmup = 512, 1, False
    server = xllamacpp.Server(settings)

    def ask(place: str, **body: Any) -> Any:
        request = urllib.request.Request(server.listening_address + place, json.dumps(body).encode("utf-8"))
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    model, tokenizer = load_judged(source)
    compared = 0
    for text in TEXTS:
        tokens = tokenizer(text)["input_ids"]
        assert ask("/tokenize", content=text, add_special=True, parse_special=True)["tokens"] == tokens, text
        if tokens:
            expected = sure_answer(model, tokens)
            wanted = {"n_predict": STEPS, "temperature": 0, "repeat_penalty": 1.0, "return_tokens": True}
            assert ask("/completion", prompt=tokens, **wanted)["tokens"][: len(expected)] == expected, text
            compared += len(expected)
    assert compared > 10
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "the inn"}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert ask("/apply-template", messages=messages)["prompt"] == rendered
