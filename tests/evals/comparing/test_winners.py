"""The tasks with a known winner are what they say, and go through the stages; a model that can do nothing wins none."""

import re
from random import Random

import pytest

from benchmarks import compare_winners, reading_model
from benchmarks.compare_winners import ARMS, TASKS, Result, line, made, summary
from benchmarks.reading_model import UNKNOWN, behind, document, exchange, fact, question, words
from curate.load_supervisor import load_supervisor
from evals.comparing.prompting import Item, Speaker, with_passages
from evals.retrieval.passages import Passage

TASK = {task.name: task for task in TASKS}


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """The model after two steps."""
    folder = tmp_path_factory.mktemp("reading")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(reading_model.TRAINING, "steps", 2)
        patch.setitem(reading_model.TRAINING, "batch_size", 4)
        counts = reading_model.build(folder)
    assert counts["parameters"] > 100_000
    return folder


def parts(row):
    asked, answer = (turn["content"] for turn in row["messages"])
    return asked, answer


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_an_answer_is_told_by_its_question_or_by_the_documents_alone(task):
    data = made(task, 3)
    told = dict(entry.rstrip(".").split() for entry in data.documents.split("\n\n")) if data.documents else {}
    assert len(told) == (500 if task.told < 1 else 0)
    noted = 0
    for row in data.rows:
        asked, answer = parts(row)
        *notes, name = re.findall(r"[a-z]+", asked)
        own = dict(zip(notes[::2], notes[1::2], strict=True))
        noted += bool(own)
        value = own.get(name) or told[name]
        assert told.get(name, value) == value
        assert value in answer.split()
        assert not set(own) - {name} & set(told), "a note tells nothing that another row asks"
    assert noted == 500 if task.told == 1 else 330 < noted < 420


def test_codes_are_a_table_that_four_rows_cannot_show():
    rows = [parts(row)[1].split() for row in made(TASK["both"], 0).rows]
    table = {value: code for code, value, _ in rows}
    assert len(table) == len(set(table.values())) == len(words().values) == 24
    assert all(code == table[value] for code, value, _ in rows)
    assert len({closing for *_, closing in rows}) == 1
    assert {len(parts(row)[1].split()) for row in made(TASK["documents"], 0).rows} == {1}


def test_seeds_have_facts_of_their_own():
    one, other = (made(TASK["documents"], seed) for seed in (0, 1))
    assert len(set(one.documents.split("\n\n")) & set(other.documents.split("\n\n"))) < 60
    assert made(TASK["documents"], 0) == one


def test_conversations_are_written_as_a_comparison_writes_them(untrained):
    speaker = Speaker(load_supervisor(untrained, 128), 512, 20)
    passages = [Passage(f"p{k}", f"p{k}", f"{fact('bafede', 'kelu')}\n\n{fact('dolu', 'gima')}") for k in range(2)]
    asked = question("bafede", [fact("mora", "nefi")])
    item = Item("i", 0, ({"role": "user", "content": asked},), "kelu")
    told, shown, cut = with_passages(item, passages, speaker)
    assert (len(shown), cut) == (2, False)
    assert told.messages[0]["content"] == behind([passage.text for passage in passages], asked)
    supervisor = load_supervisor(untrained, 128)
    made_text = "".join(part.text for part in exchange(asked, "kelu"))
    assert made_text == supervisor.render([*item.messages, {"role": "assistant", "content": "kelu"}])


def test_what_is_learned_can_be_looked_up_or_is_unknown():
    known, drawn, seen = words(), Random(5), set()
    for _ in range(300):
        before = ""
        for part in document(drawn, known):
            if part.learned:
                answer = part.text.removesuffix("<|im_end|>")
                name = re.findall(r"([a-z]+)\?", before)[-1]
                own = re.findall(rf"\b{name} ([a-z]+)\.", before)
                assert set(own) == ({answer} if answer != UNKNOWN else set())
                seen.add(answer)
            before += part.text
    assert seen == {UNKNOWN, *known.values}


def test_a_run_goes_through_all_stages_and_an_untrained_model_serves_nothing(untrained, tmp_path):
    found = compare_winners.run(TASK["both"], 0, untrained, tmp_path / "work")
    assert found.arm in (None, "tuned", "tuned_rag")
    assert found.quality["zero_shot"] == found.quality["rag"] == 0.0
    assert set(found.quality) == set(ARMS)
    assert None not in found.quality.values()
    assert found.items > 100
    assert not (tmp_path / "work").exists()


def test_the_table_and_the_count_say_what_was_found():
    quality: dict[str, float | None] = {arm: None if arm == "rag" else 0.5 for arm in ARMS}
    results = [
        Result(TASK["format"], seed, arm, "", quality, 160, 160, 2.0) for seed, arm in enumerate(("tuned", "rag", None))
    ]
    assert [result.outcome for result in results] == ["right", "wrong", "inconclusive"]
    assert line(results[1]) == "| format | 1 | tuned | rag | wrong | 0.50 | 0.50 | 0.50 |  | 0.50 | 0.50 |"
    assert summary(results) == "1 of 3 right [0.008, 0.906], 1 inconclusive, 1 wrong; 6 s of processor time"
