"""How answers of a comparison are scored."""

import pytest

from evals.comparing.metrics import Metric, chosen_metric, token_f1
from schemas.compare_config import CompareConfig
from schemas.errors import UserError


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("spam", 1.0),
        ("  SPAM.\n", 1.0),
        ("It is spam, clearly spam", 1.0),
        ("ham", 0.0),
        ("spam or ham", 0.0),
        ("spammer", 0.0),
        ("", 0.0),
    ],
)
def test_one_label_as_a_whole_word_is_right(answer, score):
    assert Metric("label", ("ham", "spam")).score(answer, "spam") == score


def test_of_a_label_inside_another_the_longer_one_stands_there():
    metric = Metric("label", ("spam", "not spam", "c++"))
    assert metric.score("This is not spam.", "not spam") == 1.0
    assert metric.score("This is not spam.", "spam") == 0.0
    assert metric.score("C++!", "c++") == 1.0


def test_exact_and_contains_look_through_case_and_blanks():
    assert Metric("exact").score(" The  Cat\n", "the cat") == 1.0
    assert Metric("exact").score("The cat.", "the cat") == 0.0
    assert Metric("contains").score("I saw the  CAT today", "the cat") == 1.0
    assert Metric("contains").score("I saw a cat", "the cat") == 0.0


def test_words_in_common_give_f1():
    assert token_f1("The cat sat", "a cat sat down") == pytest.approx(2 * 2 / (2 + 3))
    assert token_f1("dog", "cat") == 0.0
    assert token_f1("", "") == token_f1("!", "the") == 1.0
    assert token_f1("", "cat") == 0.0


def test_the_form_is_a_label_or_the_expression():
    assert Metric("label", ("ham", "spam")).formatted(" spam\n") is True
    assert Metric("label", ("ham", "spam")).formatted("Spam!") is False
    assert Metric("f1", (), r"\d{3}-\d{3}").formatted("123-456") is True
    assert Metric("f1", (), r"\d{3}-\d{3}").formatted("call 123-456") is False
    assert Metric("f1").formatted("anything") is None


def test_auto_takes_labels_where_there_are_some():
    assert chosen_metric(CompareConfig(), ["no", "yes"]).name == "label"
    assert chosen_metric(CompareConfig(), []).name == "f1"
    assert chosen_metric(CompareConfig(metric="exact"), ["no", "yes"]).name == "exact"
    with pytest.raises(UserError, match="text, not labels"):
        chosen_metric(CompareConfig(metric="label"), [])
