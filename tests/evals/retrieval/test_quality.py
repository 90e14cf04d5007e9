"""Retrieval judged by itself, groundedness of answers, and what the context has room for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.retrieval.fit import fit
from evals.retrieval.passages import Passage
from evals.retrieval.quality import groundedness, retrieval_quality
from evals.retrieval.search import Hit
from evals.stats import wilson

PASSAGES = [
    Passage("a.txt:1", "a.txt:1", "The harbour was moved in 1913.", "a.txt"),
    Passage("a.txt:1#2", "a.txt:1", "It is deep.", "a.txt"),
    Passage("kb.jsonl:4", "kb.jsonl:4", "Bread is baked at night.", "k4", also=("kb.jsonl:9",)),
]
HITS = [Hit(passage, 1.0) for passage in PASSAGES]


@pytest.mark.parametrize(
    ("gold", "rank"),
    [
        ({"a.txt:1"}, 1),
        ({"a.txt:1#2"}, 2),
        ({"a.txt"}, 1),
        ({"k4"}, 3),
        ({"kb.jsonl"}, 3),
        ({"kb.jsonl:9"}, 3),
        ({" BAKED at  night "}, 3),
        ({"nowhere", "it is deep"}, 2),
        ({"191"}, 0),
        ({"bread is baked tonight"}, 0),
    ],
)
def test_gold_names_a_passage_a_record_a_file_or_its_words(gold, rank):
    found = retrieval_quality([HITS], [gold], (1, 2, 3))
    assert found["mrr"]["estimate"] == (pytest.approx(1 / rank, abs=1e-6) if rank else 0)
    assert [found["recall_at_k"][str(k)]["estimate"] for k in (1, 2, 3)] == [float(0 < rank <= k) for k in (1, 2, 3)]


def test_recall_has_an_interval_and_counts_items_with_gold_alone():
    found = retrieval_quality([HITS] * 5, [{"a.txt"}, {"k4"}, None, set(), {"gone"}], (1, 3), passages=PASSAGES)
    assert found["items"] == 3
    assert found["gold_missing"] == 1
    low, high = wilson(1, 3, 0.05)
    first = found["recall_at_k"]["1"]
    assert (first["items"], first["clusters"], first["method"]) == (3, 3, "Wilson score")
    assert [first[name] for name in ("estimate", "low", "high")] == pytest.approx([1 / 3, low, high], abs=1e-6)
    assert found["recall_at_k"]["3"]["estimate"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["mrr"]["estimate"] == pytest.approx((1 + 1 / 3) / 3, abs=1e-6)


def test_dependent_items_widen_the_interval():
    gold = [{"a.txt"}, {"a.txt"}, {"gone"}, {"gone"}] * 4
    alone = retrieval_quality([HITS] * 16, gold, (1,))["recall_at_k"]["1"]
    tied = retrieval_quality([HITS] * 16, gold, (1,), clusters=[at // 2 for at in range(16)])["recall_at_k"]["1"]
    assert tied["clusters"] == 8
    assert tied["high"] - tied["low"] > alone["high"] - alone["low"]


def test_without_gold_nothing_is_said():
    assert retrieval_quality([HITS], [None], (1,)) == {
        "items": 0, "recall_at_k": None, "mrr": None, "gold_missing": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        ("The harbour was moved in 1913.", 1.0),
        ("HARBOUR, 1914!", 0.5),
        ("a castle", 0.0),
        ("it is of the", None),
        ("", None),
        ("Ham", None),
    ],
)
def test_groundedness_is_the_share_of_content_words(answer, share):
    assert groundedness(answer, PASSAGES, labels=("ham", "spam")) == share


def test_groundedness_in_a_script_without_blanks():
    shown = [Passage("a", "a", "\u6e2f\u53e3\u8fc1\u79fb\u4e86")]
    assert groundedness("\u6e2f\u53e3\u5f88\u6df1", shown) == pytest.approx(1 / 3)
    assert groundedness("\u6e2f\u53e3", []) == 0.0


def count(text):
    return len(text)


def test_what_does_not_fit_is_cut_at_a_word_and_counted():
    assert fit(PASSAGES, 100, count) == (PASSAGES, False)
    kept, cut = fit(PASSAGES, 38, count)
    assert ([one.text for one in kept], cut) == (["The harbour was moved in 1913.", "It is"], True)
    assert fit(PASSAGES, 2, count) == ([], True)
    assert fit(PASSAGES, -5, count) == ([], True)
    assert fit([], -5, count) == ([], False)


@given(st.lists(st.text(alphabet="ab \u6e2f", min_size=1, max_size=20), max_size=5), st.integers(-3, 60))
def test_what_is_kept_fits_and_is_the_beginning_of_what_was_found(texts, room):
    passages = [Passage(str(at), "a", text) for at, text in enumerate(texts)]
    kept, cut = fit(passages, room, count)
    assert sum(count(one.text) for one in kept) <= max(room, 0)
    assert cut == (kept != passages)
    assert all(whole.text.startswith(one.text) for one, whole in zip(kept, passages, strict=False))
    assert [one.passage_id for one in kept] == [one.passage_id for one in passages[: len(kept)]]
