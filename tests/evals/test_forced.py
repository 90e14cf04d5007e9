"""Generated answers are those of plain lm-eval, though they share what their prompts begin with and guess ahead."""

import shutil

import pytest
import yaml
from lm_eval.models.huggingface import HFLM

from curate.configfile import load_project
from evals.run import evaluate
from tests.evals.made_adapter import TASK
from tests.evals.test_harness import GENERATE, QUIET, items_of, plain
from tests.evals.test_methods import trained


@pytest.fixture(scope="module")
def learned(tmp_path_factory, tiny_model_folder):
    """A project whose fully fine-tuned tiny model knows most answers, and asks for them as text."""
    root = tmp_path_factory.mktemp("learned")
    project, made = trained(root, tiny_model_folder, "full", epochs=25, keep="last")
    (root / "toy_test.yaml").write_text(yaml.safe_dump({**TASK, **GENERATE}), "utf-8")
    return load_project(project.path), made


@pytest.mark.parametrize("model", ["base", "tuned"])
def test_answers_of_our_own_decoding_are_those_of_plain_lm_eval(learned, monkeypatch, tiny_model_folder, model):
    project, made = learned
    generated: list[int] = []
    whole = HFLM.generate_until

    def counting(lm, requests, **options):
        generated.append(len(requests))
        return whole(lm, requests, **options)

    with monkeypatch.context() as patch:
        patch.setattr(HFLM, "generate_until", counting)
        result = evaluate(project, made.path, QUIET)
    assert generated == []
    ours = items_of(result, model)
    assert int(ours["score"].sum()) >= (6 if model == "tuned" else 0)
    weights = made.folder / "model" if model == "tuned" else tiny_model_folder
    theirs = plain(result.folder / "tasks", "toy_test", weights)
    samples = sorted(theirs["samples"]["toy_test"], key=lambda sample: sample["doc_id"])
    assert [sample["filtered_resps"][0] for sample in samples] == ours["prediction"].to_list()
    assert [sample["exact_match"] for sample in samples] == ours["score"].to_list()


def test_a_model_with_its_own_ideas_of_the_next_token_is_left_to_lm_eval(learned, monkeypatch):
    project, made = learned
    wanted = items_of(evaluate(project, made.path, QUIET), "tuned")
    monkeypatch.setattr("evals.decoding._own_settings", lambda model: ["repetition_penalty"])
    shutil.rmtree(project.runs / "responses")
    shutil.rmtree(project.runs / "evals")
    found = items_of(evaluate(project, made.path, QUIET), "tuned")
    assert found["prediction"].to_list() == wanted["prediction"].to_list()
