"""What is released is served and asked; other answers than the recorded ones fail, and nothing is skipped silently."""

import functools
import json
from pathlib import Path

import pytest

from evals.release import smoke as smoke_module
from evals.release.conversations import answers_check, conversations
from evals.release.prompts import read_prompts, read_suites
from evals.release.serving import missing_modules, serving
from evals.release.smoke import require_servers, smoke
from schemas.errors import UserError
from schemas.progress import SILENT
from schemas.release import Served
from schemas.release_config import ReleaseConfig
from schemas.verdict import Outcome
from tests.evals.release.made_exports import export, target

FAKE = Path(__file__).with_name("fake_server.py")
ADAPTER, GGUF = target("adapter", "adapter"), target("gguf-f16", "gguf", lossless=False)


@pytest.fixture
def asked(judged):
    """The items of the toy suites that can be asked, with the suites."""
    source, results = judged
    return asked_of(source, results)


def asked_of(source, results):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.base)
    suites = read_suites(results)
    prompts = [prompt for suite in suites for prompt in read_prompts(suite, results / "tasks", tokenizer)]
    return conversations(suites, prompts, tokenizer, 8)


@pytest.fixture
def served(judged, asked, tmp_path, monkeypatch):
    """Runs the smoke test on a server that says what it is told; gives the test and what the server was asked."""
    monkeypatch.setattr(smoke_module, "serving", functools.partial(serving, program=FAKE))
    monkeypatch.setattr(smoke_module, "missing_modules", lambda kind: [])

    def run(*targets, answers=None, **told):
        said = {one.messages[-1]["content"]: one.expected for one in asked} if answers is None else answers
        (tmp_path / "fake.json").write_text(json.dumps({"answers": said, **told}), "utf-8")
        source, results = judged
        found = smoke(source, tmp_path, targets, results, ReleaseConfig(), SILENT)
        log = tmp_path / "asked.jsonl"
        return found, [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []

    return run


def test_items_are_asked_as_they_were_when_judged(asked, served):
    found, bodies = served(target())
    assert found.outcome is Outcome.PASS
    assert [check.message for check in found.checks] == ["8 of 8 answers over HTTP are the recorded ones"]
    assert [body for _, body in bodies] == [
        {
            "messages": [{"role": "user", "content": one.document["user"]}],
            "temperature": 0,
            "max_tokens": 6,
            "model": "merged",
            "stop": ["\n"],
        }
        for one in (each.prompt for each in asked)
    ]
    assert {path for path, _ in bodies} == {"/v1/chat/completions"}
    assert [one.same for one in found.answers["merged"]] == [True] * 8


def test_one_other_answer_fails_a_form_that_loses_nothing(asked, served):
    said = {one.messages[-1]["content"]: one.expected for one in asked}
    said[asked[2].messages[-1]["content"]] = "<b>another\x1b"
    found, _ = served(target(), answers=said)
    assert found.outcome is Outcome.FAIL
    (check,) = found.checks
    assert check.name == "smoke:merged"
    assert check.measured["same"] == 8 - sum(one.messages == asked[2].messages for one in asked)
    assert "'<b>another\\x1b'" in check.message


def test_what_follows_a_stop_is_no_part_of_an_answer(asked, served):
    said = {one.messages[-1]["content"]: one.expected + "\nand more" for one in asked}
    assert served(target(), answers=said)[0].outcome is Outcome.PASS


def test_a_server_that_dies_fails_with_the_end_of_its_log(served):
    found, _ = served(target(), die=1)
    assert found.outcome is Outcome.FAIL
    assert "ended before it was ready" in found.checks[0].message
    assert "the model \\x1b[31mis red" in found.checks[0].message


def test_a_form_that_no_server_reads_is_told(served):
    found, _ = served(ADAPTER, target())
    assert [(check.name, check.outcome) for check in found.checks] == [
        ("smoke:adapter", Outcome.NOT_APPLICABLE),
        ("smoke:merged", Outcome.PASS),
    ]


@pytest.mark.parametrize(
    ("targets", "missing", "said"),
    [
        ([ADAPTER], [], "found adapter"),
        ([target()], ["fastapi", "uvicorn"], "pip install fastapi uvicorn"),
        ([GGUF], ["xllamacpp"], "pip install xllamacpp"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_made(monkeypatch, targets, missing, said):
    monkeypatch.setattr(smoke_module, "missing_modules", lambda kind: missing)
    with pytest.raises(UserError) as raised:
        require_servers(targets)
    (problem,) = raised.value.problems
    assert said in f"found {problem.found}\n{problem.help}"


def test_a_gguf_is_told_to_be_unserved_where_llama_cpp_is_missing(judged, served, monkeypatch):
    monkeypatch.setattr(smoke_module, "missing_modules", lambda kind: ["xllamacpp"] if kind == "llamacpp" else [])
    found, _ = served(target(), GGUF)
    assert found.checks[1].outcome is Outcome.NOT_APPLICABLE
    assert found.checks[1].message == "it was not served: xllamacpp is not installed"


def one_served(*same):
    return [Served(task="t", item_id=str(k), recorded="a", answered="b", same=one) for k, one in enumerate(same)]


@pytest.mark.parametrize(
    ("same", "lossless", "outcome"),
    [
        ([], True, Outcome.INCONCLUSIVE),
        ([True, True], True, Outcome.PASS),
        ([True, False], True, Outcome.FAIL),
        ([True, False], False, Outcome.PASS),
        ([True, False, False], False, Outcome.FAIL),
    ],
)
def test_how_many_answers_must_be_the_recorded_ones(same, lossless, outcome):
    assert answers_check("smoke:x", one_served(*same), lossless=lossless).outcome is outcome


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_modules("transformers")), reason="transformers serve is not installed")
def test_the_real_server_gives_the_recorded_answers(judged, tmp_path):
    source, results = judged
    export(source, tmp_path / "merged")
    found = smoke(source, tmp_path, [target()], results, ReleaseConfig(), SILENT)
    assert [check.message for check in found.checks] == ["8 of 8 answers over HTTP are the recorded ones"]
    export(source, tmp_path / "merged", scale=0.0)
    assert smoke(source, tmp_path, [target()], results, ReleaseConfig(), SILENT).outcome is Outcome.FAIL
