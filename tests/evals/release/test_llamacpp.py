"""llama.cpp as a second reader: what it must agree on, and that its absence is told."""

import functools
import json
from pathlib import Path

import pytest

from curate.model_files import BUNDLED, bundled_file
from evals.release import llamacpp
from evals.release.conversations import conversations
from evals.release.llamacpp import _template, _tokens, context_tokens, gguf_file, llamacpp_checks
from evals.release.prompts import read_prompts, read_suites
from evals.release.serving import missing_modules, serving
from evals.release.structure import NASTY, PROBES
from schemas.errors import UserError
from schemas.verdict import Outcome
from tests.evals.release.made_exports import target
from train.base_model import ensure_base_model

FAKE = Path(__file__).with_name("fake_server.py")
GGUF = target("gguf-q8_0", "gguf", lossless=False)
TEXTS = ["good x x", "  42"]


@pytest.fixture
def agreeing(judged, tmp_path, monkeypatch):
    """A GGUF file that is none, what a faithful reader would say of it, and what is asked."""
    from transformers import AutoTokenizer

    source, results = judged
    tokenizer = AutoTokenizer.from_pretrained(source.base)
    suites = read_suites(results)
    prompts = [prompt for suite in suites for prompt in read_prompts(suite, results / "tasks", tokenizer)]
    asked = conversations(suites, prompts, {}, tokenizer, 8)
    (tmp_path / "toy-q8_0.gguf").write_bytes(b"GGUF")
    (tmp_path / "toy-f16.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(llamacpp, "serving", functools.partial(serving, program=FAKE))
    monkeypatch.setattr(llamacpp, "missing_modules", lambda kind: [])
    texts = [text for text in [*TEXTS, *NASTY] if text]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    messages = [list(one) for one in (*PROBES, *(each.messages for each in asked))]
    made = [tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in messages]
    said = {
        "tokens": dict(zip(texts, ids, strict=True)),
        "prompts": {json.dumps(one): text for one, text in zip(messages, made, strict=True)},
        "answers": {one.messages[-1]["content"]: one.expected for one in asked},
    }

    def checks(**changed):
        (tmp_path / "fake.json").write_text(json.dumps(said | changed), "utf-8")
        found = llamacpp_checks(GGUF, tmp_path, TEXTS, asked, tokenizer)
        return {check.name: check for check in found}

    return said, asked, tokenizer, checks


def test_a_faithful_reader_passes(agreeing):
    _, _, _, checks = agreeing
    assert {name: check.outcome for name, check in checks().items()} == {
        "llamacpp:tokenizer": Outcome.PASS,
        "llamacpp:chat-template": Outcome.PASS,
        "llamacpp:answers": Outcome.PASS,
    }


def test_other_tokens_fail_and_the_text_is_named(agreeing):
    said, _, _, checks = agreeing
    found = checks(tokens=said["tokens"] | {"  42": [1, 2]})["llamacpp:tokenizer"]
    assert found.outcome is Outcome.FAIL
    assert found.measured["unlike"] == 1
    assert "'  42'" in found.message


def test_another_template_fails(agreeing):
    said, _, _, checks = agreeing
    first = next(iter(said["prompts"]))
    found = checks(prompts=said["prompts"] | {first: "<b>"})["llamacpp:chat-template"]
    assert found.outcome is Outcome.FAIL
    assert "'<b>'" in found.message


def test_other_answers_fail(agreeing):
    _, _, _, checks = agreeing
    found = checks(answers={})
    assert found["llamacpp:answers"].outcome is Outcome.FAIL
    assert found["llamacpp:tokenizer"].outcome is Outcome.PASS


def test_a_file_that_it_cannot_read_fails_with_its_own_words(agreeing):
    _, _, _, checks = agreeing
    (found,) = checks(die=1).values()
    assert (found.name, found.outcome) == ("llamacpp:reader", Outcome.FAIL)
    assert "toy-q8_0.gguf" in found.message
    assert "is red" in found.message


def test_its_absence_is_told_and_is_no_failure(agreeing, monkeypatch):
    _, _, _, checks = agreeing
    monkeypatch.setattr(llamacpp, "missing_modules", lambda kind: ["xllamacpp"])
    (found,) = checks().values()
    assert found.outcome is Outcome.NOT_APPLICABLE
    assert "assay[llamacpp]" in found.message


def test_only_gguf_files_are_read(agreeing, tmp_path):
    _, asked, tokenizer, _ = agreeing
    assert llamacpp_checks(target(), tmp_path, TEXTS, asked, tokenizer) == ()
    assert gguf_file(GGUF, tmp_path) == tmp_path / "toy-q8_0.gguf"


def test_the_context_holds_every_item_with_its_answer(agreeing):
    _, asked, tokenizer, _ = agreeing
    needed = [len(tokenizer.encode(one.prompt.context)) + one.most for one in asked]
    assert max(needed) < context_tokens(asked, tokenizer) < max(needed) + 100


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_modules("llamacpp")), reason="xllamacpp is not installed")
def test_the_real_reader_splits_and_renders_as_the_base_model_does():
    """The bundled GGUF and the folder that was made of it, whose digits the conversion had to repair."""
    from transformers import AutoTokenizer

    name = "smollm2-135m-instruct"
    file, tokenizer = bundled_file(BUNDLED[name]), AutoTokenizer.from_pretrained(ensure_base_model(name))
    assert file is not None
    with serving("llamacpp", file.name, file.parent, 256) as server:
        checks = [_tokens(server, TEXTS, tokenizer), *_template(server, [], tokenizer)]
    assert [(check.name, check.outcome) for check in checks] == [
        ("llamacpp:tokenizer", Outcome.PASS),
        ("llamacpp:chat-template", Outcome.PASS),
    ]


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_modules("llamacpp")), reason="xllamacpp is not installed")
def test_a_broken_file_ends_its_process_and_not_ours(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(UserError, match="ended before it was ready"), serving("llamacpp", "broken.gguf", tmp_path, 64):
        pass
