"""Tool calls, their results, declared tools and weights: what the rules that share one pass report, and where."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.findings import one_per_row
from curate.json_schema import compile_schema, json_path, mismatches
from curate.readers import read_corpus
from curate.rows import Corpus
from curate.rules import all_rules, select_rules
from curate.structure import MAX_REFERENCES, StructureRule, compiled_schema, structured_rows
from schemas.errors import UserError
from schemas.finding import Severity
from tests.curate.made_rows import chat, corpus_from, write_rows

STRUCTURE = [rule.code for rule in all_rules() if issubclass(rule, StructureRule)]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city"],
        },
    },
}

LEGACY = {"role": "assistant", "content": None, "function_call": {"name": "get_weather", "arguments": "{}"}}


def call(arguments: Any = '{"city": "Oslo"}', name: str = "get_weather", own: str | None = "call_1") -> dict[str, Any]:
    made: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return made | ({"id": own} if own else {})


def result(own: str | None = "call_1", content: str = "rain") -> dict[str, Any]:
    return {"role": "tool", "content": content} | ({"tool_call_id": own} if own else {})


def row(*middle: Any, tools: Any = (WEATHER,), end: bool = True, **more: Any) -> dict[str, Any]:
    """A question, what is given, and an answer; a list of calls stands for the turn that makes them."""
    turns = [{"role": "assistant", "content": None, "tool_calls": m} if isinstance(m, list) else m for m in middle]
    messages = [{"role": "user", "content": "Will it rain in Oslo?"}, *turns]
    messages += [{"role": "assistant", "content": "Yes."}] if end else []
    return (
        {"messages": messages} | ({"tools": list(tools) if isinstance(tools, tuple) else tools} if tools else {}) | more
    )


def found(*rows: Any) -> list[tuple[str, int, int | None]]:
    """(code, row, turn) of every finding of the rules that share the pass."""
    return found_in(corpus_from(*rows))


def found_in(corpus: Corpus) -> list[tuple[str, int, int | None]]:
    return [
        (rule.code, hit.index, hit.turn) for rule in select_rules(STRUCTURE) for hit in one_per_row(rule.find(corpus))
    ]


def severities(code: str, *rows: Any) -> list[Severity]:
    (rule,) = select_rules([code])
    return [hit.severity or rule.severity for hit in one_per_row(rule.find(corpus_from(*rows)))]


def test_a_whole_exchange_as_openai_documents_it_is_clean():
    parallel = row([call(), call('{"city": "Bergen", "days": 2}', own="call_2")], result("call_2"), result("call_1"))
    ends = row([call()], end=False)
    again = row(
        [call()], result(), {"role": "user", "content": "And tomorrow?"}, [call(own="call_2")], result("call_2")
    )
    assert found(row([call()], result()), parallel, ends, again, chat("a", "b"), row(parallel_tool_calls=False)) == []


def test_each_fault_is_reported_once_at_its_turn():
    rows = [
        row([call("{city: Oslo}")], result()),
        row([call('{"town": "Oslo"}')], result()),
        row([call(name="get_wether")], result()),
        row([call(own="a"), call(own="a")], result("a")),
        row([call()], {"role": "user", "content": "Well?"}),
        row(result()),
        row([call()], result("call_9")),
        row(tools=[{"type": "function", "function": {"name": "get weather"}}]),
        row(
            {"role": "assistant", "content": None, "function_call": {"name": "get_weather", "arguments": "{}"}},
            end=False,
        ),
    ]
    assert sorted(found(*rows), key=lambda hit: hit[1]) == [
        ("SCH123", 0, 1),
        ("SCH125", 1, 1),
        ("SCH126", 2, 1),
        ("SCH127", 3, 1),
        ("SCH128", 4, 1),
        ("SCH129", 5, 1),
        ("SCH128", 6, 1),
        ("SCH129", 6, 2),
        ("SCH130", 7, None),
        ("SCH125", 8, 1),
        ("SCH131", 8, 1),
    ]


def test_a_mismatch_names_the_place_and_what_stands_there():
    (rule,) = select_rules(["mismatched-arguments"])
    (hit,) = rule.find(corpus_from(row([call('{"city": "Oslo", "days": 0}')], result())))
    assert hit.message == (
        "the arguments of 'get_weather' do not fit its parameters at $.days: 0 is less than the minimum of 1"
    )
    assert hit.evidence == {"found": "0", "expected": "as parameters/properties/days/minimum says"}


def test_rows_without_ids_as_hugging_face_writes_them_are_a_warning_and_nothing_else():
    hugging = row([call({"city": "Oslo"}, own=None)], result(None))
    assert found(hugging) == [("SCH124", 0, 1), ("SCH127", 0, 1)]
    assert severities("SCH127", hugging) == [Severity.WARNING]
    assert severities("SCH124", hugging) == [Severity.INFO]


def test_calls_that_are_written_in_the_text_are_a_warning_at_the_result():
    hermes = row({"role": "assistant", "content": "<tool_call>{}</tool_call>"}, result(None))
    assert found(hermes) == [("SCH129", 0, 2)]
    assert severities("SCH129", hermes) == [Severity.WARNING]


def test_sharegpt_rows_with_functions_are_clean():
    turns = [
        ("human", "Rain?"),
        ("function_call", '{"name": "f", "arguments": {}}'),
        ("observation", "yes"),
        ("gpt", "Yes."),
    ]
    conversations = [{"from": speaker, "value": said} for speaker, said in turns]
    assert found({"conversations": conversations, "tools": '[{"name": "f", "parameters": {}}]'}) == []


def test_columns_of_other_names_are_looked_at_as_well(tmp_path):
    made = row([call("{")], result())
    path = write_rows(tmp_path / "rows.jsonl", [{"dialog": made["messages"], "functions_of_row": made["tools"]}])
    corpus = read_corpus([path], columns={"messages": "dialog", "tools": "functions_of_row"})
    assert found_in(corpus) == [("SCH123", 0, 1)]


def test_both_answers_of_a_pair_are_looked_at_and_their_prompt_once():
    asked = [{"role": "user", "content": "Rain?"}]
    good, bad = [{"role": "assistant", "content": None, "tool_calls": [call(text)]} for text in ("{}", "{")]
    pair = {"prompt": asked, "chosen": [good], "rejected": [bad], "tools": [WEATHER, WEATHER]}
    assert found(pair) == [("SCH123", 0, 1), ("SCH125", 0, 1), ("SCH130", 0, None)]


def test_what_a_row_declares_may_be_text_with_json_in_it():
    assert found(row([call()], result(), tools=json.dumps([WEATHER]))) == []
    assert found(row([call("{}")], result(), tools=json.dumps([WEATHER]))) == [("SCH125", 0, 1)]


@pytest.mark.parametrize(("weight", "severity"), [(2, "error"), (0.5, "error"), (1.0, "warning"), ("1", "error")])
def test_weights(weight, severity):
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": weight}]
    assert severities("SCH120", {"messages": messages}) == [Severity(severity)]


def test_only_rows_that_hold_such_things_are_read_again():
    rows = [chat("a", "b", name="x"), row(tools=None), row(), {"prompt": "a", "completion": "b", "label": True}]
    assert structured_rows(corpus_from(*rows))["index"].to_list() == [2]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4) | st.sampled_from(["function", "tool", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "type", "function", "name", "arguments", "parameters", "$ref", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "function", 5, None])},
        optional={
            "content": VALUES,
            "tool_calls": VALUES,
            "function_call": VALUES,
            "tool_call_id": VALUES,
            "weight": VALUES,
            "name": VALUES,
        },
    )
    | VALUES,
    max_size=5,
)


@settings(max_examples=300, deadline=None)
@given(messages=MESSAGES, tools=VALUES, functions=VALUES)
def test_no_value_in_any_place_stops_a_rule(messages, tools, functions):
    corpus = corpus_from({"messages": messages, "tools": tools, "functions": functions, "parallel_tool_calls": tools})
    for rule in select_rules(["schema"]):
        assert all(hit.index == 0 for hit in rule.find(corpus))


# ------------------------------------------------------------------------------------------------ JSON Schema


@pytest.mark.parametrize("reference", ["https://example.com/a.json", "file:///etc/passwd", "other.json", "urn:x:y"])
def test_references_to_the_outside_are_refused_and_nothing_is_fetched(reference, monkeypatch):
    monkeypatch.setattr("socket.socket", None)
    with pytest.raises(UserError) as caught:
        compile_schema({"properties": {"a": {"$ref": reference}}}, "here")
    assert caught.value.problems[0].what == "a schema refers to something outside itself"


def test_references_within_the_schema_work():
    validator = compile_schema({"$defs": {"word": {"type": "string"}}, "items": {"$ref": "#/$defs/word"}})
    assert [(place.path, place.found) for place in mismatches(validator, ["a", 1])] == [("$[1]", "1")]


@pytest.mark.parametrize("schema", [{"type": "dict"}, {"pattern": "("}, 5, None, [], "x", {"$ref": "#/nowhere"}])
def test_what_is_no_schema_is_an_error_with_what_was_found(schema):
    with pytest.raises(UserError) as caught:
        compile_schema(schema, "here")
    assert caught.value.problems[0].where == "here"


def test_a_pattern_from_the_data_takes_linear_time():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"pattern": "^(a+)+$"}}}}}
    rows = row([call(json.dumps({"a": "a" * 100_000 + "!"}), name="f")], result(), tools=[tool])
    before = time.process_time()
    assert found(rows) == [("SCH125", 0, 1)]
    assert time.process_time() - before < 5


def test_a_schema_from_the_data_whose_references_multiply_is_not_compiled():
    def doubled(depth: int) -> bytes:
        steps = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, depth)}
        return json.dumps({"$defs": {"d0": {"type": "integer"}} | steps, "$ref": f"#/$defs/d{depth - 1}"}).encode()

    assert compiled_schema(doubled(MAX_REFERENCES // 2)) is not None
    assert compiled_schema(doubled(60)) is None


def test_a_schema_that_refers_to_itself_ends():
    assert compile_schema({"$ref": "#"}).is_valid({"a": 1})


@pytest.mark.parametrize(
    ("parts", "path"), [([], "$"), (["a", 0, "b"], "$.a[0].b"), (["a b"], "$['a b']"), (["é"], "$.é"), ([""], "$['']")]
)
def test_json_paths(parts, path):
    assert json_path(parts) == path
