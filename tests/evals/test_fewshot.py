"""Few-shot examples of a task over the dataset: rows of another split, and the same as plain lm-eval asks."""

import json
from types import SimpleNamespace

import polars as pl
import pytest
from lm_eval.models.huggingface import HFLM

from curate.load_supervisor import load_supervisor
from evals.dataset_items import shown_split, split_rows
from evals.prompt_checks import PromptSource, prompt_check
from evals.run import dataset_of, evaluate
from evals.tasks import Task, find_task
from schemas.errors import UserError
from schemas.progress import Progress
from tests.evals.made_adapter import made_adapter, made_dataset, made_project
from tests.evals.made_endpoint import served
from tests.evals.test_harness import GENERATE, items_of, plain

QUIET = Progress(quiet=True)
SHOTS = {"doc_to_text": "user", "metadata": {"version": 1}, "num_fewshot": 2, "fewshot_split": "train"}
SAYS = {"description": "Say yes or no."}


def rows(word, count, prefix):
    """Rows that ask something else than the toy rows do."""
    found = []
    for k in range(count):
        label = "no" if k % 3 == 0 else "yes"
        messages = [{"role": "user", "content": f"{word} {k}"}, {"role": "assistant", "content": label}]
        found.append({"row_id": f"{prefix}{k}", "label": label, "component": 100 + k, "line": k, "messages": messages})
    return found


@pytest.fixture(scope="module")
def shown(tmp_path_factory, tiny_model_folder):
    """A project, and an adapter that was trained on other questions than the test split asks."""
    root = tmp_path_factory.mktemp("shown")
    project = made_project(root, tiny_model_folder)
    splits = {"train": rows("plum", 14, "r"), "validation": rows("pear", 6, "v")}
    return root, made_adapter(project, made_dataset(root, tiny_model_folder, **splits)).path


def asked(shown, model, task, **evals):
    root, adapter = shown
    return evaluate(made_project(root, model, task=task, **evals), adapter, QUIET)


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("more", [{}, SAYS, GENERATE], ids=["choices", "described", "generated"])
def test_the_same_as_plain_lm_eval(shown, tiny_model_folder, split, more, monkeypatch):
    task = {**SHOTS, **more, "fewshot_split": split}
    prompts = []
    whole = HFLM.apply_chat_template

    def noted(lm, said, *rest, **options):
        prompts.append(said)
        return whole(lm, said, *rest, **options)

    monkeypatch.setattr(HFLM, "apply_chat_template", noted)
    result = asked(shown, tiny_model_folder, task)
    ours, count = items_of(result, "tuned"), len(prompts)
    assert count == 24
    roles = ["user", "assistant"] * 2 + ["user"]
    assert [m["role"] for m in prompts[0]] == (["system", *roles] if more == SAYS else roles)
    word = {"train": "plum", "validation": "pear"}[split]
    assert {turn["content"].split()[0] for said in prompts for turn in said[-5:-1:2]} == {word}
    adapter = shown[1].parent / "adapter"
    theirs = plain(result.folder / "tasks", "toy_test", tiny_model_folder, adapter, apply_chat_template=True)
    assert prompts[count:] == prompts[:12]
    samples = sorted(theirs["samples"]["toy_test"], key=lambda sample: sample["doc_id"])
    metric = "exact_match" if more == GENERATE else "acc"
    assert [sample[metric] for sample in samples] == ours["score"].to_list()
    for sample, detail in zip(samples, ours["detail"], strict=True):
        found = json.loads(detail)
        if more == GENERATE:
            assert found["response"] == sample["filtered_resps"][0]
        else:
            expected = [response[0][0] for response in sample["resps"]]
            assert found["log_likelihoods"] == pytest.approx(expected, abs=1e-4)


def test_a_chat_endpoint_is_shown_the_same_examples(shown, tiny_model_folder):
    task = {**SHOTS, **SAYS, **GENERATE}
    here = asked(shown, tiny_model_folder, task)
    with served(tiny_model_folder, shown[1].parent / "adapter") as endpoint:
        there = asked(shown, tiny_model_folder, task, backend=endpoint.backend("chat/completions"))
    assert {len(payload["messages"]) for payload in endpoint.asked} == {6}
    found, expected = (pl.read_parquet(result.folder / "items.parquet") for result in (there, here))
    assert found["prediction"].to_list() == expected["prediction"].to_list()


def test_the_items_of_the_split_are_never_shown(fresh, tiny_model_folder):
    """The toy rows of both splits ask the same questions, so that no row is left to be shown."""
    project, adapter = fresh
    with pytest.raises(UserError, match="too few rows for few-shot examples") as caught:
        evaluate(made_project(project.root, tiny_model_folder, task=SHOTS), adapter, QUIET)
    assert caught.value.problems[0].found.startswith("0 rows of the split 'train'")


@pytest.mark.parametrize(
    "change",
    [
        {"fewshot_split": "test"},
        {"fewshot_split": None},
        {"fewshot_config": {"samples": [{"user": "a", "answer": "yes"}]}},
        {"fewshot_split": "validation", "dataset_path": "dataset:validation"},
        {"fewshot_split": "test", "dataset_path": "dataset:validation"},
    ],
)
def test_examples_come_from_a_split_that_is_not_judged(fresh, tiny_model_folder, change):
    project, _ = fresh
    made_project(project.root, tiny_model_folder, task={**SHOTS, **change})
    with pytest.raises(UserError, match="must come from a split that it does not judge"):
        shown_split(find_task("toy_test", project.root))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"doc_to_text": "prompt", "metadata": {"chat_template": "rendered"}}, "are asked as a conversation"),
        ({"doc_to_text": "{{user}}?"}, "the question asked is not the row's own"),
        ({"fewshot_config": {"doc_to_text": "Q: {{user}}"}}, "a few-shot example is no row of its split"),
    ],
)
def test_other_prompts_are_refused(shown, tiny_model_folder, change, said):
    with pytest.raises(UserError, match=said):
        asked(shown, tiny_model_folder, {**SHOTS, **change})


# ------------------------------------------------------------------------------------------------------- the check


def turn(role, content):
    return {"role": role, "content": content}


@pytest.fixture
def checked(done, tiny_model_folder, tmp_path):
    """Check a conversation as the prompt of the first test row."""
    supervisor = load_supervisor(tiny_model_folder, 256)
    asked_rows = split_rows(dataset_of(done[1].path).parent, "test", supervisor, None, 0)
    own = asked_rows[0]

    def check(said, text=None, examples=("plum", "pear")):
        text = supervisor.prompt(said) if text is None else text
        lm = SimpleNamespace(conversations={text: said})
        source = PromptSource(supervisor, lambda text: supervisor.tokenizer.encode(text).ids, lm)
        task = Task("t", tmp_path / "t.yaml", {"num_fewshot": 1})
        documents = [{"user": question} for question in examples]
        prompt_check(task, asked_rows, source, documents)({"item_id": own.row.row_id}, text, "")

    return check, own.row.messages[0]["content"]


def test_an_example_and_the_own_question_pass(checked):
    check, own = checked
    check([turn("user", "plum"), turn("assistant", "yes"), turn("user", own)])
    check([turn("system", "Be brief."), turn("user", "pear"), turn("assistant", "no"), turn("user", own)])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda own: [turn("user", own)], "are not pairs of question and answer"),
        (lambda own: [turn("user", "plum"), turn("assistant", "y"), turn("user", "plum")], "not the row's own"),
        (lambda own: [turn("user", own), turn("assistant", "y"), turn("user", own)], "is the item itself"),
        (lambda own: [turn("user", "fig"), turn("assistant", "y"), turn("user", own)], "is no row of its split"),
        (lambda own: [turn("user", "plum"), turn("user", "pear"), turn("user", own)], "are not pairs"),
    ],
)
def test_any_other_conversation_is_refused(checked, make, said):
    check, own = checked
    with pytest.raises(UserError, match=said):
        check(make(own), examples=("plum", "pear", own))


def test_another_rendering_is_refused(checked):
    check, own = checked
    said = [turn("user", "plum"), turn("assistant", "yes"), turn("user", own)]
    with pytest.raises(UserError, match="another prompt than training used"):
        check(said, text="plum yes " + own)
