from evals.references import MAX_LABELS, bag_of_words, majority, why_none

SPAM = ["win money now", "free money win", "win a free prize", "money prize now"]
HAM = ["meeting at noon", "lunch at noon today", "see the meeting notes", "notes of the meeting"]


def test_the_most_frequent_answer_is_the_majority():
    assert majority(["ham", "spam", "ham"], 2) == ["ham", "ham"]
    assert majority(["spam", "ham"], 1) == ["ham"]  # a tie goes by the alphabet
    assert majority(["ham"], 0) == []


def test_words_tell_the_labels_apart():
    found = bag_of_words(SPAM + HAM, ["spam"] * 4 + ["ham"] * 4, ["free money", "the meeting today"], seed=0)
    assert found == ["spam", "ham"]


def test_one_label_or_no_words_fall_back_to_the_majority():
    assert bag_of_words(["a b", "c d"], ["ham", "ham"], ["x", "y"], seed=0) == ["ham", "ham"]
    assert bag_of_words(["?!", "..", "!"], ["ham", "spam", "ham"], ["free money"], seed=0) == ["ham"]


def test_the_same_rows_give_the_same_predictions():
    arguments = (SPAM + HAM, ["spam"] * 4 + ["ham"] * 4, [*SPAM, *HAM, "nothing known"], 3)
    assert bag_of_words(*arguments) == bag_of_words(*arguments)


def test_text_answers_have_no_references():
    assert why_none(["ham", "spam"]) == ""
    assert why_none([]) == "the rows that were trained are not known"
    assert why_none([str(k) for k in range(MAX_LABELS)]) == ""
    assert "not labels" in why_none([str(k) for k in range(MAX_LABELS + 1)])
