from typing import Any

import pytest

from curate.readers import read_corpus, source_from_bytes
from curate.request import AuditRequest, run_audit
from tests.curate.made_rows import chat, lines_of, write_rows

MESSAGES = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SAME: dict[str, dict[str, Any]] = {
    "chat": {"messages": MESSAGES},
    "sharegpt": {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    "alpaca": {"instruction": "q", "input": "", "output": "a"},
    "prompt-completion": {"prompt": "q", "completion": "a"},
    "question and answer": {"question": "q", "answer": "a", "id": 3},
    "lists of messages": {"prompt": MESSAGES[:1], "completion": MESSAGES[1:]},
}


@pytest.mark.parametrize("name", SAME)
def test_equal_content_has_one_identity_in_every_shape(name):
    corpus = source_from_bytes(lines_of([SAME[name], SAME["chat"]]))
    assert corpus.rows["row_id"].n_unique() == 1
    assert corpus.turns.select("role", "content").rows() == [("user", "q"), ("assistant", "a")] * 2
    assert corpus.faults.is_empty()


KINDS = [
    ({"messages": MESSAGES, "tools": []}, "chat", "chat"),
    ({"prompt": "q", "completion": "a", "label": True}, "feedback", "kto"),
    ({"prompt": "q", "completion": "a", "label": "spam"}, "prompt-completion", "prompt-completion"),
    ({"prompt": "q", "chosen": "a", "rejected": "b"}, "preference", "preference"),
    (
        {"chosen": MESSAGES, "rejected": [MESSAGES[0], {"role": "assistant", "content": "b"}]},
        "preference",
        "preference",
    ),
    (
        {"input": {"messages": MESSAGES[:1]}, "preferred_output": MESSAGES[1:], "non_preferred_output": MESSAGES[1:]},
        "preference",
        "openai-preference",
    ),
    ({"prompt": "q", "ground_truth": "4"}, "reward", "reward"),
    ({"text": "t"}, "text", "text"),
    ({"body": "t"}, None, None),
]


@pytest.mark.parametrize(("record", "kind", "shape"), KINDS)
def test_the_shape_follows_from_the_keys(record, kind, shape):
    corpus = source_from_bytes(lines_of([record]))
    assert corpus.rows.select("kind", "shape").row(0) == (kind, shape)


def test_both_answers_of_a_pair_follow_the_prompt():
    corpus = source_from_bytes(lines_of([KINDS[4][0]]))
    rows = corpus.turns.select("turn", "part", "role", "content").rows()
    assert rows == [
        (0, "messages", "user", "q"),
        (1, "rejected", "assistant", "b"),
        (1, "messages", "assistant", "a"),
    ]


def test_what_is_not_content_is_metadata():
    corpus = source_from_bytes(lines_of([chat("q", "a", label="x") | {"id": 7}, chat("q", "a")]))
    assert corpus.rows["metadata"].to_list() == ['{"label":"x","id":7}', None]
    assert corpus.rows["row_id"].n_unique() == 1


def test_a_system_field_becomes_the_first_turn():
    rows = [{"system": "s", "conversations": SAME["sharegpt"]["conversations"]}, {"system": "s", **SAME["alpaca"]}]
    corpus = source_from_bytes(lines_of(rows))
    assert corpus.turns["role"].to_list() == ["system", "user", "assistant"] * 2


def test_columns_map_the_files_names_to_ours(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [{"frage": "q", "antwort": "a"}])
    assert read_corpus([path]).rows["kind"].to_list() == [None]
    mapped = read_corpus([path], columns={"prompt": "frage", "completion": "antwort"})
    assert mapped.turns["content"].to_list() == ["q", "a"]


def test_a_demanded_kind_refuses_the_others(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [{"text": "t"}, chat("q", "a")])
    corpus = read_corpus([path], kind="text")
    assert corpus.rows["kind"].to_list() == ["text", None]
    assert corpus.faults.select("kind", "expected").rows() == [("unknown-shape", "text")]


WRONG = [
    ({"messages": "q"}, "`messages` is text"),
    ({"messages": ["q"]}, "the message is text"),
    ({"messages": [{"content": "q"}]}, "no `role`"),
    ({"messages": [{"role": 1, "content": "q"}]}, "`role` is a number"),
    ({"messages": [{"role": "user", "content": {"a": 1}}]}, "`content` is an object"),
    ({"messages": [{"role": "user", "content": ["a"]}]}, "`content` is a list"),
    ({"prompt": 5, "completion": "a"}, "`prompt` is a number"),
    ({"text": None}, "`text` is null"),
]


@pytest.mark.parametrize(("record", "said"), WRONG)
def test_a_wrong_type_is_named(record, said):
    corpus = source_from_bytes(lines_of([record]))
    assert corpus.faults.select("kind", "found").rows() == [("wrong-type", said)]


def test_tool_calls_stand_for_content_and_are_part_of_the_identity():
    def call(city: str) -> dict:
        function = {"name": "weather", "arguments": f'{{"city": "{city}"}}'}
        turn = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": function}],
        }
        return {"messages": [MESSAGES[0], turn]}

    corpus = source_from_bytes(lines_of([call("Rome"), call("Oslo")]))
    assert corpus.faults.is_empty()
    assert corpus.rows["row_id"].n_unique() == 2
    assert "Rome" in corpus.turns["calls"][1]


def test_an_image_alone_is_unreadable_and_not_empty(tmp_path):
    parts = [{"type": "image_url", "image_url": {"url": "x"}}]
    said = {"role": "assistant", "content": "A cat."}
    path = write_rows(tmp_path / "rows.jsonl", [{"messages": [{"role": "user", "content": parts}, said]}])
    audit = run_audit(AuditRequest([str(path)]))
    assert [finding.code for finding in audit.findings] == ["SCH132"]


def test_a_call_needs_no_content_beside_it():
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    asked = {"role": "user", "content": "Where?"}
    with_null, without = (
        source_from_bytes(lines_of([{"messages": [asked, {"role": "assistant", "tool_calls": [call]} | content]}]))
        for content in ({"content": None}, {})
    )
    assert with_null.faults.is_empty()
    assert without.faults.is_empty()
    assert with_null.turns["calls"].to_list() == without.turns["calls"].to_list()
    assert without.turns["calls"][1] is not None
