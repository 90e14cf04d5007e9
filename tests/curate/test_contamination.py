"""Eval items in training rows: found however they are dressed, and nothing else."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.contamination.index import ANSWER, CHOICE, QUESTION, build_index, merge, word_hashes
from curate.contamination.items import Item, eval_items, parts_of
from curate.contamination.scan import scan_rows
from curate.contamination.verdicts import Grade, contamination
from curate.contamination.words import comparable
from curate.readers.read import read_corpus
from tests.curate.made_rows import chat, corpus_from, distinct_rows

QUESTION_TEXT = (
    "A farmer has twelve sheep, 4 dogs and 17 hens, and he sells all but five of the sheep at the market on Friday. "
    "How many animals does he still have when he comes home?"
)
SOLUTION = "He keeps five sheep, four dogs and seventeen hens, which makes 5 + 4 + 17 = 26 animals.\n#### 26"
ITEM = {"question": QUESTION_TEXT, "answer": SOLUTION}
SHORT = {"question": "What is 7 times 8?", "answer": "56"}
CHOICE_ITEM = {
    "question": "Which of these is true?",
    "choices": [
        "The moon of the larger planet turns around it twice a day",
        "The sun is made of burning coal and iron ore",
        "Water boils at a lower temperature on high mountains",
        "Sound travels faster through empty space than through air",
    ],
    "answer": "C",
}


def graded(*rows, evals=(ITEM, SHORT, CHOICE_ITEM), padding=0):
    index = build_index(eval_items(corpus_from(*evals)) if isinstance(evals, tuple) else evals)
    verdicts, _ = contamination(corpus_from(*rows, *distinct_rows(padding)), index.telling)
    best: dict[int, tuple[Grade, int]] = {}
    for verdict in verdicts:
        best.setdefault(verdict.index, (verdict.grade, verdict.item))
    return [best.get(k) for k in range(len(rows))]


DRESSED = {
    "verbatim": QUESTION_TEXT,
    "case and space": QUESTION_TEXT.upper().replace(" ", "  \n"),
    "wrapped": f"Solve this.\n\nQuestion: {QUESTION_TEXT}\nThink step by step.",
    "markdown": QUESTION_TEXT.replace("twelve sheep", "**twelve** _sheep_").replace("17", "`17`"),
    "latex": QUESTION_TEXT.replace("17", r"$17$").replace("4", r"\text{4}"),
    "html": "<p>" + QUESTION_TEXT.replace("farmer", "<b>farmer</b>&nbsp;") + "</p>",
    "embedded": "Long ago I read this and wondered. " * 20 + QUESTION_TEXT + " I never found out what it was. " * 20,
    "edited": QUESTION_TEXT.replace("market", "fair").replace("sells", "gives away").replace("comes", "walks"),
    "full width": QUESTION_TEXT.replace("A farmer", "\uff21 \uff46\uff41\uff52\uff4d\uff45\uff52"),
}


def test_a_paragraph_of_plain_text_is_an_item(tmp_path):
    path = tmp_path / "held_out.txt"
    path.write_text(f"A first paragraph that nobody trained on.\n\n{QUESTION_TEXT}\n", "utf-8")
    (found,) = graded(chat(QUESTION_TEXT, "Many."), evals=eval_items(read_corpus([path])), padding=30)
    assert found == (Grade.QUESTION, 1)


@pytest.mark.parametrize("text", DRESSED.values(), ids=DRESSED)
def test_an_item_is_found_however_it_is_dressed(text):
    assert graded(chat(text, SOLUTION), chat(text, "It is 26, I think."), padding=30) == [(Grade.BOTH, 0)] * 2
    assert graded(chat(text, "I cannot tell."), padding=30)[0] == (Grade.QUESTION, 0)


def test_plain_text_and_preference_rows_are_scanned_too():
    rows = [
        {"text": f"From my notes: {QUESTION_TEXT} The answer was 26."},
        {"prompt": QUESTION_TEXT, "chosen": "26", "rejected": "27"},
        {"prompt": "Tell me.", "chosen": "No.", "rejected": f"You asked: {QUESTION_TEXT}"},
    ]
    assert [found and found[0] for found in graded(*rows)] == [Grade.BOTH, Grade.BOTH, Grade.QUESTION]


def test_other_numbers_make_a_variant():
    changed = QUESTION_TEXT.replace("17", "23").replace("4 dogs", "9 dogs")
    assert graded(chat(changed, "It is 37.")) == [(Grade.VARIANT, 0)]


def test_short_items_need_their_answer():
    rows = [
        chat("What is 7 times 8?", "It is 56."),
        chat("7 x 8 please. What is 7 times 8?\nThanks", "56"),
        chat("What is 7 times 8?", "I do not do sums."),
        chat("What is 7 times 9?", "63"),
        chat("Tell me a joke", "56"),
    ]
    assert graded(*rows) == [*[(Grade.BOTH, 1)] * 2, (Grade.PARTIAL, 1), (Grade.VARIANT, 1), None]


def test_the_order_and_the_letters_of_choices_hide_nothing():
    shuffled = [CHOICE_ITEM["choices"][k] for k in (3, 0, 2, 1)]
    asked = "Which of these is true?\n" + "\n".join(
        f"({letter}) {text}." for letter, text in zip("1234", shuffled, strict=True)
    )
    right = "Water boils at a lower temperature on high mountains."
    assert graded(chat(asked, right)) == [(Grade.BOTH, 2)]
    assert graded(chat("Which of these is true?\n(a) No cat can swim\n(b) All dogs can fly", "a")) == [
        (Grade.PARTIAL, 2)
    ]


def test_an_answer_alone_is_less_than_a_question():
    assert graded(chat("Anything new?", f"I read that {SOLUTION}")) == [(Grade.ANSWER, 0)]


def test_a_shared_beginning_is_not_the_item():
    half = " ".join(QUESTION_TEXT.split()[:20]) + " and then the story takes a turn that nobody saw coming, with a wolf"
    found = graded(chat(half, "What a story."))
    assert found[0] in (None, (Grade.PARTIAL, 0))


def test_the_data_s_own_wording_does_not_count():
    template = "Read the following mail with great care and say in one word whether it is spam or ham, nothing else: "
    item = {"question": template + "buy cheap pills now from our store", "answer": "spam"}
    rows = [chat(template + " ".join(row["messages"][0]["content"].split()[:6]), "ham") for row in distinct_rows(60)]
    index = build_index(eval_items(corpus_from(item)))
    verdicts, scan = contamination(corpus_from(*rows, chat(item["question"], "spam")), index)
    assert scan.own_wording.tolist() == [True]
    assert [(verdict.index, verdict.whole) for verdict in verdicts] == [(60, True)], "the whole question still counts"


def test_result_does_not_depend_on_threads_or_batches(monkeypatch):
    rows = [chat(f"{text} {n}", SOLUTION) for n, text in enumerate([*DRESSED.values()] * 8)]
    index = build_index(eval_items(corpus_from(ITEM, SHORT))).telling
    whole = scan_rows(corpus_from(*rows), index, threads=1)
    monkeypatch.setattr("curate.contamination.scan.BATCH_BYTES", 500)
    parts = scan_rows(corpus_from(*rows), index, threads=3)
    assert whole.matches.equals(parts.matches)
    assert whole.whole.equals(parts.whole)
    assert whole.words == parts.words


# ---------------------------------------------------------------------------------------------------------- items


def test_questions_answers_choices_and_passages_of_common_shapes():
    assert parts_of({"question": "Why?", "answer": "So.\n#### 4"}) == ("Why?", ("So.\n#### 4", "4"), (), "")
    assert parts_of({"Question": "Q", "Correct Answer": "x", "Incorrect Answer 1": "y"}) == ("Q", ("x",), ("y",), "")
    assert parts_of({"question": "Q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"}) == (
        "Q", ("b",), ("a", "b"), "",
    )  # fmt: skip
    assert parts_of({"question": "Q", "choices": ["a", "b"], "answer": 0}) == ("Q", ("a",), ("a", "b"), "")
    assert parts_of({"ctx": "He runs", "endings": ["away", "home"], "label": 1}) == (
        "He runs",
        ("home",),
        ("away", "home"),
        "",
    )
    assert parts_of({"instruction": "Add", "input": "1 2", "output": "3"}) == ("Add\n1 2", ("3",), (), "")
    assert parts_of({"passage": "P", "question": "Q", "answers": {"text": ["x", "y"]}}) == ("Q", ("x", "y"), (), "P")
    assert parts_of(chat("hello", "hi")) == ("hello", ("hi",), (), "")
    assert parts_of({"whatever": ["only text here"]})[0] == "only text here"
    assert parts_of({"problem": "x", "solution": r"so \boxed{7}"})[1] == (r"so \boxed{7}", "7")
    assert parts_of(7) == ("", (), (), "")


# ---------------------------------------------------------------------------------------------------------- words


def test_words_are_the_same_in_any_dress():
    same = ["Is  1/2 + x_2 <b>odd</b>?", r"is $\frac{1}{2}$ + x 2 ODD", "**Is** 1 2 x 2 odd"]
    assert len(set(comparable(pl.Series(same)))) == 1
    assert comparable(pl.Series(["\u6f22\u5b57 and kana"])).to_list() == ["\u6f22 \u5b57 and kana"]
    assert comparable(pl.Series(["a\n\n- b", None])).to_list() == ["a \u00b6 \u00b6 b", None]


@given(st.lists(st.text(max_size=60), max_size=8))
def test_the_words_of_a_text_do_not_depend_on_its_neighbours(texts):
    words, numbers, offsets = word_hashes(pl.Series(texts, dtype=pl.String))
    for k, text in enumerate(texts):
        alone, digits, _ = word_hashes(pl.Series([text]))
        assert alone.tolist() == words[offsets[k] : offsets[k + 1]].tolist()
        assert digits.tolist() == numbers[offsets[k] : offsets[k + 1]].tolist()


# ---------------------------------------------------------------------------------------------------------- index


def test_segments_are_questions_choices_and_answers():
    index = build_index(eval_items(corpus_from(CHOICE_ITEM)))
    assert index.seg_kind.tolist() == [QUESTION, *[CHOICE] * 4, ANSWER]
    assert index.items["words"].to_list() == [5]


def same(one, other):
    names = [name for name in vars(one) if isinstance(getattr(one, name), np.ndarray)]
    return one.items.equals(other.items) and all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)


@settings(max_examples=20)
@given(st.integers(0, 12))
def test_adding_items_is_building_from_all(cut):
    items = list(eval_items(corpus_from(*distinct_rows(10), ITEM, SHORT)))
    assert same(merge(build_index(items[:cut]), build_index(items[cut:])), build_index(items))


def test_items_of_nothing_of_one_letter_and_of_a_megabyte_cost_little():
    items = [
        Item("s", "s.jsonl", 1, 0, None, ""),
        Item("s", "s.jsonl", 2, 1, None, "x", ("x",)),
        Item("s", "s.jsonl", 3, 2, None, "word " * 200_000, ("a",)),
    ]
    index = build_index(items)
    assert index.items["words"].to_list() == [0, 1, 200_000]
    verdicts, _ = contamination(corpus_from(chat("word " * 2000, "b"), chat("x", "x"), chat("x", "y")), index.telling)
    assert [(v.index, v.item, v.grade) for v in verdicts if v.grade == Grade.BOTH] == [(1, 1, Grade.BOTH)]


def test_an_empty_eval_set_finds_nothing_and_an_equal_one_finds_everything():
    rows = distinct_rows(40)
    assert contamination(corpus_from(*rows), build_index([]).telling)[0] == []
    index = build_index(eval_items(corpus_from(*rows))).telling
    verdicts, _ = contamination(corpus_from(*rows), index)
    assert {verdict.index for verdict in verdicts if verdict.grade == Grade.BOTH} == set(range(40))
