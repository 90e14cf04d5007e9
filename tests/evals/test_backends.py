"""Another of lm-eval's models as the engine: the same scores, nothing lost when it fails, nothing made up."""

import json
import shutil

import polars as pl
import pytest

from evals.backends import all_arguments, described, why_no_losses
from evals.gate import judge_results
from evals.run import evals_stage, evaluate
from schemas.backend import BackendConfig
from schemas.errors import UserError
from schemas.progress import Progress
from schemas.verdict import Outcome, Verdict
from tests.evals.made_adapter import made_project
from tests.evals.made_endpoint import served
from tests.evals.test_harness import GENERATE

QUIET = Progress(quiet=True)
CHAT = {**GENERATE, "doc_to_text": "user", "metadata": {"version": 1}}
SHORT = b'{"choices": [{"index": 0, "logprobs": {"token_logprobs": [0], "top_logprobs": [{}]}}]}'


@pytest.fixture(scope="module")
def serving(done, tiny_model_folder):
    with served(tiny_model_folder, done[1].folder / "adapter") as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(serving):
    serving.asked.clear()
    serving.headers.clear()
    serving.instead = lambda count, payload: None
    return serving


@pytest.fixture
def asked(fresh, tiny_model_folder):
    """Evaluate with a backend."""
    project, adapter = fresh

    def run(backend, task=None, **evals):
        changed = made_project(project.root, tiny_model_folder, task=task, backend=backend, **evals)
        return changed, evaluate(changed, adapter, QUIET)

    return run


def table(result, name="items"):
    return pl.read_parquet(result.folder / f"{name}.parquet")


def results(result):
    return json.loads((result.folder / "results.json").read_bytes())


def log_likelihoods(result):
    asked = table(result).filter(pl.col("model").is_in(["base", "tuned"]))
    return [json.loads(detail)["log_likelihoods"] for detail in asked["detail"]]


def assert_same(found, expected):
    assert table(found)["score"].to_list() == table(expected)["score"].to_list()
    for one, other in zip(log_likelihoods(found), log_likelihoods(expected), strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    losses, others = table(found, "losses"), table(expected, "losses")
    assert losses.drop("nll").equals(others.drop("nll"))
    assert losses["nll"].to_list() == pytest.approx(others["nll"].to_list(), abs=1e-3)


# -------------------------------------------------------------------------------------------------------- the same


@pytest.mark.parametrize("more", [{}, {"batch_size": 3}, {"num_concurrent": 2}])
def test_an_endpoint_gives_the_scores_and_losses_of_the_models_themselves(done, asked, endpoint, more):
    _, result = asked(endpoint.backend(**more))
    assert_same(result, done[2])
    models = results(result)["models"]
    assert models["tuned"]["engine"] == "local-completions"
    assert (models["tuned"]["device"], models["tuned"]["dtype"]) == ("endpoint", "unknown")
    assert models["tuned"]["arguments"]["base_url"] == f"{endpoint.url}/completions"
    assert models["tuned"]["named_by"] == {"model": "tuned"}
    assert set(models["tuned"]["versions"]) == {"lm_eval"}
    assert result.manifest.provenance.device == "endpoint"
    assert result.manifest.provenance.notes == ("an endpoint answered; which weights it serves was not checked",)
    head = (result.folder / "tasks" / "toy_test.yaml").read_text("utf-8")
    assert "--model local-completions --model_args tokenizer=BASE_MODEL,tokenizer_backend=huggingface,base_url=" in head


def test_an_endpoint_generates_what_the_models_do(fresh, asked, endpoint, tiny_model_folder):
    project, adapter = fresh
    here = evaluate(made_project(project.root, tiny_model_folder, task=GENERATE), adapter, QUIET)
    _, there = asked(endpoint.backend(), GENERATE)
    assert table(there)["prediction"].to_list() == table(here)["prediction"].to_list()


def test_lm_eval_s_own_transformers_model_gives_the_same(done, asked):
    _, result = asked({"model": "hf"})
    assert_same(result, done[2])
    assert results(result)["models"]["base"]["engine"] == "hf"
    head = (result.folder / "tasks" / "toy_test.yaml").read_text("utf-8")
    assert "--model hf --model_args pretrained=BASE_MODEL,dtype=float32,peft=ADAPTER --include_path" in head


def test_answers_are_asked_once(asked, endpoint):
    project, first = asked(endpoint.backend())
    count = len(endpoint.asked)
    shutil.rmtree(project.runs / "evals")
    _, again = asked(endpoint.backend())
    assert len(endpoint.asked) == count
    assert again.manifest.files == first.manifest.files
    other = endpoint.backend()
    other["tuned"] = {"model": "base-again"}
    asked(other)
    assert {payload["model"] for payload in endpoint.asked[count:]} == {"base-again"}


def test_a_chat_endpoint_is_asked_with_the_messages(fresh, asked, endpoint, tiny_model_folder):
    project, adapter = fresh
    here = evaluate(made_project(project.root, tiny_model_folder, task=CHAT), adapter, QUIET)
    changed, there = asked(endpoint.backend("chat/completions"), CHAT)
    assert table(there)["prediction"].to_list() == table(here)["prediction"].to_list()
    assert [len(payload["messages"]) for payload in endpoint.asked] == [1] * 24
    assert table(there, "losses").is_empty()
    verdict = judge_results(changed, there.path)
    checks = Verdict.model_validate_json((verdict.folder / "verdict.json").read_bytes()).checks
    (gap,) = [check for check in checks if check.name == "overfitting:gain-gap"]
    assert gap.outcome is Outcome.INCONCLUSIVE
    assert "local-chat-completions gives no log-probabilities of the tokens of training" in gap.message


def test_a_model_of_lm_eval_that_only_pretends(asked):
    task = {"doc_to_text": "user", "dataset_path": "json", "metadata": {"chat_template": "none"}}
    backend = {"model": "dummy", "base": {"name": "a"}, "tuned": {"name": "b"}}
    with pytest.raises(UserError, match="does not say where its items are"):
        asked(backend, task)
    _, result = asked(backend, {"output_type": "generate_until", "doc_to_choice": None, **GENERATE})
    answered = table(result).filter(pl.col("model").is_in(["base", "tuned"]))
    assert set(answered["prediction"]) == {"lol"}
    assert results(result)["no_losses"] == "dummy gives no log-probabilities of the tokens of training"
    assert result.manifest.counts["trained_rows"] == 0


def test_what_vllm_would_be_given(fresh, tiny_model_folder):
    """It cannot be installed everywhere; what assay decides about it are its arguments."""
    project, adapter = fresh
    changed = made_project(
        project.root, tiny_model_folder, backend={"model": "vllm", "args": {"max_model_len": 512}}, dtype="bfloat16"
    )
    base, tuned = (all_arguments(changed, model, tiny_model_folder, adapter) for model in ("base", "tuned"))
    common = {"batch_size": "auto", "pretrained": str(tiny_model_folder), "dtype": "bfloat16", "max_model_len": 512}
    assert base == common
    assert tuned == {**common, "lora_local_path": str(adapter / "adapter"), "max_lora_rank": 16}
    with pytest.raises(UserError, match="needs a package that is not installed"):
        evaluate(changed, adapter, QUIET)


@pytest.mark.parametrize(("rank", "room"), [(4, 16), (16, 16), (17, 32), (200, 256)])
def test_vllm_has_room_for_the_adapter(fresh, tiny_model_folder, tmp_path, rank, room):
    changed = made_project(fresh[0].root, tiny_model_folder, backend={"model": "vllm"})
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({"r": rank}), "utf-8")
    assert all_arguments(changed, "tuned", tiny_model_folder, tmp_path)["max_lora_rank"] == room


@pytest.mark.parametrize("model", ["hf", "vllm"])
def test_a_fully_tuned_model_stands_for_itself(fresh, tiny_model_folder, tmp_path, model):
    changed = made_project(fresh[0].root, tiny_model_folder, backend={"model": model})
    (tmp_path / "model").mkdir()
    tuned = all_arguments(changed, "tuned", tiny_model_folder, tmp_path)
    assert tuned["pretrained"] == str(tmp_path / "model")
    assert tuned["tokenizer"] == str(tiny_model_folder)
    assert {"peft", "lora_local_path", "max_lora_rank"}.isdisjoint(tuned)
    assert all_arguments(changed, "base", tiny_model_folder, tmp_path)["pretrained"] == str(tiny_model_folder)


def test_a_device_that_is_asked_for_is_the_one_that_is_named():
    assert (
        described(BackendConfig.model_validate({"model": "hf", "args": {"device": "cpu"}}), "float32")["device"]
        == "cpu"
    )
    asked_for = BackendConfig.model_validate({"model": "hf", "args": {"device": "cuda:1"}})
    assert described(asked_for, "bfloat16")["device"] == "cuda"


# ------------------------------------------------------------------------------------------------------- it fails


@pytest.mark.parametrize("after", [0, 10, 30, 50])
def test_an_endpoint_that_dies_half_way_has_lost_nothing(done, asked, endpoint, after):
    endpoint.instead = lambda count, payload: (500, b"out of memory") if count > after else None
    with pytest.raises(UserError, match="the endpoint failed") as caught:
        asked(endpoint.backend())
    assert "500" in caught.value.problems[0].found
    assert "out of memory" in caught.value.problems[0].found
    assert len(endpoint.asked) == after + 1
    endpoint.asked.clear()
    endpoint.instead = lambda count, payload: None
    _, result = asked(endpoint.backend())
    assert_same(result, done[2])
    assert len(endpoint.asked) == 2 * (24 + 12) - after  # trained and test rows of equal text are asked once


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"who are you", "the endpoint does not let us in"),
        (404, b"no such model", "does not know this address or this model"),
        (429, b"slow down", "has had too many requests"),
        (500, b"", "the endpoint failed"),
        (200, b"<html>", "answer cannot be read"),
        (200, b"[]", "answer cannot be read"),
        (200, b'{"choices": []}', "answer cannot be read"),
        (200, b'{"choices": [{"index": 0, "text": "x"}]}', "answer cannot be read"),
        (200, SHORT, "answer cannot be read"),
    ],
)
@pytest.mark.parametrize("more", [{}, {"num_concurrent": 2}])
def test_each_fault_is_one_clear_error(asked, endpoint, monkeypatch, status, body, said, more):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    endpoint.instead = lambda count, payload: (status, body + b"sk-very-secret" if status == 401 else body)
    with pytest.raises(UserError, match=said) as caught:
        asked(endpoint.backend(**more))
    (problem,) = caught.value.problems
    assert problem.where == f"{endpoint.url}/completions"
    assert "sk-very-secret" not in str(problem)
    assert endpoint.headers[0]["Authorization"] == "Bearer sk-very-secret"


@pytest.mark.parametrize("body", [b'{"choices": [{"index": 0}]}', b'{"choices": [{"index": 0, "message": 7}]}', b"{}"])
def test_a_chat_answer_of_another_form_is_no_empty_answer(asked, endpoint, body):
    endpoint.instead = lambda count, payload: (200, body)
    with pytest.raises(UserError, match="answer cannot be read"):
        asked(endpoint.backend("chat/completions"), CHAT)


def test_nobody_listens(asked, endpoint):
    backend = endpoint.backend(base_url="http://127.0.0.1:9/v1/completions")
    with pytest.raises(UserError, match="the endpoint cannot be reached") as caught:
        asked(backend)
    assert caught.value.problems[0].where == "http://127.0.0.1:9/v1/completions"


@pytest.mark.parametrize(
    "reply", [(400, b"too long"), (200, b'{"choices": [{"index": 0, "message": {"content": null}}]}')]
)
def test_an_item_that_is_refused_counts_against_the_model(asked, endpoint, reply):
    def refuse(count, payload):
        return reply if (payload["model"], payload["messages"][0]["content"]) == ("tuned", "bad x") else None

    endpoint.instead = refuse
    _, result = asked(endpoint.backend("chat/completions"), CHAT)
    failed = table(result).filter(pl.col("score").is_null())
    assert failed.select("model", "target").rows() == [("tuned", "no")]
    assert result.manifest.counts["failed"] == 1


def test_a_model_that_answers_nothing_is_an_error(asked, endpoint):
    endpoint.instead = lambda count, payload: (400, b"`stop` is not known")
    with pytest.raises(UserError, match="answered none of 12 requests") as caught:
        asked(endpoint.backend("chat/completions"), CHAT)
    assert "400" in caught.value.problems[0].found


# ----------------------------------------------------------------------------------------- refused before it is asked


def test_choices_cannot_be_scored_by_chat(asked, endpoint):
    with pytest.raises(UserError, match="gives no log-probabilities, which this task needs"):
        asked(endpoint.backend("chat/completions"))
    with pytest.raises(UserError, match="takes conversations"):
        asked(endpoint.backend("chat/completions"), GENERATE)
    assert endpoint.asked == []


def test_a_hosted_endpoint_needs_its_key(asked, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="the endpoint needs a key"):
        asked({"model": "openai-chat-completions", "base": {"model": "a"}, "tuned": {"model": "b"}}, CHAT)


def test_items_that_leave_the_machine_are_announced(fresh, tiny_model_folder, capsys):
    project, adapter = fresh
    away = {"base_url": "http://models.invalid:8000/v1/completions", "max_retries": 1}
    backend = {"model": "local-completions", "args": away, "base": {"model": "a"}, "tuned": {"model": "b"}}
    changed = made_project(project.root, tiny_model_folder, backend=backend)
    with pytest.raises(UserError, match="the endpoint cannot be reached"):
        evaluate(changed, adapter, Progress())
    said = capsys.readouterr().err
    assert "the items of base are sent to models.invalid:8000" in said
    assert "the items of tuned are sent to models.invalid:8000" in said


def test_a_model_that_lm_eval_does_not_know_is_named(asked):
    with pytest.raises(UserError, match="no model called 'local-completion'") as caught:
        asked({"model": "local-completion", "base": {"model": "a"}, "tuned": {"model": "b"}})
    assert caught.value.problems[0].help == "did you mean local-completions?"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, ""),
        ({"max_length": 64}, ""),
        ({"tokenizer": "gpt2"}, "local-completions was given another tokenizer, or texts instead of tokens"),
        ({"tokenizer_backend": "remote"}, "local-completions was given another tokenizer, or texts instead of tokens"),
        ({"tokenized_requests": False}, "local-completions was given another tokenizer, or texts instead of tokens"),
    ],
)
def test_losses_need_the_tokens_of_training(endpoint, args, said):
    assert why_no_losses(BackendConfig.model_validate(endpoint.backend(**args))) == said


def test_an_endpoint_that_takes_texts_has_no_losses(done, asked, endpoint):
    _, result = asked(endpoint.backend(tokenized_requests=False), GENERATE)
    assert {type(payload["prompt"]) for payload in endpoint.asked} == {str}
    assert table(result, "losses").is_empty()


def test_no_hub_is_asked_for_a_tokenizer(asked, endpoint):
    with pytest.raises(UserError, match="cannot be started") as caught:
        asked(endpoint.backend(tokenizer="nobody/knows-this"))
    assert "offline" in caught.value.problems[0].found.lower() or "cached" in caught.value.problems[0].found.lower()
    assert endpoint.asked == []


def test_another_backend_is_another_evaluation(fresh, endpoint, tiny_model_folder):
    project, adapter = fresh
    stages = [
        evals_stage(made_project(project.root, tiny_model_folder, **evals), adapter)
        for evals in ({}, {"backend": endpoint.backend()}, {"dtype": "bfloat16"}, {"backend": {"model": "hf"}})
    ]
    assert len({stage.fingerprint for stage in stages}) == 4
