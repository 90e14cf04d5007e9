"""Personal data and secrets: shown nowhere, redacted everywhere, and JSON stays JSON."""

import random

import orjson
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.audit import audit_corpus
from curate.findings import one_per_row
from curate.outputs import render
from curate.pipeline import curate
from curate.readers import source_from_bytes
from curate.rewriting import rewrite_text, rewrite_value, rewritten
from curate.rows import Corpus
from curate.rules import all_rules, select_rules
from curate.sensitive import SensitiveRule, masked, masker, stems, unescaped
from tests.curate.made_rows import chat, corpus_from, distinct_rows, lines_of, make_project

RULES = [rule for rule in all_rules() if issubclass(rule, SensitiveRule)]
FORMATS = ("text", "json", "sarif", "junit", "github", "markdown")


def texts_of(value) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts_of(item)]
    return [text for item in value for text in texts_of(item)] if isinstance(value, list) else []


def examples() -> list[tuple[type[SensitiveRule], str, str]]:
    """Each text in which a rule's example fires, with the value as it is written there."""
    found = []
    for rule in RULES:
        for example in rule.fires:
            corpus = source_from_bytes(lines_of(list(example.lines)))
            for text in pl.concat([corpus.turns["content"], corpus.rows["metadata"]]).drop_nulls():
                plain, _ = unescaped(text)
                found += [(rule, plain, plain[value.start : value.stop]) for value in rule().values(plain)]
    return found


EXAMPLES = examples()
IDS = [f"{rule.code}-{number}" for number, (rule, _, _) in enumerate(EXAMPLES)]


def escaped(text: str) -> str:
    """JSON in which every character is an escape."""
    return '"' + "".join(f"\\u{ord(char):04x}" for char in text) + '"'


def holders(text: str) -> list[object]:
    """Rows and raw lines that hold a text in every place that there is."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": orjson.dumps({"to": text}).decode()}}
    told = {"role": "assistant", "content": None, "tool_calls": [call]}
    return [
        chat(text, "ok"),
        chat("hello", text),
        chat(f"{'long ' * 1000}{text}", "ok"),
        chat("hello", "ok", note=text),
        chat("hello", "ok", deep=[{"a": [text]}]),
        chat("hello", "ok", **{text: 1}),
        {"messages": [{"role": "user", "content": "hello"}, told], "source": text},
        {"messages": [{"role": text, "content": "hello"}, {"role": "assistant", "content": "ok"}]},
        {"text": text, text: "a key"},
        b'{"text": ' + orjson.dumps(text)[:-1],
        b'{"text": ' + escaped(text).encode() + b', "more": }',
        b'{"text": ' + escaped(text).encode() + b"}",
        text.encode().replace(b"\n", b" "),
        b"\xff " + text.encode().replace(b"\n", b" "),
    ]


def spellings(value: str) -> list[str]:
    return [value, orjson.dumps(value).decode()[1:-1], escaped(value)[1:-1]]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("rule", "text", "value"), EXAMPLES, ids=IDS)
def test_no_output_shows_a_value_wherever_it_stands(rule, text, value, form):
    corpus = source_from_bytes(lines_of(holders(text)))
    shown = render(audit_corpus(corpus, select_rules([])), form, 0, True)
    assert [spelt for spelt in spellings(value) if spelt in shown] == []


@pytest.mark.parametrize(("rule", "text", "value"), EXAMPLES, ids=IDS)
def test_each_place_of_a_row_that_can_be_read_is_found(rule, text, value):
    readable = [row for row in holders(text) if not isinstance(row, bytes)]
    hits = rule().find(source_from_bytes(lines_of(readable)))
    # A role is no text of the row.
    assert {hit.index for hit in hits} == set(range(len(readable))) - {7}


@pytest.mark.parametrize(("rule", "text", "value"), EXAMPLES, ids=IDS)
def test_redaction_leaves_no_copy_and_tool_calls_stay_json(rule, text, value):
    corpus = source_from_bytes(lines_of([row for row in holders(text) if not isinstance(row, bytes)]))
    found = pl.Series([hit.index for hit in one_per_row(rule().find(corpus))], dtype=pl.UInt32)
    clean = rewritten(corpus, rule(), found)
    for index in found:
        record = clean.record(index)
        assert value not in orjson.dumps(record).decode()
        for message in record.get("messages", []):
            for call in message.get("tool_calls", []):
                assert value not in orjson.loads(call["function"]["arguments"])["to"]
    frames = [clean.turns["content"], clean.turns["calls"], clean.rows["metadata"]]
    kept = pl.concat(frames).drop_nulls()
    assert [said for said in kept if value in said] == []
    assert list(rule().find(clean)) == []


def test_what_curate_writes_holds_no_value_of_a_redacted_row(tmp_path):
    rows = [*distinct_rows(60)]
    for number, (_, text, _) in enumerate(EXAMPLES):
        row = distinct_rows(1, start=100 + number)[0]
        row["messages"][0]["content"] += f" {text}"
        row["metadata"]["note"] = text
        rows.append(row)
    rules = {"pii": {"action": "redact"}, "secret": {"action": "redact"}}
    steps = ["exact-duplicate", "secret", "pii"]
    project = make_project(tmp_path, rows, curate={"steps": steps, "rules": rules})
    folder = curate(project).path.parent
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".parquet")
    for path in folder.rglob("*.parquet"):
        written += pl.read_parquet(path).drop("raw", strict=False).write_json().encode()
    left = {value for _, _, value in EXAMPLES if any(spelt.encode() in written for spelt in spellings(value))}
    assert left == set()


def test_a_bare_number_becomes_text_and_the_arguments_stay_json():
    (rule,) = select_rules(["payment-card"])
    arguments = '{"card": 4556842109376611, "amount": 12}'
    rewrite = rule.rewriter([arguments])
    said = rewrite_text(arguments, rewrite)
    assert orjson.loads(said) == {"card": rewrite("4556842109376611"), "amount": 12}
    assert orjson.loads(said)["card"].startswith("<card-")


def test_the_layout_of_json_text_stays_where_only_texts_change():
    (rule,) = select_rules(["mail-address"])
    assert rewrite_text('{\n    "to":   "kim@kde.org"\n}', rule.rewrite) == '{\n    "to":   "<mail-0ee0>"\n}'.replace(
        "<mail-0ee0>", rule.rewrite("kim@kde.org")
    )


def test_keys_are_rewritten_and_none_is_lost():
    (rule,) = select_rules(["mail-address"])
    pseudonym = rule.rewrite("kim@kde.org")
    assert rewrite_value({"kim@kde.org": 1, "KIM@KDE.ORG": 2, pseudonym: 3}, rule.rewrite) == {
        f"{pseudonym}-2": 1, f"{pseudonym}-3": 2, pseudonym: 3,
    }  # fmt: skip


def test_a_value_without_its_word_is_redacted_where_the_row_has_the_word_elsewhere():
    (rule,) = select_rules(["national-id"])
    corpus = corpus_from(
        chat("My SSN is 536-22-8726", "I noted 536-22-8726.", field={"kind": "ssn", "value": "536-22-8726"})
    )
    clean = rewritten(corpus, rule, pl.Series([0], dtype=pl.UInt32))
    assert b"536-22-8726" not in orjson.dumps(clean.record(0))


def test_a_key_that_is_cut_off_and_a_value_at_the_edge_of_an_excerpt_stay_hidden():
    key = "-----BEGIN RSA PRIVATE" + " KEY-----\n" + "MIIEowIBAAKCAQEA7v" * 400
    for text in (key, "-" * 4080 + " kim.miller@posteo.net"):
        shown = render(audit_corpus(corpus_from(chat(text, "ok")), select_rules([])), "text", 0, True)
        assert "MIIEow" not in shown
        assert "kim.mil" not in shown


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from([text for _, text, _ in EXAMPLES] + ["a", "\\", '"', "\n", "12", " "]), max_size=6),
    st.randoms(),
)
def test_masking_a_mixture_hides_every_value_that_its_parts_have(parts, chance: random.Random):
    mask = masker(select_rules([]))
    text = " | ".join(parts)
    shown = mask(text)
    assert mask(shown) == shown
    for _, part, value in EXAMPLES:
        if part in parts:
            assert value not in shown


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_undoing_escapes_gives_the_place_of_each_character(text):
    coded = orjson.dumps(text).decode()
    plain, places = unescaped(coded)
    if places is None:
        assert plain == coded
    else:
        assert len(places) == len(plain) + 1
        assert places[-1] == len(coded)
        assert places == sorted(places)


def test_masking_keeps_the_form_of_plain_data():
    mask = masker(select_rules(["mail-address"]))
    assert masked({"kim@kde.org": ["kim@kde.org", 1, None, True]}, mask) == {
        mask("kim@kde.org"): [mask("kim@kde.org"), 1, None, True]
    }


def test_a_stem_stands_in_every_word():
    assert stems(r"\bssn\b|social.?security|\bt\.c\.").pattern == r"ssn|security|t\.c"
    assert stems("tele?phone").pattern == "phone"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_hostile_text_takes_no_more_than_its_length(rule):
    pieces = [
        "1 ",
        "1.",
        "a@a.",
        "://a:b",
        "A1",
        "eyJ",
        "password=",
        "password: ",
        "12 A ",
        "-----BEGIN ",
        "+1 ",
        "4111 ",
        "(",
        "2001:",
        "DE12 ",
        "rue ",
    ]
    corpus: Corpus = corpus_from(*(chat((piece * 1_000_000)[:200_000], "ok") for piece in pieces))
    list(rule().find(corpus))
    mask = masker([rule()])
    for piece in pieces:
        mask((piece * 2000)[:4096])
