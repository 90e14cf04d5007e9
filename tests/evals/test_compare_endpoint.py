"""The arm of a comparison that asks an OpenAI-compatible endpoint, and all that an endpoint can do wrong."""

import json

import polars as pl
import pytest

from evals.comparing import endpoint as endpoint_module
from evals.comparing.run import compare
from schemas.compare_config import EndpointConfig
from schemas.progress import Progress
from tests.evals.made_compare import asking, compared_project
from tests.evals.made_endpoint import served

QUIET = Progress(quiet=True)
SECRET = "sk-very-secret-0123456789"


@pytest.fixture
def made(tmp_path, tiny_model_folder):
    return compared_project(tmp_path, tiny_model_folder)


@pytest.fixture
def endpoint(made, tiny_model_folder):
    with served(tiny_model_folder, made[1].folder / "adapter") as found:
        yield found


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(endpoint_module, "WAIT_S", 0.0)


def with_endpoint(project, url, *arms, **given):
    about = {"base_url": f"{url}/chat/completions", "model": "base", "retries": 1, **given}
    return asking(project, *(arms or ("classical", "endpoint")), endpoint=about, paraphrases=0)


def asked(project, adapter):
    folder = compare(project, adapter.path, QUIET).folder
    return json.loads((folder / "arms.json").read_bytes())["arms"], pl.read_parquet(folder / "answers.parquet")


def test_a_served_model_answers_as_it_does_in_this_process(made, endpoint):
    project, adapter = made
    wanted = with_endpoint(project, endpoint.url, "zero_shot", "endpoint", input_per_million=1.0, output_per_million=2)
    arms, answers = asked(wanted, adapter)
    assert [arm["status"] for arm in arms] == ["ran", "ran"]
    assert arms[1]["price"] == {"input_per_million": 1.0, "output_per_million": 2.0}
    assert arms[1]["facts"]["served"] == "base"
    here, there = (answers.filter(pl.col("arm") == name)["answer"].to_list() for name in ("zero_shot", "endpoint"))
    assert here == there
    first = endpoint.asked[0]
    assert (first["temperature"], first["model"]) == (0, "base")
    assert [turn["role"] for turn in first["messages"]] == ["system", "user"]
    assert "Authorization" not in endpoint.headers[0]
    assert len(endpoint.asked) == 9 + 3, "each item once, and those that are timed again"


def test_tokens_are_those_that_the_endpoint_counts(made, endpoint):
    def counted(_, payload):
        message = {"role": "assistant", "content": " yes "}
        usage = {"prompt_tokens": 70, "completion_tokens": 3}
        return 200, json.dumps({"choices": [{"index": 0, "message": message}], "usage": usage}).encode()

    endpoint.instead = counted
    _, answers = asked(with_endpoint(made[0], endpoint.url, "endpoint"), made[1])
    assert answers["tokens_in"].to_list() == [70] * 9
    assert answers["tokens_out"].to_list() == [3] * 9
    assert answers["answer"].to_list() == ["yes"] * 9


@pytest.mark.parametrize(
    "usage", [None, [], {}, {"prompt_tokens": -1, "completion_tokens": 1 << 80}, {"prompt_tokens": "x"}]
)
def test_tokens_that_an_endpoint_does_not_count_are_counted_here(usage, made, endpoint):
    message = json.dumps({"choices": [{"index": 0, "message": {"content": "y\ud800\x00es"}}], "usage": usage})
    endpoint.instead = lambda *_: (200, message.encode())
    _, answers = asked(with_endpoint(made[0], endpoint.url, "endpoint"), made[1])
    assert answers["answer"].to_list() == ["y?\x00es"] * 9
    assert set(answers["tokens_out"]) == {5}
    assert (answers["tokens_in"] > 40).all()


def test_the_key_is_sent_and_written_nowhere(made, endpoint, monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    asked(with_endpoint(made[0], endpoint.url, api_key_env="MY_KEY"), made[1])
    assert {headers["Authorization"] for headers in endpoint.headers} == {f"Bearer {SECRET}"}
    held = [path for path in made[0].root.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert held == []


def test_a_key_that_a_server_repeats_is_not_shown(made, endpoint, monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    endpoint.instead = lambda *_: (401, f"wrong key {SECRET}".encode())
    arms, _ = asked(with_endpoint(made[0], endpoint.url, api_key_env="MY_KEY"), made[1])
    assert arms[1]["status"] == "failed"
    assert "does not let us in" in arms[1]["reason"]
    assert SECRET not in arms[1]["reason"]
    assert "$MY_KEY" in arms[1]["reason"]


def test_without_its_key_the_arm_fails(made, endpoint, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    arms, _ = asked(with_endpoint(made[0], endpoint.url, api_key_env="MY_KEY"), made[1])
    assert "the endpoint needs a key" in arms[1]["reason"]
    assert endpoint.asked == []


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((404, b"no such model"), "does not know this address or this model"),
        ((500, b"boom"), "the endpoint failed"),
        ((429, b"slow down"), "too many requests"),
        ((302, b""), "the endpoint refuses"),
        ((200, b"<html>hello</html>"), "cannot be read"),
        ((200, b"{}"), "cannot be read"),
        ((200, b'{"choices": [{"index": 0, "message": {"content": 5}}]}'), "cannot be read"),
        ((200, b"[" * 100_000), "cannot be read"),
        ((200, b'{"choices": [{"index": 0, "message": {"content": null}}]}'), "no item was answered"),
        ((400, b"too long"), "no item was answered"),
    ],
)
def test_an_endpoint_that_fails_is_reported_and_the_others_finish(reply, reason, made, endpoint):
    endpoint.instead = lambda *_: reply
    arms, answers = asked(with_endpoint(made[0], endpoint.url), made[1])
    assert [arm["status"] for arm in arms] == ["ran", "failed"]
    assert reason in arms[1]["reason"]
    assert set(answers["arm"]) == {"classical"}


def test_an_endpoint_that_is_not_there_is_reported(made):
    arms, _ = asked(with_endpoint(made[0], "http://127.0.0.1:9/v1"), made[1])
    assert "cannot be reached" in arms[1]["reason"]


def test_an_endpoint_that_does_not_answer_in_time_is_reported(made, endpoint):
    import time

    endpoint.instead = lambda *_: time.sleep(1.0)
    arms, _ = asked(with_endpoint(made[0], endpoint.url, timeout=0.2, retries=0), made[1])
    assert "does not answer in time" in arms[1]["reason"]


def test_a_busy_endpoint_is_asked_again(made, endpoint):
    endpoint.instead = lambda count, _: (503, b"busy") if count == 1 else None
    arms, answers = asked(with_endpoint(made[0], endpoint.url, "endpoint"), made[1])
    assert arms[0]["status"] == "ran"
    assert answers["score"].null_count() == 0


def test_an_item_that_the_endpoint_refuses_has_no_score(made, endpoint):
    endpoint.instead = lambda _, payload: (400, b"a rule") if "t4 " in str(payload["messages"]) else None
    arms, answers = asked(with_endpoint(made[0], endpoint.url, "endpoint"), made[1])
    assert arms[0]["facts"]["unanswered"] == 1
    assert answers.filter(pl.col("score").is_null())["item_id"].to_list() == ["t4"]


def test_what_was_answered_is_not_asked_again(made, endpoint):
    endpoint.instead = lambda count, _: (500, b"boom") if count > 5 else None
    project = with_endpoint(made[0], endpoint.url, retries=0)
    arms, _ = asked(project, made[1])
    assert arms[1]["status"] == "failed"
    endpoint.instead = lambda *_: None
    before = len(endpoint.asked)
    arms, _ = asked(with_endpoint(made[0], endpoint.url, "endpoint", retries=0), made[1])
    assert arms[0]["status"] == "ran"
    assert len(endpoint.asked) - before == (9 - 5) + 3


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1/v1/chat/completions", "http://x/v1", "http://me:pw@x/chat/completions", "ftp://x/chat/completions"],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="base_url"):
        EndpointConfig(base_url=url, model="m")
