"""An expected answer that the model would give token by token is not generated; it is what plain lm-eval generates."""

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


def test_forced_answers_are_those_of_generation(learned, monkeypatch):
    project, made = learned
    generated: list[int] = []
    whole = HFLM.generate_until

    def counting(lm, requests, **options):
        generated.append(len(requests))
        return whole(lm, requests, **options)

    with monkeypatch.context() as patch:
        patch.setattr(HFLM, "generate_until", counting)
        result = evaluate(project, made.path, QUIET)
    ours = items_of(result, "tuned")
    right = int(ours["score"].sum())
    assert right >= 6
    theirs = plain(result.folder / "tasks", "toy_test", made.folder / "model")
    samples = sorted(theirs["samples"]["toy_test"], key=lambda sample: sample["doc_id"])
    assert [sample["filtered_resps"][0] for sample in samples] == ours["prediction"].to_list()
    assert [sample["exact_match"] for sample in samples] == ours["score"].to_list()
    base = items_of(result, "base")
    # Both models answer twelve items each; what the tuned one answers rightly is not generated.
    assert sum(generated) == 24 - right - int(base["score"].sum())
