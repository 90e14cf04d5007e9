"""The guard: no held-out row in the index, and every document that merely says the answer stays."""

import random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.retrieval.guard import NEAREST, guard
from evals.retrieval.passages import Document, Passage, passages_of, plain_paragraphs

QUESTION = (
    "The harbour of Oldmoor filled up with sand every winter, and ships had to wait outside for days before they could "
    "land their cargo. In which year did the town council move the harbour to the north side of the bay?"
)
FACT = (
    "Oldmoor is a small town by the sea. In 1913 its council had a new harbour built north of the bay, since the old "
    "one was lost to sand. Fishing is what most people there live on."
)
OTHERS = [
    "Bread is baked at night in most bakeries, so that it is fresh when the first customers come in the morning.",
    "A good saw is kept dry and is sharpened as soon as it begins to tear the wood instead of cutting it.",
    "The library lends books for four weeks, and longer if nobody else has asked for them in the meantime.",
]


def row(question=QUESTION, answer="1913", item_id="t1"):
    return SimpleNamespace(item_id=item_id, question=question, answer=answer)


def passage(text, name="a.txt:1"):
    return Passage(name, name, text, name.rpartition(":")[0] or name)


def guarded(text, *rows):
    plain = [passage(other, f"other{k}.txt:1") for k, other in enumerate(OTHERS)]
    found = guard([*plain, passage(text)], rows or [row()])
    assert {one.passage_id for one in found.kept} | {one.passage.passage_id for one in found.removed} == {
        *(one.passage_id for one in plain),
        "a.txt:1",
    }
    assert {one.passage_id for one in plain} <= {one.passage_id for one in found.kept}
    return [(one.item_id, one.why) for one in found.removed]


def changed(text, rate, seed=0):
    draw = random.Random(seed)
    words = text.split()
    for at in draw.sample(range(len(words)), round(rate * len(words))):
        words[at] = draw.choice(("lantern", "orchard", "quiet", "copper", "thirteen", "meadow"))
    return " ".join(words)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (QUESTION, "question"),
        (QUESTION.upper().replace(" ", "  \n"), "question"),
        (f"{OTHERS[0]} {QUESTION} {OTHERS[1]}", "question"),
        (f"{QUESTION}\n1913", "question-and-answer"),
        (changed(QUESTION, 0.1), "question"),
        (changed(QUESTION, 0.3), "near-duplicate"),
        (f"{OTHERS[1]} {changed(QUESTION, 0.3)} {OTHERS[2]}", "near-duplicate"),
    ],
)
def test_the_guard_fires(text, why):
    assert guarded(text) == [("t1", why)]


@pytest.mark.parametrize(
    "text",
    [
        FACT,
        "1913",
        "The harbour of Oldmoor was moved to the north side of the bay by the town council in the year 1913.",
        "The harbour of Oldmoor filled up with sand every winter, and ships had to wait outside for days before they "
        "could land their cargo. The town council moved it in 1913.",
        OTHERS[0] + " Oldmoor.",
    ],
)
def test_a_document_that_says_the_answer_stays(text):
    assert guarded(text) == []


SHORT = "When was the harbour of Oldmoor moved to the north side of the bay?"
LONG_ANSWER = (
    "It was moved in 1913 since the old one was lost to the sand that every winter brought, and no ship could land."
)


@pytest.mark.parametrize("question", [SHORT, SHORT.lower().strip("?")])
@pytest.mark.parametrize(
    ("answer", "text", "found"),
    [
        ("1913", "The harbour of Oldmoor was moved to the north side of the bay in 1913.", False),
        ("In 1913.", f"{FACT} The harbour of Oldmoor was moved to the north side of the bay in 1913, they say.", False),
        ("1913", f"{OTHERS[0]} {SHORT} {OTHERS[1]}", True),
        ("1913", f"{OTHERS[0]} When was the port of Oldmoor moved to the north side of the bay? In 1913.", True),
        ("1913", f"{SHORT.upper()} 1913", True),
        ("1913", f"{OTHERS[0]}\n{SHORT.replace(' ', chr(10))}\n1913", True),
        (LONG_ANSWER, f"{SHORT}\n{LONG_ANSWER}", True),
    ],
)
def test_a_sentence_that_answers_is_told_from_one_that_asks(question, answer, text, found):
    assert bool(guarded(text, row(question, answer))) is found


def test_without_a_question_mark_a_long_answer_behind_the_questions_words_counts():
    text = f"The harbour of Oldmoor was moved to the north side of the bay. {LONG_ANSWER}"
    assert guarded(text, row(SHORT, LONG_ANSWER)) == []
    assert guarded(text, row(SHORT.lower().strip("?"), LONG_ANSWER)) == [("t1", "question-and-answer")]


def test_a_row_that_is_cut_into_passages_is_found_in_all_of_them():
    text = f"{OTHERS[0]}\n\n{QUESTION}\n\n{OTHERS[1]}"
    for said in (text, text.replace(QUESTION, changed(QUESTION, 0.2))):
        passages = list(passages_of(Document("long.txt", "long.txt", plain_paragraphs(said, 1)), 15))
        assert len(passages) > 5
        found = guard(passages, [row()])
        assert OTHERS[0].split()[0] in found.kept[0].text
        assert "".join(one.text for one in found.kept).count("Oldmoor") == 0
        assert len(found.removed) >= 2


def test_more_copies_than_are_looked_at_at_once_are_all_found():
    copies = [passage(changed(QUESTION, 0.3, seed) + f" {seed}", f"copy{seed}:1") for seed in range(45)]
    others = [passage(text, f"other{k}:1") for k, text in enumerate(OTHERS)]
    found = guard([*copies, *others], [row()])
    assert len(found.removed) > 2 * NEAREST - 1


@pytest.mark.parametrize(
    ("question", "answer", "text", "found"),
    [
        ("Hi!", "Hello, what can I do for you today?", "Hi!\nHello, what can I do for you today?", True),
        ("Hi!", "Hello, what can I do for you today?", "Say hi to everybody. Hello is what people say.", False),
        ("Capital of France?", "Paris", "Capital of France? Paris", True),
        ("Capital of France?", "Paris", "Paris is the capital of France.", False),
        ("Paris?", "Paris", "Paris", True),
        ("Opening hours", "9 to 5", "Opening hours\n9 to 5 on all days but Sunday, when the shop is closed.", False),
        ("Hi!", "Hello, what can I do for you today?", f"{OTHERS[0]} Hi! Hello, what can I do for you today?", True),
    ],
)
def test_short_rows_are_found_with_their_answer(question, answer, text, found):
    assert bool(guarded(text, row(question, answer))) is found


def test_rows_that_share_a_template_do_not_take_each_other_out():
    ask = (
        "Is the following review of a restaurant good or bad? Answer with one word, good or bad, and say nothing else. "
    )
    places = [
        "the soup was cold and thin",
        "we loved every dish of it",
        "nobody brought us the bill",
        "warm bread and kind people",
    ]
    trained = [passage(f"{ask}Review: {text}.\ngood", f"r{k}") for k, text in enumerate(places[:3])]
    found = guard(trained, [row(f"{ask}Review: {places[3]}.", "good")])
    assert len(found.kept) == 3
    assert guard(
        [*trained, passage(f"{ask}review: {places[3]}!\ngood", "leak")], [row(f"{ask}Review: {places[3]}.", "good")]
    ).removed


def test_a_row_of_the_same_kind_with_other_numbers_stays():
    asked = (
        "Tom has {} apples and {} pears in his basket, and his sister brings {} more apples from the garden. He eats "
        "{} of the pears on his way to school. How many pieces of fruit does he have when he gets there?"
    )
    held = row(asked.format(3, 5, 7, 2), "13")
    assert guarded(asked.format(30, 51, 17, 22), held) == []
    assert guarded(asked.format(3, 5, 7, 2).replace("school", "work"), held) != []


def test_a_quotation_of_which_a_row_asks_stays():
    said = "Two roads diverged in a wood, and I took the one less travelled by, and that has made all the difference."
    held = row(f"Which famous poet of the last century wrote these words: {said}", "Robert Frost")
    assert guarded(f"{OTHERS[0]} {said} {OTHERS[1]}", held) == []
    named = row(f"Name the author of this passage: {said}", "Robert Frost")
    assert guarded(f"{OTHERS[0]} I think of Robert Frost: {said} {OTHERS[1]}", named) == []
    assert guarded(f"{OTHERS[0]} {held.question} {OTHERS[1]}", held) == [("t1", "question")]


CHINESE = (
    "\u5965\u5fb7\u83ab\u5c14\u7684\u6e2f\u53e3\u6bcf\u5e74\u51ac\u5929\u90fd\u4f1a\u88ab\u6c99\u5b50"
    "\u586b\u6ee1\uff0c\u8239\u53ea\u5fc5\u987b\u5728\u5916\u9762\u7b49\u5f85\u3002"
)
CHINESE_ASKS = "\u9547\u8bae\u4f1a\u54ea\u4e00\u5e74\u628a\u5b83\u79fb\u5230\u5317\u8fb9\uff1f"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (CHINESE + CHINESE_ASKS, True),
        (f"{OTHERS[0]}{CHINESE}{CHINESE_ASKS}{OTHERS[1]}", True),
        (
            (CHINESE + CHINESE_ASKS)
            .replace("\u51ac", "\u590f")
            .replace("\u8239", "\u8f66")
            .replace("\u628a", "\u5c06"),
            True,
        ),
        (CHINESE, False),
        (
            f"{CHINESE[:20]}\u3002\u4e00\u4e5d\u4e00\u4e09\u5e74\u9547\u8bae\u4f1a\u628a\u5b83\u79fb\u8d70\u4e86\u3002",
            False,
        ),
    ],
)
def test_scripts_without_blanks_are_guarded(text, found):
    assert bool(guarded(text, row(CHINESE + CHINESE_ASKS, "1913"))) is found


def test_nothing_to_guard_or_to_be_guarded_against():
    assert guard([], [row()]).kept == []
    assert [one.passage_id for one in guard([passage(FACT)], []).kept] == ["a.txt:1"]
    assert [one.passage_id for one in guard([passage(FACT)], [row("  ", "1913")]).kept] == ["a.txt:1"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([*OTHERS, FACT, QUESTION, f"{QUESTION}\n1913"]), max_size=6),
    st.randoms(use_true_random=False),
)
def test_every_passage_is_kept_or_removed_and_order_does_not_matter(said, draw):
    passages = [passage(text, f"p{k}") for k, text in enumerate(said)]
    found = guard(passages, [row()])
    assert [one for one in passages if one in found.kept] == found.kept
    assert {one.passage_id for one in found.kept} == {
        one.passage_id for one in passages if "which year" not in one.text
    }
    mixed = draw.sample(passages, len(passages))
    assert {one.passage_id for one in guard(mixed, [row()]).kept} == {one.passage_id for one in found.kept}
