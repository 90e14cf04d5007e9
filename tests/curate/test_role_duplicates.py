"""Prompt, answer and prefix duplicates: what each verdict says, and that a row gets no two that contradict."""

from typing import Any

import pytest

from curate.rules import select_rules
from curate.rules.answer_duplicate import REFUSAL
from curate.rules.near_duplicate import EDITED, STORY
from schemas.finding import Severity
from tests.curate.made_rows import chat, corpus_from, twins

BLUE = "Blue, as the sky is over the sea on a clear day in June."
RED = "Perhaps red; it is warm, and easy to see from far away at night."
FULL = ["DUP201", "DUP202", "DUP203"]


def talk(*texts: str, system: str = "", **more: Any) -> dict[str, Any]:
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    return {"messages": ([{"role": "system", "content": system}] if system else []) + turns} | more


# ---------------------------------------------------------------------------------------------------------- prompts


def test_free_text_answers_to_one_prompt_are_prompt_duplicates():
    corpus = corpus_from(chat("Name a colour.", BLUE), chat("Name a number.", "7"), chat("name a  COLOUR.", RED))
    assert twins(corpus, "DUP205") == {0: 2}
    assert twins(corpus, "DUP205", policy="first") == {2: 0}
    (rule,) = select_rules(["DUP205"])
    assert next(iter(rule.find(corpus))).evidence == {"rows": 2}


def test_labels_that_contradict_are_a_conflict_and_no_prompt_duplicate():
    corpus = corpus_from(chat("Is it spam?", "spam"), chat("Is it spam?", "ham"))
    assert twins(corpus, "DUP205") == {}
    assert twins(corpus, "DUP205", action="drop") == {}
    assert set(twins(corpus, "CON301")) == {0, 1}
    assert twins(corpus, "DUP205", label_chars=3, policy="first") == {1: 0}


@pytest.mark.parametrize(
    ("rows", "full"),
    [
        ([chat("q", BLUE), chat("q", BLUE)], "DUP201"),
        ([chat("q", BLUE), chat("Q ", BLUE.upper())], "DUP202"),
        ([chat("Tell me.", STORY), chat("Tell me.", EDITED)], "DUP203"),
    ],
)
def test_copies_of_a_whole_row_are_left_to_the_rule_that_says_so(rows, full):
    corpus = corpus_from(*rows)
    assert twins(corpus, full)
    assert twins(corpus, "DUP205") == {}
    assert len(twins(corpus, "DUP205", action="drop")) == 1, "one row of each prompt stays"


PAIRS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"prompt": "p", "chosen": STORY, "rejected": "No idea."}, {"rejected": "Ask somebody who was there instead."}),
    ({"prompt": "p", "completion": STORY, "label": True}, {"label": False}),
    ({"prompt": STORY, "reference": "yes"}, {"reference": "never"}),
    ({**talk("p", STORY), "tools": [{"name": "a"}]}, {"tools": [{"name": "b"}]}),
    (
        {"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": STORY, "weight": 1}]},
        {"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": STORY, "weight": 0}]},
    ),
]


@pytest.mark.parametrize(("row", "change"), PAIRS, ids=["rejected", "label", "reference", "tools", "weight"])
def test_what_differs_beside_the_answer_makes_no_copy(row, change):
    corpus = corpus_from(row, row | change)
    assert [twins(corpus, code) for code in FULL] == [{}, {}, {}]
    assert [len(twins(corpus_from(row, row), code)) for code in FULL] == [1, 0, 0]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([PAIRS[0][0], PAIRS[0][0] | PAIRS[0][1]], {0: 1}),
        ([PAIRS[1][0], PAIRS[1][0] | PAIRS[1][1]], {1: 0}),
        ([{"prompt": "p", "reference": "4"}, {"prompt": "p", "reference": "15"}], {0: 1}),
        ([talk("p"), talk("p", BLUE)], {0: 1}),
        ([PAIRS[3][0], PAIRS[3][0] | PAIRS[3][1]], {}),
        ([PAIRS[0][0], chat("p", BLUE)], {}),
        ([{"text": BLUE}, {"text": RED}], {}),
        ([talk("p", BLUE, system="Be brief."), talk("p", RED, system="Be kind.")], {}),
    ],
    ids=["preference", "feedback", "reward", "prompt only", "other tools", "other kind", "text", "other instruction"],
)
def test_which_rows_ask_the_same(rows, found):
    assert twins(corpus_from(*rows), "DUP205") == found


def test_a_copy_in_a_conflict_is_information_and_weighs_once():
    corpus = corpus_from(chat("q", "ham"), chat("q", "ham"), chat("q", "spam"))
    (rule,) = select_rules(["CON301"])
    assert [hit.severity for hit in rule.find(corpus)] == [None, Severity.INFO, None]
    assert twins(corpus, "DUP201") == {1: 0}


# --------------------------------------------------------------------------------------------------------- templates


def test_variants_that_are_dropped_name_a_row_that_stays():
    texts = [f"{STORY} He counted {n} steps and {m} gulls." for n, m in ((17, 3), (93, 3), (93, 5))]
    corpus = corpus_from(*({"text": text} for text in texts))
    assert twins(corpus, "DUP204") == {1: 0, 2: 1}
    assert twins(corpus, "DUP204", action="drop") == {1: 0, 2: 0}


# ---------------------------------------------------------------------------------------------------------- answers


def test_a_long_answer_to_many_prompts_is_reported_for_all_but_the_first():
    corpus = corpus_from(
        chat("a", REFUSAL), chat("b", REFUSAL.upper()), chat("a", REFUSAL), chat("c", REFUSAL), chat("d", RED)
    )
    (rule,) = select_rules(["DUP206"])
    hits = list(rule.find(corpus))
    assert [(hit.index, hit.twin) for hit in hits] == [(1, 0), (3, 0)]
    assert hits[0].evidence == {"rows": 4, "prompts": 3}


def test_short_answers_count_only_if_asked_to():
    corpus = corpus_from(chat("a", RED), chat("b", RED), chat("c", "yes"), chat("d", "yes"))
    assert twins(corpus, "DUP206") == {}
    assert twins(corpus, "DUP206", min_words=14) == {1: 0}
    assert twins(corpus, "DUP206", min_words=15) == {}
    assert twins(corpus, "DUP206", min_words=1) == {1: 0, 3: 2}


def test_scripts_without_spaces_have_words_too():
    refusal = "很抱歉作为语言模型我无法打开链接请把文字粘贴到这里再问我一次"
    assert twins(corpus_from(chat("a", refusal), chat("b", refusal)), "DUP206") == {1: 0}
    assert twins(corpus_from(chat("a", refusal[:12]), chat("b", refusal[:12])), "DUP206") == {}


# ---------------------------------------------------------------------------------------------------------- prefixes


def test_snapshots_of_a_chat_are_dropped_for_the_longest():
    one, two, three = ("Hi", "Hello"), ("Hi", "Hello", "Who?", "I"), ("Hi", "Hello", "Who?", "I", "Why?", "So.")
    corpus = corpus_from(talk(*two), talk(*one), talk("HI ", "hello", "Who?", "I", "Why?", "So."), talk(*three))
    assert twins(corpus, "DUP207") == {0: 2, 1: 2}


@pytest.mark.parametrize(
    "rows",
    [
        [talk("Hi", "Hello"), talk("Hi", "Hello")],
        [talk("Hi"), talk("Hi", "Hello")],
        [talk("Hi", "Hello"), talk("Hi", "Hello", "Who?", "I", system="Be kind.")],
        [talk("Hi", "Hello"), talk("Hi", "Hallo", "Who?", "I")],
        [talk("Who?", "I"), talk("Hi", "Hello", "Who?", "I")],
        [talk("Hi", "Hello", tools=[{"name": "a"}]), talk("Hi", "Hello", "Who?", "I")],
        [{"text": "Hi"}, {"text": "Hi Hello"}],
    ],
    ids=["equal", "one turn", "instruction", "other answer", "suffix", "tools", "text"],
)
def test_what_is_no_prefix(rows):
    assert twins(corpus_from(*rows), "DUP207") == {}


def test_a_longer_conversation_that_may_not_train_its_first_answers_holds_nothing():
    long = talk("Hi", "Hello", "Who?", "I")
    weighted = talk("Hi", "Hello", "Who?", "I", "Why?", "So.")
    weighted["messages"][1]["weight"] = 0
    assert twins(corpus_from(talk("Hi", "Hello"), weighted), "DUP207") == {}
    assert twins(corpus_from(talk("Hi", "Hello"), weighted, long), "DUP207") == {0: 2}
    trained = talk("Hi", "Hello")
    trained["messages"][1]["weight"] = 0
    assert twins(corpus_from(trained, weighted), "DUP207") == {0: 1}
