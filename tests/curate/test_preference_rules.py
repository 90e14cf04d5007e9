"""What the rules about pairs and judged answers find, and what they leave alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.audit import audit_corpus
from curate.findings import one_per_row
from curate.preference import answer_pairs
from curate.rules import select_rules
from curate.rules.length_bias import LengthBias, wilson
from curate.rules.one_sided_feedback import OneSidedFeedback
from tests.curate.made_rows import corpus_from, distinct_rows


def found(*rows, codes=("PRF",)):
    corpus = corpus_from(*rows)
    return [(rule.code, hit.index) for rule in select_rules(codes) for hit in one_per_row(rule.find(corpus))]


def pair(chosen, rejected, prompt="Where is the lamp?", **more):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected} | more


def said(*texts, first="user"):
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


def test_one_fault_is_one_finding():
    rows = [
        pair("On the left.", "On the right."),
        pair("On the shelf.", "On the shelf.", prompt="Where are the books?"),
        {"chosen": said("Where?", "Left."), "rejected": said("Who?", "Ann.")},
        pair("On the right.", "On the left."),
        pair([{"role": "assistant", "content": "Up."}], []),
        {
            "input": {"messages": said("Why?")},
            "preferred_output": said("Because.", first="assistant"),
            "non_preferred_output": said("Because.", first="assistant"),
        },
    ]
    assert sorted(found(*rows), key=lambda hit: hit[1]) == [
        ("PRF906", 0),
        ("PRF901", 1),
        ("PRF904", 2),
        ("PRF906", 3),
        ("PRF905", 4),
        ("PRF901", 5),
    ]


def test_rows_of_other_kinds_are_not_looked_at():
    rows = [*distinct_rows(5), {"text": "a"}, {"prompt": "a", "completion": "a", "label": True}, b"{", {"x": 1}]
    assert answer_pairs(corpus_from(*rows)).is_empty()
    assert found(*rows) == []


@pytest.mark.parametrize(
    "row",
    [
        pair("", ""),
        pair(None, None),
        pair([], []),
        pair([], [{"role": "assistant", "content": "x"}]),
        pair(5, {"a": 1}),
        pair([None], [5]),
        pair([{"role": None}], [{"content": "x"}]),
        pair("a", "b", prompt=None),
        pair("a", "b", prompt=[]),
        {"chosen": [], "rejected": []},
        {"chosen": "a", "rejected": [{"role": "user", "content": "a"}]},
        {"input": 5, "preferred_output": None, "non_preferred_output": {}},
    ],
)
def test_broken_pairs_stop_no_rule(row):
    corpus = corpus_from(row, *[pair(f"{n} is the answer", f"{n} was it", prompt=f"{n}?") for n in range(3)])
    audit = audit_corpus(corpus, select_rules(["PRF", "schema"]))
    assert {finding.row for finding in audit.findings if finding.row is not None} <= {0}


def test_the_sides_of_a_pair_are_what_follows_the_prompt():
    row = {"chosen": said("a", "b", "c", "good"), "rejected": said("a", "b", "c", "bad")}
    (made,) = answer_pairs(corpus_from(row)).iter_rows(named=True)
    assert (made["chosen"], made["rejected"], made["rejected_turns"]) == ("good", "bad", 1)
    assert made["prompt"] == "user\x1fa\x1eassistant\x1fb\x1euser\x1fc"


def test_calls_of_tools_are_part_of_an_answer():
    def calling(city):
        function = {"name": "weather", "arguments": f'{{"city": "{city}"}}'}
        return [
            {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "type": "function", "function": function}]}
        ]

    assert found(pair(calling("Oslo"), calling("Bergen")), codes=["PRF901"]) == []
    assert found(pair(calling("Oslo"), calling("Oslo")), codes=["PRF901"]) == [("PRF901", 0)]


def test_pairs_under_other_tools_or_prompts_are_no_contradiction():
    one, other = pair("Left.", "Right.", tools=[{"name": "f"}]), pair("Right.", "Left.", tools=[{"name": "g"}])
    assert found(one, other, codes=["PRF906"]) == []
    assert found(one, one | {"chosen": "Right.", "rejected": "Left."}, codes=["PRF906"]) == [
        ("PRF906", 0),
        ("PRF906", 1),
    ]


def test_length_bias_names_the_share_and_its_interval_for_each_file():
    pairs = [pair("much longer", "short", prompt=f"{n}?") for n in range(95)]
    pairs += [pair("short", "much longer", prompt=f"{n}!") for n in range(5)] + [pair("same", "size", prompt="?")] * 50
    (hit,) = LengthBias().find_in_files(corpus_from(*pairs))
    assert hit.message == "the chosen answer is the longer one in 0.95 of 100 pairs (0.89 to 0.98)"
    assert hit.evidence == {"pairs": 100, "share": 0.95, "interval": [0.8882, 0.9785], "chosen": "longer"}
    turned = [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in pairs]
    (hit,) = LengthBias().find_in_files(corpus_from(*turned))
    assert hit.evidence == {"pairs": 100, "share": 0.95, "interval": [0.8882, 0.9785], "chosen": "shorter"}


@given(count=st.integers(1, 5000), share=st.floats(0, 1))
def test_wilson_agrees_with_statsmodels(count, share):
    from statsmodels.stats.proportion import proportion_confint

    hits = round(share * count)
    assert wilson(hits, count) == pytest.approx(proportion_confint(hits, count, method="wilson"), abs=1e-6)


@pytest.mark.parametrize("tools", [None, [{"name": "f"}]])
@pytest.mark.parametrize(("bad", "fires"), [(0, True), (1, False), (12, True)])
def test_feedback_with_one_label_with_tools_or_without(tools, bad, fires):
    rows = [{"prompt": f"{n}?", "completion": "x", "label": n >= bad} for n in range(12)]
    rows = [row | {"tools": tools} for row in rows] if tools else rows
    assert bool(list(OneSidedFeedback().find_in_files(corpus_from(*rows)))) is fires


@pytest.mark.parametrize(
    ("chosen", "rejected", "codes"),
    [
        ("word " * 40, "word " * 39 + "other ", ["PRF902"]),
        ("word " * 40, "word " * 20 + "other " * 20, []),
        ("answer 4", "answer 5", []),
        ("x" * 5000, "x" * 4999 + "y", []),
        (" " * 100 + "a", " " * 100 + "b", []),
        ("word\n" * 40, "word " * 39 + "other ", ["PRF902"]),
    ],
)
def test_nearly_equal_answers(chosen, rejected, codes):
    assert [code for code, _ in found(pair(chosen, rejected), codes=["PRF901", "PRF902"])] == codes
