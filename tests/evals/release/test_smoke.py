"""What is released is served and asked; other answers than the recorded ones fail, and nothing is skipped silently."""

import functools
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from evals.evidence import TOKENS
from evals.release import smoke as smoke_module
from evals.release.conversations import Known, answers_check, conversations, known_answers
from evals.release.prompts import Choice, Prompt, Suite, read_prompts, read_suites
from evals.release.serving import missing_modules, serving
from evals.release.smoke import require_servers, smoke
from evals.scoring import TOKEN_SCHEMA
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
    return conversations(suites, prompts, {}, tokenizer, 8)


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
        ([target()], ["fastapi", "uvicorn"], "pip install 'assay[release]'"),
        ([GGUF], ["xllamacpp"], "pip install 'assay[llamacpp]'"),
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


# -------------------------------------------------------------------------------------------------- what is on record


class Bytes:
    """A tokenizer of letters whose token 0 ends an answer, and whose template is the content itself."""

    bos_token, eos_token_id = None, 0

    def encode(self, text, **_):
        return [ord(letter) - 96 for letter in text]

    def decode(self, ids):
        return "".join(chr(96 + one) for one in ids)

    def apply_chat_template(self, messages, **_):
        return "/".join(message["content"] for message in messages)


def written(folder, *rows):
    """Tables of tokens as an evaluation leaves them: (row id, runs, ids, greedy)."""
    lines = [
        ("tuned", "test", row_id, 0, 1.0, len(ids), "original", runs, ids, [-1.0], [0.0], greedy)
        for row_id, runs, ids, greedy in rows
    ]
    lines.append(("base", "test", "other", 0, 1.0, 1, "original", [1], [1], [-1.0], [0.0], [True]))
    pl.DataFrame(lines, schema=TOKEN_SCHEMA, orient="row").write_parquet(folder / TOKENS)
    return folder


def test_an_answer_is_known_where_each_of_its_tokens_was_the_likeliest(tmp_path):
    rows = [
        ("whole", [3], [1, 2, 0], [True] * 3),
        ("and more", [4], [1, 0, 9, 9], [True] * 4),
        ("cut", [2], [1, 2], [True] * 2),
        ("last turn", [2, 2], [7, 0, 3, 0], [False, False, True, True]),
        ("unsure", [3], [1, 2, 0], [True, False, True]),
        ("no details", [3], [1, 2, 0], []),
    ]
    assert known_answers(written(tmp_path, *rows), Bytes()) == {
        "whole": Known("ab", True, 3),
        "and more": Known("a", True, 4),
        "cut": Known("ab", False, 2),
        "last turn": Known("c", True, 2),
    }


def one_suite(kind="multiple_choice", **more):
    settings: dict[str, Any] = {"generation": {}, "filters": False, **more}
    return Suite("t", kind, True, "acc", False, recorded=pl.DataFrame(), **settings)


def one_prompt(**more):
    settings: dict[str, Any] = {"context": "q", "answer": "a", "document": {"user": "q"}, **more}
    return Prompt("t", "i", 0, 0, **settings)


def expected_of(prompt, suite=None, known=None):
    found = conversations([suite or one_suite()], [prompt], {"i": known} if known else {}, Bytes(), 8)
    return [(one.expected, one.whole, one.stop, one.most) for one in found]


def test_a_choice_that_is_more_likely_than_all_else_begins_the_answer():
    sure, unsure = Choice("ab", -0.69), Choice("ab", -0.70)
    assert expected_of(one_prompt(choices=(Choice("b", -3.0), sure))) == [("ab", False, (), 4)]
    assert expected_of(one_prompt(choices=(Choice("b", -3.0), unsure))) == []
    assert expected_of(one_prompt(choices=(unsure,)), known=Known("b", True, 2)) == [("b", True, (), 4)]


def test_a_recorded_text_is_the_answer_with_its_stops():
    text = one_prompt(answer="so", generation={"until": "\n", "max_gen_toks": 9})
    assert expected_of(text, one_suite("generate_until")) == [("so", True, ("\n",), 9)]
    assert expected_of(text, one_suite("generate_until", filters=True)) == []
    assert expected_of(text, one_suite("generate_until", generation={"do_sample": True})) == []


def test_the_messages_must_make_exactly_the_prompt():
    sure = (Choice("ab", -0.1),)
    (found,) = conversations(
        [one_suite()], [one_prompt(context="s/q", document={"user": "q", "system": "s"}, choices=sure)], {}, Bytes(), 8
    )
    assert [message["role"] for message in found.messages] == ["system", "user"]
    assert expected_of(one_prompt(context="another", choices=sure)) == []
    assert expected_of(one_prompt(messages=({"role": "assistant", "content": "q"},), document={}, choices=sure)) == []
