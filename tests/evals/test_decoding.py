"""Answers with a shared beginning and drafts are those that a model gives token by token, whatever the drafts are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from evals.decoding import Ask, GreedyDecoder

VOCABULARY = 60
END = 7
PREFIX = tuple(range(10, 34))


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()


def ends(tokens):
    return tokens[-1] % 11 == END


def one_by_one(model, ask):
    """Plain greedy decoding without cache, batch or draft."""
    tokens: list[int] = []
    while len(tokens) < ask.most and not (tokens and ends(tokens)):
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*ask.prompt, *tokens]]), use_cache=False).logits
        tokens.append(int(logits[0, -1].argmax()))
    return tuple(tokens)


def decoded(decoder, asks):
    found: dict[int, tuple[int, ...] | None] = {}
    for batch in decoder.decode(dict(enumerate(asks)), ends):
        found |= batch
    return [found[number] for number in range(len(asks))]


TOKENS = st.lists(st.integers(0, VOCABULARY - 1), max_size=9).map(tuple)
ASKS = st.lists(st.tuples(TOKENS, TOKENS, st.integers(1, 8), st.integers(0, 9)), min_size=1, max_size=7)


@settings(max_examples=60)
@given(ASKS, st.booleans(), st.integers(1, 4))
def test_drafts_and_shared_beginnings_change_nothing(model, given_asks, shared, batch_size):
    decoder = GreedyDecoder(model, batch_size)
    asks, expected = [], []
    for rest, noise, most, right in given_asks:
        prompt = (*PREFIX, *rest) if shared else (*rest, 5)
        expected.append(one_by_one(model, Ask(prompt, (), most)))
        asks.append(Ask(prompt, (*expected[-1][:right], *noise), most))
    assert decoded(decoder, asks) == expected
    assert decoder.trusted
    assert not decoder.errors


def test_right_drafts_take_one_pass_for_each_batch(model):
    asks = [Ask((*PREFIX, k), (), 6) for k in range(6)]
    asks = [Ask(ask.prompt, one_by_one(model, ask)[:5], ask.most) for ask in asks]
    decoder = GreedyDecoder(model, 3)
    decoded(decoder, asks[:1])  # the check of the first batch is a pass of its own
    passes = []
    handle = model.register_forward_hook(lambda *_: passes.append(1))
    found = decoded(decoder, asks)
    handle.remove()
    assert [answer[: len(ask.draft)] for answer, ask in zip(found, asks, strict=True)] == [ask.draft for ask in asks]
    assert len(passes) == 1 + 2  # what they begin with, and two batches


def test_a_prompt_that_the_model_fails_on_has_no_answer(model):
    asks = [Ask((*PREFIX, 3), (), 4), Ask((*PREFIX, 10**6), (), 4), Ask((*PREFIX, 4), (), 4)]
    decoder = GreedyDecoder(model, 2)
    decoded(decoder, asks[:1])
    found = decoded(decoder, asks)
    assert found[1] is None
    assert [found[0], found[2]] == [one_by_one(model, asks[0]), one_by_one(model, asks[2])]
    assert len(decoder.errors) == 1


def test_a_model_whose_cache_says_something_else_is_not_decoded(model, monkeypatch):
    decoder = GreedyDecoder(model, 2)
    forward = decoder._forward
    monkeypatch.setattr(decoder, "_forward", lambda *args: (forward(*args) + 1) % VOCABULARY)
    assert list(decoder.decode({0: Ask((*PREFIX, 3), (), 4)}, ends)) == []
    assert not decoder.trusted


def test_a_model_with_a_repetition_penalty_of_its_own_is_not_decoded(tiny_model_folder):
    other = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    other.generation_config.repetition_penalty = 1.2
    assert not GreedyDecoder(other, 2).trusted


def test_outputs_that_are_no_numbers_are_no_answers(tiny_model_folder):
    broken = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    decoder = GreedyDecoder(broken, 2)
    decoded(decoder, [Ask((*PREFIX, 3), (), 4)])
    with torch.no_grad():
        broken.get_input_embeddings().weight.fill_(float("nan"))
    assert decoded(decoder, [Ask((1, 2, 3), (), 4)]) == [None]
