"""What holds for the duplicate rules whatever the rows, the order of the steps and the options are."""

from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup import normalise
from curate.findings import one_per_row
from curate.rules import select_rules
from curate.rules.answer_duplicate import REFUSAL
from curate.rules.base import Action
from curate.rules.near_duplicate import EDITED, STORY
from curate.steps import run_steps
from schemas.finding import Severity
from tests.curate.made_rows import corpus_from

FULL = ["exact-duplicate", "normalised-duplicate", "near-duplicate"]
STEPS = [*FULL, "template-variant", "prompt-duplicate", "answer-duplicate", "prefix-duplicate", "conflict"]
CHOOSING = [*FULL, "prompt-duplicate", "answer-duplicate"]

SAID = st.sampled_from(["Hi", "hi ", "Why?", "Name a colour.", STORY, EDITED])
COUNTED = [f"{STORY} He counted {n} steps, {m} gulls." for n, m in ((17, 3), (93, 3), (93, 5), (17, 5))]
ANSWER = st.sampled_from(["yes", "Yes", "no", "", REFUSAL, REFUSAL.upper(), STORY, EDITED, f"{STORY} Or so.", *COUNTED])
SCORE = st.fixed_dictionaries({}, optional={"score": st.sampled_from([1, 2.5, "3", -1, None, "none"])})


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    turns: list[dict[str, Any]] = [{"role": "system", "content": "Be kind."}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns.append({"role": "user", "content": draw(SAID)})
        turns.append({"role": "assistant", "content": draw(ANSWER)})
    if draw(st.integers(0, 3)) == 0:
        turns.pop()
    if draw(st.integers(0, 7)) == 0:
        turns[-1]["weight"] = draw(st.integers(0, 1))
    return {"messages": turns}


SHORT_TALK = st.lists(st.sampled_from(["a", "A ", "b"]), min_size=1, max_size=6).map(
    lambda texts: {
        "messages": [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    }
)
RECORD = st.one_of(
    conversations(),
    SHORT_TALK,
    st.builds(lambda p, a: {"prompt": p, "completion": a}, SAID, ANSWER),
    st.builds(lambda p, a, b: {"prompt": p, "chosen": a, "rejected": b}, SAID, ANSWER, ANSWER),
    st.builds(lambda p, a, label: {"prompt": p, "completion": a, "label": label}, SAID, ANSWER, st.booleans()),
    st.builds(lambda p, a: {"prompt": p, "reference": a}, SAID, ANSWER),
    st.builds(lambda text: {"text": text}, st.one_of(SAID, st.sampled_from(COUNTED))),
    st.just({"other": 1}),
)
ROW = st.builds(lambda record, metadata: record | metadata, RECORD, SCORE)
ROWS = st.lists(ROW, min_size=1, max_size=14).map(lambda rows: [{"text": "scored", "score": 0}, *rows])
POLICY = st.sampled_from([{}, {"policy": "first"}, {"policy": "longest"}, {"policy": "best", "best_by": "score"}])


@st.composite
def options(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    given: dict[str, dict[str, Any]] = {name: dict(draw(POLICY)) for name in CHOOSING}
    for name in ("prompt-duplicate", "answer-duplicate", "template-variant"):
        given.setdefault(name, {})["action"] = draw(st.sampled_from(["keep", "drop"]))
    given["near-duplicate"]["setting"] = draw(st.sampled_from(["default", "fast"]))
    return given


@settings(max_examples=60)
@given(ROWS, st.permutations(STEPS), options())
def test_no_row_is_lost_in_any_order_and_every_drop_names_a_row_that_stays(rows, steps, given_options):
    corpus = corpus_from(*rows)
    rules = select_rules(steps, given_options)
    kept, ledger, _ = run_steps(corpus, rules)
    ledger.close(kept.height)
    assert set(kept.rows["index"]) | set(ledger.drops["index"]) == set(range(len(rows)))
    assert not set(ledger.drops["code"]) & {"CON301", "CON302"}
    for rule in rules:
        if rule.effective_action is not Action.DROP:
            continue
        hits = one_per_row(rule.find(corpus))
        left = corpus.without(hit.index for hit in hits)
        assert {hit.twin for hit in hits} <= set(left.rows["index"])
        corpus = left
    assert corpus.rows["index"].to_list() == kept.rows["index"].to_list()


@settings(max_examples=60)
@given(ROWS)
def test_a_row_is_a_copy_or_a_label_in_conflict_or_a_prompt_duplicate(rows):
    corpus = corpus_from(*rows)
    hits = {rule.name: list(rule.find(corpus)) for rule in select_rules(STEPS)}
    found = {name: {hit.index for hit in of_rule} for name, of_rule in hits.items()}
    labels = {hit.index for hit in hits["conflict"] if hit.severity is not Severity.INFO}
    asked = found["prompt-duplicate"]
    assert not asked & (labels | found["exact-duplicate"] | found["normalised-duplicate"] | found["near-duplicate"])
    assert not labels & (found["exact-duplicate"] | found["normalised-duplicate"])
    for rule in select_rules(["prompt-duplicate"], {"prompt-duplicate": {"action": "drop"}}):
        assert not {hit.index for hit in rule.find(corpus)} & labels


def prefixes_by_hand(rows: list[dict[str, Any]]) -> set[tuple[int, int]]:
    """Every pair of rows compared, turn by turn."""
    talks = {}
    for index, row in enumerate(rows):
        if "messages" in row:
            said = normalise(pl.Series([turn["content"] for turn in row["messages"]], dtype=pl.String)).to_list()
            weights = [(n, turn["weight"]) for n, turn in enumerate(row["messages"]) if "weight" in turn]
            talks[index] = ([turn["role"] for turn in row["messages"]], said, weights)
        elif "completion" in row and "label" not in row:
            said = normalise(pl.Series([row["prompt"], row["completion"]])).to_list()
            talks[index] = (["user", "assistant"], said, [])
    pairs = set()
    for index, (roles, said, weights) in talks.items():
        size = len(said)
        longer = [
            (-len(other[1]), at)
            for at, other in talks.items()
            if len(other[1]) > size >= 2 and (other[0][:size], other[1][:size], other[2]) == (roles, said, weights)
        ]
        if longer:
            pairs.add((index, min(longer)[1]))
    return pairs


@settings(max_examples=200)
@given(st.one_of(st.lists(SHORT_TALK, min_size=3, max_size=16), st.lists(RECORD, min_size=1, max_size=16)))
def test_prefixes_are_those_that_comparing_all_pairs_finds(rows):
    (rule,) = select_rules(["prefix-duplicate"])
    hits = list(rule.find(corpus_from(*rows)))
    assert {(hit.index, hit.twin) for hit in hits} == prefixes_by_hand(rows)
    assert len({hit.index for hit in hits}) == len(hits)
