"""The judgement of a comparison, from its files: what is named, what is not, and in which words."""

import numpy as np
import polars as pl
import pytest

from evals.comparing.judge import judge_compare
from schemas.compare import Compared
from schemas.compare_config import Prices
from schemas.errors import UserError
from schemas.verdict import Outcome
from tests.evals.comparing.made_run import arm, made_run, right_of

PRICES = Prices(machine_hour=1.0)
HALF = right_of(80, 40)


def judged(folder, scores, *, margin=0.03, alpha=0.05, prices=PRICES, **about) -> Compared:
    return judge_compare(made_run(folder, scores, **about), alpha=alpha, margin=margin, prices=prices)


def standings(compared):
    return {found.name: found.standing for found in compared.arms}


def test_a_clear_winner_is_named_with_its_lead(tmp_path):
    scores = {"zero_shot": right_of(80, 44), "few_shot": right_of(80, 48), "tuned": right_of(80, 78)}
    found = judged(tmp_path, scores, floor=HALF)
    said = found.recommendation
    assert found.outcome is Outcome.PASS
    assert (said.arm, said.shown_best, said.in_the_race) == ("tuned", True, ("tuned",))
    lead = next(arm.to_leader for arm in found.arms if arm.name == "few_shot")
    assert lead is not None
    assert lead.low is not None
    assert lead.high is not None
    assert said.headline == (
        f"Fine-tuning serves this task best: +0.375 [{-lead.high:+.3f}, {-lead.low:+.3f}] over the best prompt "
        "(few-shot prompt)"
    )
    assert said.sentences[0] == "Fine-tuned is shown to be the best."
    assert said.sentences[1].startswith("It is shown to be better than always 'ham': +0.475 [")
    assert said.sentences[2] == "Out, because another arm is shown to be better: zero-shot prompt and few-shot prompt."
    assert standings(found) == {"zero_shot": "out", "few_shot": "out", "tuned": "recommended"}


@pytest.mark.parametrize(
    ("best", "said"),
    [
        ("zero_shot", "A prompt serves this task best: "),
        ("rag", "Retrieval was the answer: "),
        ("tuned_rag", "Fine-tuning and retrieval together serve this task best: "),
        ("classical", "A classical classifier serves this task best: "),
        ("my_arm", "my_arm serves this task best: "),
    ],
)
def test_the_headline_names_what_won(tmp_path, best, said):
    names = dict.fromkeys(["zero_shot", "rag", "tuned", best])
    found = judged(tmp_path, {name: right_of(80, 78 if name == best else 40) for name in names}, floor=HALF)
    assert found.recommendation.headline.startswith(said)


def test_of_arms_that_are_as_good_the_cheapest_is_named(tmp_path):
    scores = {"few_shot": right_of(600, 540), "zero_shot": right_of(600, 540), "tuned": right_of(600, 541)}
    found = judged(tmp_path, scores, floor=right_of(600, 300))
    assert found.recommendation.arm == "zero_shot"
    assert not found.recommendation.shown_best
    assert found.recommendation.headline == "A prompt suffices: less than 0.03 below every other arm"
    free = judged(tmp_path, scores, floor=right_of(600, 300), prices=Prices(machine_hour=1.0, training=0.0))
    slow = {found.name: found.cost.per_answer for found in free.arms if found.cost}
    assert free.recommendation.arm == min(slow, key=lambda name: slow[name] or 0.0)


def test_a_training_that_took_nobody_knows_how_long_is_told(tmp_path):
    scores = {"zero_shot": HALF, "tuned": right_of(80, 79)}
    unknown = judged(tmp_path, scores, arms=[arm("zero_shot"), arm("tuned", fixed_seconds=0.0)])
    said = "fine-tuned: what its training took is not known, and taken as nothing"
    assert said in unknown.notes
    assert said not in judged(tmp_path / "b", scores).notes


def test_a_better_arm_within_the_margin_is_told_and_not_taken(tmp_path):
    scores = {"zero_shot": right_of(1000, 920), "tuned": right_of(1000, 935)}
    found = judged(tmp_path, scores, floor=right_of(1000, 500))
    assert found.recommendation.arm == "zero_shot"
    assert any(
        said.startswith("Fine-tuned is shown to be the best, by +0.015 [") for said in found.recommendation.sentences
    )
    assert found.recommendation.in_the_race == ("tuned",)
    assert found.recommendation.out == ()


def test_a_tie_on_few_items_is_inconclusive_and_says_how_many_more(tmp_path):
    rng = np.random.default_rng(3)
    scores = {name: [float(x) for x in rng.random(80) < 0.8] for name in ("zero_shot", "tuned")}
    found = judged(tmp_path, scores, floor=right_of(80, 20))
    said = found.recommendation
    assert found.outcome is Outcome.INCONCLUSIVE
    assert said.arm is None
    assert said.items_needed is not None
    assert said.more_items == said.items_needed - 80 > 0
    assert said.headline == (
        f"Inconclusive between zero-shot prompt and fine-tuned: collect about {said.more_items:,} more items"
    )
    assert set(said.in_the_race) == {"zero_shot", "tuned"}
    assert (
        "80 items cannot show that two arms are within 0.03 of each other, even where they answer alike: "
        "that takes 197, or a wider margin." in said.sentences
    )


def test_what_is_known_of_the_best_is_said_where_several_may_be_it(tmp_path):
    scores = {"zero_shot": right_of(80, 20), "tuned": right_of(80, 70), "tuned_rag": right_of(80, 72)}
    said = judged(tmp_path, scores, floor=right_of(80, 10)).recommendation
    assert "Whichever of them is, it is fine-tuned." in said.sentences
    assert "Out, because another arm is shown to be better: zero-shot prompt." in said.sentences


def test_fewer_clusters_than_a_verdict_takes_are_inconclusive(tmp_path):
    scores = {"zero_shot": right_of(90, 0), "tuned": right_of(90, 90)}
    found = judged(tmp_path, scores, clusters=[place // 10 for place in range(90)])
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.recommendation.headline == "Inconclusive: 9 independent groups of items, at least 10 are needed"
    assert found.recommendation.sentences == ("About 100 items would have so many groups, if groups stay as large.",)
    assert judged(tmp_path / "b", scores).recommendation.arm == "tuned"


def test_an_arm_that_is_no_better_than_the_most_frequent_label_is_not_named(tmp_path):
    scores = {"zero_shot": right_of(400, 200), "tuned": right_of(400, 300)}
    found = judged(tmp_path, scores, floor=right_of(400, 300))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.recommendation.arm is None
    assert "But not shown to be better than always 'ham': fine-tuned +0.000 [" in " ".join(
        found.recommendation.sentences
    )
    assert judged(tmp_path / "b", scores, floor=right_of(400, 200)).recommendation.arm == "tuned"


def test_arms_that_are_worse_than_the_most_frequent_label_serve_nobody(tmp_path):
    scores = {"zero_shot": right_of(80, 20), "tuned": right_of(80, 22)}
    found = judged(tmp_path, scores, floor=right_of(80, 70))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.recommendation.headline == "No arm serves this task: each is shown to be worse than always 'ham'"


@pytest.mark.parametrize("metric", ["f1", "label"])
def test_without_a_floor_it_is_no_right_answer_at_all(tmp_path, metric):
    found = judged(tmp_path, {"zero_shot": HALF, "tuned": right_of(80, 79)}, metric=metric)
    assert found.floor == "no right answer at all"
    assert found.floor_quality is not None
    assert found.floor_quality.estimate == 0.0
    told = [note for note in found.notes if note.startswith("the most frequent trained label was not scored")]
    assert bool(told) == (metric == "label")


# ------------------------------------------------------------------------------------------------------- failures


def failed_run(folder, tuned, failed):
    arms = [arm("zero_shot"), arm("tuned"), arm("rag", status="failed", reason="out of memory")]
    scores = {"zero_shot": right_of(80, 20), "tuned": tuned, "rag": failed}
    return judged(folder, scores, arms=arms, floor=right_of(80, 10))


def test_a_failed_arm_that_may_be_better_leaves_it_open(tmp_path):
    found = failed_run(tmp_path, right_of(80, 70), [])
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.recommendation.could_change == ("rag",)
    assert found.recommendation.arm == "tuned"
    assert found.recommendation.headline == "Inconclusive: retrieval failed and may be better than fine-tuned"
    assert "Retrieval failed (out of memory); with its answers the outcome could be another." in (
        found.recommendation.sentences
    )
    assert "Fine-tuned is shown to be the best of the arms that ran." in found.recommendation.sentences


def test_a_failed_arm_that_cannot_be_better_changes_nothing(tmp_path):
    found = failed_run(tmp_path, right_of(80, 80), [0.0] * 70)
    assert found.outcome is Outcome.PASS
    assert found.recommendation.arm == "tuned"
    assert found.recommendation.could_change == ()
    assert standings(found)["rag"] == "failed"
    assert found.recommendation.sentences[-1] == (
        "Retrieval failed (out of memory); right wherever it failed, it would still be less than 0.03 better."
    )


def test_failed_answers_count_against_the_arm_that_is_to_be_named(tmp_path):
    """They are wrong for the arm that would win by them, and right for one that would lose by them."""
    sound = judged(tmp_path / "a", {"zero_shot": right_of(80, 60), "tuned": right_of(80, 80)}, floor=right_of(80, 10))
    assert sound.recommendation.arm == "tuned"
    lame: dict[str, list[float | None]] = {"zero_shot": [1.0] * 60 + [None] * 20, "tuned": [1.0] * 80}
    found = judged(tmp_path / "b", lame, floor=right_of(80, 10))
    assert found.recommendation.arm is None
    assert any("gave no answer to 20 of 80 items" in note for note in found.notes)
    assert found.arms[0].failed_answers == 20
    assert found.arms[0].quality is not None
    assert found.arms[0].quality.estimate == 0.75


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({"zero_shot": [], "tuned": []}, "Inconclusive: no item was answered"),
        ({"zero_shot": HALF}, "Inconclusive: a comparison takes at least two arms that ran"),
        ({}, "Inconclusive: no item was answered"),
    ],
)
def test_nothing_to_compare_is_inconclusive(tmp_path, scores, said):
    found = judged(tmp_path, scores)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.recommendation.headline == said
    assert found.recommendation.arm is None


# ----------------------------------------------------------------------------------------------------- bad input


def test_arms_that_answered_different_items_are_refused(tmp_path):
    made_run(tmp_path, {"zero_shot": HALF, "tuned": HALF})
    answers = pl.read_parquet(tmp_path / "answers.parquet")
    answers[:-1].write_parquet(tmp_path / "answers.parquet")
    with pytest.raises(UserError, match="did not answer the same items") as error:
        judge_compare(tmp_path, alpha=0.05, margin=0.03, prices=PRICES)
    assert error.value.problems[0].found == "79 answers of 'tuned' to 80 items"


@pytest.mark.parametrize("name", ["answers.parquet", "agreement.parquet", "latency.parquet", "arms.json"])
@pytest.mark.parametrize("content", [None, b"\x00\xffnothing"])
def test_a_file_that_is_no_such_file_is_named(tmp_path, name, content):
    made_run(tmp_path, {"zero_shot": HALF, "tuned": HALF})
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="cannot be read") as error:
        judge_compare(tmp_path, alpha=0.05, margin=0.03, prices=PRICES)
    assert error.value.problems[0].where == str(tmp_path / name)


def test_a_missing_column_and_an_incomplete_floor_are_named(tmp_path):
    made_run(tmp_path, {"zero_shot": HALF, "tuned": HALF}, floor=HALF)
    arms = (tmp_path / "arms.json").read_text().replace('"item-0003"', '"other"')
    (tmp_path / "arms.json").write_text(arms)
    with pytest.raises(UserError, match="floor of a comparison lacks items") as error:
        judge_compare(tmp_path, alpha=0.05, margin=0.03, prices=PRICES)
    assert error.value.problems[0].found == "no score of 1 items, 'item-0003' among them"
    pl.read_parquet(tmp_path / "latency.parquet").drop("seconds").write_parquet(tmp_path / "latency.parquet")
    with pytest.raises(UserError, match="lacks columns"):
        judge_compare(tmp_path, alpha=0.05, margin=0.03, prices=PRICES)
