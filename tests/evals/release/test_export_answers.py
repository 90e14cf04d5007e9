"""Which answers count as the recorded ones: ties of the judged model do, other words, scores and failures do not."""

import json
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch

from evals.consistency import ITEM_SCHEMA, MORE_COLUMNS
from evals.harness import TaskRun
from evals.item_scores import ItemScore
from evals.release.answers import compared, task_check, task_equivalence, with_ties
from evals.release.prompts import Choice, Prompt, PromptReader, Suite, interleaved
from evals.release.reading import encode, places, sequences
from schemas.verdict import Outcome
from tests.tiny_model import CHATML, write_tiny_tokenizer

SHA = "0" * 64
TOLERANCE = 1e-3


class Letters:
    """A tokenizer whose tokens are letters; 0 ends an answer."""

    bos_token: str | None = None
    eos_token_id = 0

    def encode(self, text, add_special_tokens=True):
        return [ord(letter) - 96 for letter in text]


class Begun(Letters):
    """Puts a start token before every text, as many tokenizers do."""

    bos_token = "^"

    def encode(self, text, add_special_tokens=True):
        return [99] * add_special_tokens + super().encode(text)


def suite(kind, recorded, **more):
    columns = ITEM_SCHEMA | {name: kind for name, (kind, _) in MORE_COLUMNS.items()}
    lines = [("t", "tuned", f"i{k}", k, k, "a", *one, SHA, 0, 0, "{}") for k, one in enumerate(recorded)]
    table = pl.DataFrame(lines, schema=columns, orient="row")
    settings: dict[str, Any] = {"generation": {}, "filters": False, **more}
    return Suite("t", kind, True, "acc", False, recorded=table, **settings)


def run(kind, answers, sha=SHA):
    items = [ItemScore(k, "a", said, score, detail, sha) for k, (said, score, detail) in enumerate(answers)]
    return TaskRun("acc", True, kind, items)


def choices(first, second):
    return json.dumps({"choices": ["a", "b"], "log_likelihoods": [first, second]})


def chosen(first, second):
    said = "a" if first >= second else "b"
    return said, float(said == "a"), choices(first, second)


def prompts(recorded):
    found = []
    for k, (said, _, detail) in enumerate(recorded):
        known = json.loads(detail)
        pairs = zip(known.get("choices", []), known.get("log_likelihoods", []), strict=True)
        found.append(Prompt("t", f"i{k}", k, k, "q", said, tuple(Choice(*one) for one in pairs)))
    return found


def beside(kind, recorded, answered, **more):
    made = suite(kind, recorded, **more)
    return compared(made, run(kind, answered), prompts(recorded), Letters(), TOLERANCE, 0.05, 0)


def test_the_same_choices_are_the_same_whatever_their_likelihoods():
    recorded = [chosen(-1.0, -2.0)] * 12
    found = beside("multiple_choice", recorded, [chosen(-1.3, -1.4)] * 12)
    assert found.same == [True] * 12
    assert found.exact
    assert found.other_prompts == 0


def test_another_choice_is_a_tie_only_where_the_judged_model_was_undecided():
    recorded = [chosen(-1.0, -1.0015), chosen(-1.0, -1.5), chosen(-1.0, -2.0)]
    answered = [chosen(-1.1, -1.0), chosen(-1.1, -1.0), chosen(-1.0, -2.0)]
    found = beside("multiple_choice", recorded, answered)
    assert found.same == [False, False, True]
    assert [one.tie for one in found.unlike] == [True, False]
    assert (found.ties, found.exact) == (1, False)


def test_ties_alone_keep_an_export_exact():
    recorded = [chosen(-1.0, -1.0015)] + [chosen(-1.0, -2.0)] * 11
    found = beside("multiple_choice", recorded, [chosen(-1.1, -1.0)] + [chosen(-1.0, -2.0)] * 11)
    told = task_equivalence(found, 0.02, 0.05, settled=True)
    check = task_check(found, told, strict=True, exact=False, margin=0.02)
    assert check.outcome is Outcome.PASS
    assert check.message == "11 of 12 items of t have the recorded answer, 1 more are ties"
    assert (told.same, told.ties, told.items_needed) == (11, 1, None)


def test_one_answer_that_is_no_tie_fails_a_form_that_loses_nothing():
    recorded = [chosen(-1.0, -2.0)] * 12
    found = beside("multiple_choice", recorded, [chosen(-2.0, -1.0)] + [chosen(-1.0, -2.0)] * 11)
    check = task_check(found, task_equivalence(found, 0.02, 0.05, settled=True), strict=True, exact=False, margin=0.02)
    assert check.outcome is Outcome.FAIL
    assert "'a' that became 'b'" in check.message


def test_the_same_text_with_another_score_is_not_the_same():
    recorded = [("yes", 1.0, "{}")]
    assert beside("generate_until", recorded, [("yes", 0.0, "{}")]).same == [False]


@pytest.mark.parametrize("answered", [("a", None, "{}"), ("", None, "{}")])
def test_a_failure_is_no_answer(answered):
    recorded = [("a", 1.0, choices(-1.0, -2.0))]
    found = beside("multiple_choice", recorded, [answered])
    assert (found.same, found.ties) == ([False], 0)
    assert found.comparison.candidate_failed == 1


def test_an_item_that_was_not_answered_at_all_is_a_failure():
    recorded = [chosen(-1.0, -2.0)] * 2
    found = beside("multiple_choice", recorded, [chosen(-1.0, -2.0)])
    assert found.same == [True, False]


def likelihood(value):
    return "", 1.0, json.dumps({"log_likelihood": value})


@pytest.mark.parametrize(("value", "same"), [(-3.0029, True), (-3.0031, False), (None, False)])
def test_log_likelihoods_may_differ_by_the_tolerance_of_each_token(value, same):
    recorded = [likelihood(-3.0)]
    made = suite("loglikelihood", recorded)
    one = Prompt("t", "i0", 0, 0, "q", "abc")
    found = compared(made, run("loglikelihood", [likelihood(value)]), [one], Letters(), TOLERANCE, 0.05, 0)
    assert found.same == [same]


def test_another_prompt_is_counted():
    recorded = [chosen(-1.0, -2.0)] * 3
    made = suite("multiple_choice", recorded)
    found = compared(made, run("multiple_choice", recorded, "1" * 64), prompts(recorded), Letters(), 1e-3, 0.05, 0)
    assert found.other_prompts == 3


def test_drawn_answers_need_not_agree_and_are_judged_by_the_margin():
    recorded = [("yes", 1.0, "{}")] * 40
    answered = [("no", 1.0, "{}")] * 40
    found = beside("generate_until", recorded, answered, generation={"do_sample": True})
    assert found.exact
    told = task_equivalence(found, 0.2, 0.05, settled=False)
    assert task_check(found, told, strict=True, exact=True, margin=0.2).outcome is Outcome.PASS
    assert task_check(found, told, strict=True, exact=True, margin=0.01).outcome is Outcome.INCONCLUSIVE


# -------------------------------------------------------------------------------------------------- generated answers


class Model:
    """Holds `b` for the likeliest after everything, and `c` for less likely by so many nats."""

    device = "cpu"

    def __init__(self, gap):
        self.gap = gap
        self.config = SimpleNamespace(
            get_text_config=lambda: SimpleNamespace(vocab_size=30, max_position_embeddings=64)
        )

    def __call__(self, input_ids, past_key_values, use_cache):
        logits = torch.full((1, input_ids.shape[1], 30), -20.0)
        logits[..., 2], logits[..., 3] = 0.0, -self.gap
        return SimpleNamespace(logits=logits)


@pytest.mark.parametrize(("gap", "tie"), [(0.0005, True), (0.0019, True), (0.0021, False), (3.0, False)])
def test_a_generated_answer_is_a_tie_where_it_parts_at_a_token_as_likely_as_the_likeliest(gap, tie):
    recorded = [("abb", 1.0, "{}")]
    found = with_ties(beside("generate_until", recorded, [("abc", 0.0, "{}")]), Model(gap), Letters(), TOLERANCE)
    assert [one.tie for one in found.unlike] == [tie]


def test_an_answer_that_goes_on_parts_at_the_end_of_the_other():
    recorded = [("ab", 1.0, "{}")]
    longer = with_ties(beside("generate_until", recorded, [("abb", 0.0, "{}")]), Model(3.0), Letters(), TOLERANCE)
    assert [one.tie for one in longer.unlike] == [True]  # `b` was the likeliest after `ab` all along
    other = with_ties(beside("generate_until", recorded, [("abc", 0.0, "{}")]), Model(3.0), Letters(), TOLERANCE)
    assert [one.tie for one in other.unlike] == [False]


def test_what_a_filter_took_out_of_an_answer_cannot_be_a_tie():
    recorded = [("abb", 1.0, "{}")]
    found = beside("generate_until", recorded, [("abc", 0.0, "{}")], filters=True)
    assert [one.tie for one in with_ties(found, Model(0.0), Letters(), TOLERANCE).unlike] == [False]


# ------------------------------------------------------------------------------------------------------- what is read


def some(count, task="t"):
    return [Prompt(task, f"i{k}", k, k, "ab", "c") for k in range(count)]


def test_sequences_are_drawn_from_every_task_alike_for_any_order():
    everything = [*some(50, "large"), *some(3, "small")]
    found = interleaved(everything, 10, 0)
    assert [one.task for one in found] == ["large"] * 7 + ["small"] * 3
    assert interleaved(everything[::-1], 10, 0) == found
    assert interleaved(everything, 10, 1) != found
    assert len(interleaved(everything, 1000, 0)) == 53


def test_sequences_are_cut_from_the_left_and_end_in_the_answer():
    (row,) = sequences(some(1), Letters(), 100)
    assert (row.ids, row.start) == ((1, 2, 3), 2)
    (row,) = sequences(some(1), Letters(), 2)
    assert (row.ids, row.start) == ((2, 3), 1)
    assert sequences([Prompt("t", "i", 0, 0, "a", "")], Letters(), 100) == []


def test_a_start_token_is_put_before_a_text_once():
    assert encode(Begun(), "ab") == [99, 1, 2]
    assert encode(Begun(), "^ab")[1:] == [1, 2]


def test_white_space_at_the_end_of_a_prompt_belongs_to_a_scored_choice():
    scored = Prompt("t", "i", 0, 0, "ab ", "c", (Choice("c", -1.0),))
    written = Prompt("t", "i", 0, 0, "ab ", "c")
    assert [row.start for row in sequences([scored, written], Letters(), 100)] == [2, 3]


@pytest.mark.parametrize("most", [2, 4, 7, 50])
def test_places_lie_in_prompt_and_answer_and_are_no_more_than_asked_for(most):
    (row,) = sequences([Prompt("t", "i", 0, 0, "a" * 20, "b" * 5)], Letters(), 100)
    in_prompt, in_answer = places(row, most)
    assert len(in_prompt) + len(in_answer) == min(most, 24)
    assert all(0 <= place < 19 for place in in_prompt)
    assert all(19 <= place < 24 for place in in_answer)
    assert in_prompt
    assert len(in_answer) == min(5, max(1, most // 2, most - 19))


NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML


def test_prompts_are_rendered_as_lm_eval_does_where_a_template_refuses_a_system(tmp_path):
    from transformers import AutoTokenizer

    write_tiny_tokenizer(tmp_path, template=NO_SYSTEM)
    reader = PromptReader(AutoTokenizer.from_pretrained(tmp_path))
    user = {"role": "user", "content": "hi"}
    prompt = reader.apply_chat_template([{"role": "system", "content": "Be kind."}, user])
    assert prompt == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert reader.conversations[prompt] == [user]
    begun = reader.apply_chat_template([user, {"role": "assistant", "content": "so"}], add_generation_prompt=False)
    assert begun.endswith("assistant\nso")
