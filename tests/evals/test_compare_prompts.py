"""What the arms of a comparison ask: the prompt of training, examples and passages that fit, prompts chosen fairly."""

from dataclasses import replace
from typing import Any

import pytest

from curate.load_supervisor import load_supervisor
from curate.supervision import SupervisionError
from evals.arms import few_shot, zero_shot
from evals.arms.few_shot import fixed_examples
from evals.comparing.metrics import Metric
from evals.comparing.prompting import Conversation, Item, Speaker, plainly, with_examples, with_passages
from evals.comparing.prompts import best_prompt
from evals.comparing.setting import Answer, Setting
from evals.retrieval.passages import Passage
from schemas.compare_config import CompareConfig
from schemas.errors import UserError
from tests.evals.made_compare import rows


def made_item(row):
    return Item(row["row_id"], row["component"], tuple(row["messages"][:-1]), row["messages"][-1]["content"])


@pytest.fixture(scope="module")
def supervisor(tiny_model_folder):
    return load_supervisor(tiny_model_folder, 512)


@pytest.fixture
def speaker(supervisor):
    return Speaker(supervisor, 512, 20)


def made_setting(speaker, ask=None, **given):
    whole: dict[str, Any] = {
        "items": tuple(map(made_item, rows(6, "t"))),
        "validation": tuple(map(made_item, rows(6, "v"))),
        "trained": tuple(map(made_item, rows(14, "r"))),
        "labels": ("no", "yes"),
        "config": CompareConfig(shots=2),
        "metric": Metric("label", ("no", "yes")),
        "knowledge": None,
        "training_seconds": 1.0,
        "full": None,
    }
    return Setting(speaker=speaker, ask=ask, **(whole | given))


def test_a_prompt_has_the_tokens_of_training(supervisor, speaker):
    for row in [*rows(4, "t"), *rows(4, "u", system="")]:
        trained = supervisor.encode(row["messages"])
        tokens, cut = speaker.prompt(plainly(made_item(row)))
        first = trained.supervised.index(True)
        assert tokens == tuple(trained.input_ids[:first])
        assert not cut
        draft = speaker.draft(plainly(made_item(row)), tokens)
        assert (*tokens, *draft) == tuple(trained.input_ids)


def test_a_conversation_of_several_turns_has_the_tokens_of_training(supervisor, speaker):
    turns = [("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", "four")]
    messages = [{"role": role, "content": content} for role, content in turns]
    trained = supervisor.encode(messages)
    tokens, _ = speaker.prompt(Conversation(tuple(messages[:-1]), None, "four"))
    assert tokens == tuple(trained.input_ids[: len(tokens)])
    assert trained.supervised[len(tokens)]
    assert not trained.supervised[len(tokens) - 1]


def test_a_prompt_that_is_too_long_is_cut_as_training_cuts_it(supervisor):
    speaker = Speaker(supervisor, 100, 20)
    system, question = {"role": "system", "content": "Answer."}, {"role": "user", "content": "x" * 90 + "end?"}
    asked = Conversation((system, question), None, "yes")
    tokens, cut = speaker.prompt(asked)
    assert cut
    assert speaker.is_cut(asked)
    assert len(tokens) == 80
    trained = supervisor.limited(80 + 4).encode([system, question, {"role": "assistant", "content": "yes"}])
    assert tokens == tuple(trained.input_ids[:80])
    assert "Answer." in speaker.text(tokens)
    assert speaker.text(tokens).endswith("end?\nassistant")


def test_a_prompt_that_cannot_be_cut_enough_is_refused(supervisor):
    with pytest.raises(SupervisionError):
        Speaker(supervisor, 50, 40).prompt(plainly(made_item(rows(1, "t")[0])))


def test_examples_stand_between_system_turn_and_question(speaker):
    item, *examples = map(made_item, rows(3, "t"))
    conversation, count = with_examples(item, examples, speaker)
    assert count == 2
    assert [turn["role"] for turn in conversation.messages] == ["system", *["user", "assistant"] * 2, "user"]
    assert conversation.messages[0] == item.messages[0]
    assert conversation.messages[-1] == item.messages[-1]
    assert conversation.messages[2]["content"] == examples[0].answer


def test_examples_that_do_not_fit_are_left_out_the_first_ones_first(supervisor):
    item, *examples = map(made_item, rows(5, "t"))
    whole = Speaker(supervisor, 512, 20)
    two, _ = with_examples(item, examples[-2:], whole)
    tight = Speaker(supervisor, len(whole.prompt(two)[0]) + 20, 20)
    conversation, count = with_examples(item, examples, tight)
    assert count == 2
    assert conversation.messages == two.messages
    nothing, count = with_examples(item, examples, Speaker(supervisor, 40, 20))
    assert count == 0
    assert nothing == plainly(item)


def test_passages_stand_before_the_question_as_many_as_fit(supervisor):
    item = made_item(rows(1, "t")[0])
    passages = [Passage(f"p{k}", f"a.txt:{k}", f"fact {k} is here.") for k in range(3)]
    conversation, shown, cut = with_passages(item, passages, Speaker(supervisor, 512, 20))
    said = conversation.messages[-1]["content"]
    assert said.startswith("Passages that may help:\n\n[1] fact 0 is here.\n\n[2] fact 1")
    assert said.endswith(item.question)
    assert (shown, cut) == (passages, False)
    assert conversation.messages[:-1] == item.messages[:-1]
    need = len(Speaker(supervisor, 512, 20).prompt(conversation)[0])
    fewer, shown, cut = with_passages(item, passages, Speaker(supervisor, need + 20 - 5, 20))
    assert cut
    assert shown
    assert [one.passage_id for one in shown] == ["p0", "p1", "p2"][: len(shown)]
    assert "".join(one.text for one in shown) != "".join(one.text for one in passages)
    assert len(Speaker(supervisor, 512, 20).prompt(fewer)[0]) <= need - 5
    plain, shown, cut = with_passages(item, passages, Speaker(supervisor, 60, 20))
    assert (plain, shown, cut) == (plainly(item), [], True)


def test_fixed_examples_show_each_label_and_no_question_that_is_asked(speaker):
    setting = made_setting(speaker)
    for seed in range(5):
        seeded = replace(setting, config=CompareConfig(shots=2, seed=seed))
        examples = fixed_examples(seeded)
        assert {one.answer for one in examples} == {"no", "yes"}
        assert examples == fixed_examples(seeded)
        assert {one.item_id for one in examples} <= {one.item_id for one in setting.trained}
    assert (
        len(
            {tuple(e.item_id for e in fixed_examples(replace(setting, config=CompareConfig(seed=s)))) for s in range(5)}
        )
        > 1
    )
    asked = replace(setting, items=setting.trained[:-2])
    assert {one.item_id for one in fixed_examples(asked)} == {"r12", "r13"}
    with pytest.raises(UserError, match="no rows to show"):
        fixed_examples(replace(setting, items=setting.trained))


def test_few_shot_says_that_it_left_examples_out(supervisor):
    setting = made_setting(Speaker(supervisor, 110, 20))
    prepared = few_shot.prepare(setting)
    assert prepared.facts["shots"] == 2
    assert all(prepared.write(item).cut for item in setting.items)
    assert not any(
        few_shot.prepare(made_setting(Speaker(supervisor, 512, 20))).write(item).cut for item in setting.items
    )


def test_the_best_prompt_is_chosen_on_validation_rows_alone(speaker):
    seen = []

    def ask(model, asked):
        seen.extend(asked)
        good = [one.messages[0]["content"] == "Think." for one in asked]
        return [Answer(one.expected if fine else "?", 1, 1) for one, fine in zip(asked, good, strict=True)]

    config = CompareConfig(prompts={"short": "Say it.", "long": "Think."})
    setting = made_setting(speaker, ask, config=config)
    chosen = best_prompt(setting, "base")
    assert (chosen.name, chosen.scores) == ("long", {"own": 0.0, "short": 0.0, "long": 1.0})
    questions = {one.messages[-1]["content"] for one in seen}
    assert questions == {row.question for row in setting.validation}
    assert len(seen) == 3 * len(setting.validation)
    asked = zero_shot.prepare(setting).write(setting.items[0]).conversation
    assert len(seen) == 3 * len(setting.validation), "a choice is made once"
    assert asked is not None
    assert asked.messages == ({"role": "system", "content": "Think."}, *setting.items[0].messages[1:])


def test_prompts_without_validation_rows_are_refused(speaker):
    setting = made_setting(speaker, validation=(), config=CompareConfig(prompts={"short": "Say it."}))
    with pytest.raises(UserError, match="no validation rows"):
        best_prompt(setting, "base")
    assert best_prompt(replace(setting, config=CompareConfig()), "base").name == "own"
