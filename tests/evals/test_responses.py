"""An answer is found again for the very same model and request, and for nothing else."""

import dataclasses
import shutil
import sqlite3

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.responses import Responses, key
from evals.run import evaluate
from evals.token_scores import TokenScorer
from schemas.errors import UserError
from schemas.progress import Progress
from tests.evals.made_adapter import made_adapter, made_dataset, made_project
from tests.tiny_model import write_tiny_model

QUIET = Progress(quiet=True)


def test_answers_are_kept_by_model_and_request(tmp_path):
    store = Responses(tmp_path, {"base": ["a"]})
    store.put({key("score", (1, 2)): [-1.5, True, 2], key("text", "p", {"until": ["\n"]}): "said"})
    store.close()
    again, other = Responses(tmp_path, {"base": ["a"]}), Responses(tmp_path, {"base": ["b"]})
    asked = [key("score", (1, 2)), key("score", (1, 3)), key("text", "p", {"until": ["\n"]})]
    assert again.get(asked) == {asked[0]: [-1.5, True, 2], asked[2]: "said"}
    assert again.found == 2
    assert other.get(asked) == {}


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_as_it_was(tmp_path_factory, value):
    store = Responses(tmp_path_factory.mktemp("store"), {})
    store.put({key(1): [value]})
    assert store.get([key(1)]) == {key(1): [value]}


def test_a_changed_answer_is_asked_again(tmp_path):
    store = Responses(tmp_path, {})
    store.put({key(1): "right", key(2): "kept"})
    store.close()
    with sqlite3.connect(store.path) as file:
        file.execute("UPDATE answers SET value = '\"wrong\"' WHERE request = ?", (key(1),))
    assert Responses(tmp_path, {}).get([key(1), key(2)]) == {key(2): "kept"}


def test_a_file_that_is_no_database_is_named(tmp_path):
    store = Responses(tmp_path, {})
    store.close()
    for path in store.path.parent.iterdir():
        path.unlink()
    store.path.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(UserError, match="earlier answers cannot be used") as caught:
        Responses(tmp_path, {})
    assert caught.value.problems[0].where == str(store.path)


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """Rows of each forward pass."""
    passed: list[int] = []
    whole = TokenScorer._forward

    def forward(scorer, batch):
        passed.append(len(batch))
        return whole(scorer, batch)

    monkeypatch.setattr(TokenScorer, "_forward", forward)
    return passed


def table(result) -> pl.DataFrame:
    return pl.read_parquet(result.folder / "losses.parquet").sort("model", "split", "row_id")


def test_what_was_answered_is_not_asked_again(tiny_model_folder, tmp_path, counted):
    project = made_project(tmp_path, tiny_model_folder)
    dataset = made_dataset(tmp_path, tiny_model_folder)
    first = evaluate(project, made_adapter(project, dataset).path, QUIET)
    asked = sum(counted)
    assert asked > 0
    counted.clear()
    shutil.rmtree(first.folder)
    assert evaluate(project, made_adapter(project, dataset).path, QUIET).manifest.files == first.manifest.files
    assert sum(counted) == 0
    fewer = made_project(tmp_path, tiny_model_folder, seed=0, limit=6)  # another evaluation of the same models
    evaluate(fewer, made_adapter(project, dataset).path, QUIET)
    assert sum(counted) == 0
    other = made_project(tmp_path, tiny_model_folder)
    config = other.config.train.model_copy(update={"lora": other.config.train.lora.model_copy(update={"r": 2})})
    changed = dataclasses.replace(other, config=other.config.model_copy(update={"train": config}))
    second = evaluate(changed, made_adapter(changed, dataset).path, QUIET)
    assert 0 < sum(counted) < asked  # the base's answers are known, those of another adapter are not
    base, tuned = (pl.col("model") == name for name in ("base", "tuned"))
    assert table(first).filter(base).equals(table(second).filter(base))
    assert not table(first).filter(tuned)["nll"].equals(table(second).filter(tuned)["nll"])


def test_weights_of_the_same_name_are_another_model(tmp_path, counted):
    folder = write_tiny_model(tmp_path / "model")
    project = made_project(tmp_path, folder)
    dataset = made_dataset(tmp_path, folder)
    first = evaluate(project, made_adapter(project, dataset).path, QUIET)
    write_tiny_model(folder, seed=1)
    second = evaluate(project, made_adapter(project, dataset).path, QUIET)
    assert (table(first)["nll"] != table(second)["nll"]).all()


def test_a_killed_evaluation_asks_only_for_the_rest(tiny_model_folder, tmp_path, monkeypatch):
    project = made_project(tmp_path, tiny_model_folder, batch_size=2)
    adapter = made_adapter(project, made_dataset(tmp_path, tiny_model_folder)).path
    whole, passed = TokenScorer._score_batch, [0]

    def killed(scorer, batch):
        if passed[0] == 3:
            raise KeyboardInterrupt
        passed[0] += 1
        whole(scorer, batch)

    with monkeypatch.context() as patch:
        patch.setattr(TokenScorer, "_score_batch", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate(project, adapter, QUIET)
    (store,) = (project.runs / "responses").glob("*.sqlite")
    with sqlite3.connect(store) as file:
        (kept,) = file.execute("SELECT count(*) FROM answers").fetchone()
    assert kept > 0
    recalled: list[int] = []
    get = Responses.get

    def counting(self, requests):
        known = get(self, requests)
        recalled.append(len(known))
        return known

    monkeypatch.setattr(Responses, "get", counting)
    evaluate(project, adapter, QUIET)
    assert max(recalled) == kept
