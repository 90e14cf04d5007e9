"""The numbers of `assay drift` beside scipy's, statsmodels' and simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from evals.drift.judge import judged, measured, rows_to_decide
from evals.drift.measurements import classifier, length, new_labels, new_topic, vocabulary
from evals.drift.pool import representatives
from evals.drift.sample import Draw, Sample
from evals.drift.score import compared
from evals.drift.shift import chi_square, shift_of
from evals.drift.topics import topics_of
from schemas.drift import DriftEffect
from schemas.drift_config import DriftConfig
from schemas.verdict import Outcome

DRAW = Draw(0.05, 999, 0)


def sample(new, vectors=None, texts=None, answers=None, labels=()):
    rows = len(new)
    return Sample(
        texts=texts or ["a b"] * rows,
        new=np.asarray(new, dtype=bool),
        vectors=np.ones((rows, 1)) if vectors is None else vectors,
        answers=answers or [None] * rows,
        labels=frozenset(labels),
    )


def test_the_area_is_that_of_mann_and_whitney_and_its_deviation_that_of_delong():
    rng = np.random.default_rng(1)
    new, known = rng.normal(0.4, 1, 30), rng.normal(0, 1, 50).round(1)
    found, sides = np.concatenate([new, known])[:, None], np.repeat([True, False], [30, 50])[:, None]
    one_fold = np.zeros(80, dtype=np.int64)
    area = classifier.mean_area(found, sides, one_fold)[0]
    assert area == pytest.approx(stats.mannwhitneyu(new, known).statistic / (30 * 50))
    wins = (new[:, None] > known) + 0.5 * (new[:, None] == known)
    expected = wins.mean(axis=1).var(ddof=1) / 30 + wins.mean(axis=0).var(ddof=1) / 50
    assert classifier.area_variance(new, known) == pytest.approx(expected)
    assert classifier.deviation(found[:, 0], sides[:, 0], one_fold) == pytest.approx(expected**0.5)


def test_scores_of_all_permutations_at_once_are_those_of_each_alone():
    rng = np.random.default_rng(2)
    vectors, folds = rng.normal(size=(60, 4)), classifier.fold_of(60, 0)
    sides = np.stack([rng.permutation(60) < 20 for _ in range(5)], axis=1)
    together = classifier.scores(vectors, sides, folds)
    for column in range(5):
        alone = classifier.scores(vectors, sides[:, [column]], folds)
        assert np.allclose(together[:, [column]], alone)
    held = folds == 0
    centred = vectors[~held] - vectors[~held].mean(axis=0)
    weights = np.linalg.solve(centred.T @ centred + np.eye(4), centred.T @ sides[~held, 0].astype(float))
    assert np.allclose(together[held, 0], (vectors[held] - vectors[~held].mean(axis=0)) @ weights)


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_the_classifier_sees_a_difference_only_where_there_is_one(shift):
    rng = np.random.default_rng(3)
    new = np.arange(300) < 60
    vectors = rng.normal(size=(300, 5)) + shift * new[:, None]
    found = classifier.measure(sample(new, vectors), 0.6, DRAW).effect
    assert (found.p <= 0.01) == (shift > 0)
    assert found.low <= found.estimate <= found.high
    assert (found.estimate > 0.9) == (shift > 0)


def test_p_values_of_the_classifier_are_those_of_chance():
    rng = np.random.default_rng(4)
    new = np.arange(80) < 20
    draw = Draw(0.05, 199, 0)
    found = [classifier.measure(sample(new, rng.normal(size=(80, 3))), 0.6, draw).effect.p for _ in range(200)]
    assert stats.kstest(found, "uniform").pvalue > 0.001


def test_chi_square_and_its_interval():
    new, known = np.array([30, 50, 20]), np.array([100, 150, 150])
    expected = stats.chi2_contingency([new, known], correction=False)
    assert chi_square(new[None], new + known)[0] == pytest.approx(expected.statistic)
    found = shift_of(new, known, Draw(0.05, 9999, 0))
    assert found.p == pytest.approx(expected.pvalue, abs=0.01)
    largest = 500 * 4 * 0.2 * 0.8
    for end, level in ((found.low, 0.95), (found.high, 0.05)):
        assert stats.ncx2.cdf(expected.statistic, 2, end**2 * largest) == pytest.approx(level, abs=1e-6)
    assert found.v == pytest.approx(((expected.statistic - 2) / largest) ** 0.5)


def test_sides_without_anything_in_common_have_a_v_of_one_and_alike_ones_of_zero():
    apart = shift_of(np.array([40, 0]), np.array([0, 400]), DRAW)
    assert apart.v == pytest.approx(1, abs=0.01)
    assert apart.p == pytest.approx(1 / 1000)
    alike = shift_of(np.array([10, 20]), np.array([100, 200]), DRAW)
    assert (alike.v, alike.low, alike.p) == (0, 0, 1)
    nothing = shift_of(np.array([10, 0]), np.array([100, 0]), DRAW)
    assert (nothing.high, nothing.p) == (1, 1)


def test_length_is_cliffs_delta():
    rng = np.random.default_rng(5)
    sizes = rng.integers(1, 40, 200)
    new = np.arange(200) < 50
    found = length.measure(sample(new, texts=["x" * size for size in sizes]), 0.147, DRAW).effect
    wins = np.sign(sizes[new][:, None] - sizes[~new]).mean()
    assert found.estimate == pytest.approx(abs(wins))
    assert found.p == pytest.approx(stats.mannwhitneyu(sizes[new], sizes[~new]).pvalue)
    same = length.measure(sample(new, texts=["x"] * 200), 0.147, DRAW).effect
    assert (same.estimate, same.p) == (0, 1)
    assert same.high > 0  # fifty equal lengths do not show that the next one is equal as well


def test_welch_is_scipys():
    rng = np.random.default_rng(6)
    first, second = rng.normal(0, 1, 20), rng.normal(0, 3, 50)
    difference, error, degrees = vocabulary.welch(first, second)
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert difference / error == pytest.approx(expected.statistic)
    assert degrees == pytest.approx(expected.df)


def test_unknown_words_count_beyond_those_of_the_held_out_half():
    texts = [f"common words and rare{at}" for at in range(200)]
    new = np.arange(200) < 50
    alike = vocabulary.measure(sample(new, texts=texts), 0.05, DRAW)
    assert alike.effect.estimate == 0
    others = [f"neue woerter und selten{at}" if new[at] else text for at, text in enumerate(texts)]
    found = vocabulary.measure(sample(new, texts=others), 0.05, DRAW)
    assert found.effect.estimate == pytest.approx(0.75)
    assert found.effect.p == pytest.approx(1 / 1000)
    assert (found.new_rows, found.known_rows) == (50, 75)


def test_a_new_topic_is_found_with_its_words_and_newcombes_interval():
    new = np.arange(400) < 100
    strange = np.arange(400) < 30
    vectors = np.where(strange[:, None], [[1.0, 0, 0]], [[0, 1.0, 0.2]])
    texts = ["submarine periscope" if odd else "garden rose" for odd in strange]
    found = new_topic.measure(sample(new, vectors, texts), 0.05, DRAW)
    grown = found.effect
    assert grown.estimate == pytest.approx(0.3)
    assert grown.p == pytest.approx(1 / 1000)
    assert {"submarine", "periscope"} <= set(found.facts["words"])
    kinds = found.facts["topics"]
    low, _ = confint_proportions_2indep(30, 100, 0, 300, method="newcomb", alpha=2 * 0.05 / kinds)
    assert grown.low == pytest.approx(low, abs=1e-9)
    _, high = confint_proportions_2indep(30, 100, 0, 300, method="newcomb", alpha=0.1)
    assert grown.high == pytest.approx(high, abs=1e-9)


def test_topics_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(11)
    vectors = rng.normal(size=(400, 5))
    order = rng.permutation(400)
    assert (topics_of(vectors, 0)[order] == topics_of(vectors[order], 0)).all()


def test_the_upper_end_of_the_largest_growth_covers_it():
    """Of ten topics one grew by a tenth, and none is looked at before the data."""
    rng = np.random.default_rng(8)
    known_shares, new_shares = np.full(10, 0.1), np.array([0.2, *np.full(9, 0.8 / 9)])
    new = np.arange(600) < 150
    covered = 0
    for _ in range(300):
        topics = np.where(new, rng.choice(10, 600, p=new_shares), rng.choice(10, 600, p=known_shares))
        is_topic = (topics[:, None] == np.arange(10)).astype(float)
        covered += new_topic._ends(is_topic, new, 0.05)[1].max() >= 0.1
    assert stats.binomtest(covered, 300, 0.95, alternative="less").pvalue > 0.01


def test_new_labels_are_those_that_no_known_row_has():
    answers = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    new = np.arange(100) >= 80
    found = new_labels.measure(sample(new, answers=answers, labels=("a", "b")), 0.02, DRAW)
    assert found.effect.estimate == pytest.approx(10 / 20)
    assert found.facts["labels"] == {"c": 10}
    # All ten of them among the twenty that were drawn of a hundred.
    exact = stats.hypergeom(100, 10, 20).pmf(10)
    assert exact < 1e-6
    assert found.effect.p == pytest.approx(1 / 1000)
    one = new_labels.measure(sample(new, answers=["a"] * 99 + ["c"], labels=("a",)), 0.02, Draw(0.05, 9999, 1))
    assert one.effect.p == pytest.approx(0.2, abs=0.015)


def test_every_row_of_a_set_is_as_likely_to_stand_for_it():
    alike = np.array([0, 0, 0, 3, 4, 4])
    counts = np.zeros(6)
    for seed in range(600):
        drawn = representatives(alike, seed)
        assert sorted(alike[drawn]) == [0, 3, 4]
        counts[drawn] += 1
    assert stats.chisquare(counts[:3]).pvalue > 0.001
    assert counts[3] == 600


def test_texts_without_a_word_are_compared_by_their_lengths():
    texts = ["!" * (at % 9 + 1) for at in range(50)] + ["?" * (at % 9 + 20) for at in range(50)]
    found = measured(sample(np.arange(100) >= 50, np.zeros((100, 1)), texts), DriftConfig())
    words = {one.name: one.word for one in found}
    assert words.pop("length") == "drifted"
    assert set(words.values()) == {"not_applicable"}


# ------------------------------------------------------------------------------------------------------ the judgement


def effect(estimate, low, high, p=0.5):
    return DriftEffect(estimate=estimate, low=low, high=high, bound=0.1, p=p, method="")


@pytest.mark.parametrize(
    ("found", "p", "outcome"),
    [
        (effect(0.2, 0.15, 0.25), 0.001, Outcome.FAIL),
        (effect(0.2, 0.05, 0.25), 0.06, Outcome.INCONCLUSIVE),  # large, but perhaps chance
        (effect(0.05, 0.04, 0.06), 0.001, Outcome.PASS),  # certain, and of no consequence
        (effect(0.05, 0.0, 0.11), 0.001, Outcome.INCONCLUSIVE),
        (effect(0.0, 0.0, 0.1), 1.0, Outcome.INCONCLUSIVE),
        (effect(0.0, 0.0, 0.099), 1.0, Outcome.PASS),
    ],
)
def test_effects_decide_and_not_p_values_alone(found, p, outcome):
    assert judged(found, p, 0.05) is outcome


def test_rows_that_would_decide():
    found = effect(0.0, 0.0, 0.2)
    more = rows_to_decide(found, 0.0, (100, 10_000), (0.05, 0.01))
    assert more is not None
    reach = 0.2 * ((1 / more + 1 / 10_000) / (1 / 100 + 1 / 10_000)) ** 0.5
    assert reach == pytest.approx(0.1, rel=0.01)
    assert rows_to_decide(found, 0.0, (100, 20), (0.05, 0.01)) is None  # the dataset is what is too small


# ---------------------------------------------------------------------------------------------------------- the score


def side(scores, clusters=None):
    return np.asarray(scores, float), np.arange(len(scores)) if clusters is None else np.asarray(clusters)


def test_scores_of_two_samples_are_compared_by_newcombe():
    config = DriftConfig(margin=0.1)
    found = compared(side([1] * 170 + [0] * 30), side([1] * 255 + [0] * 45), "acc", config, higher=True)
    low, high = confint_proportions_2indep(170, 200, 255, 300, method="newcomb", alpha=0.1)
    assert found.low == pytest.approx(low, abs=1e-6)
    assert found.high == pytest.approx(high, abs=1e-6)
    assert found.outcome is Outcome.PASS
    worse = compared(side([1] * 120 + [0] * 80), side([1] * 255 + [0] * 45), "acc", config, higher=True)
    assert worse.outcome is Outcome.FAIL
    few = compared(side([1] * 9 + [0] * 2), side([1] * 255 + [0] * 45), "acc", config, higher=True)
    assert few.outcome is Outcome.INCONCLUSIVE
    assert few.rows_to_decide is not None
    assert few.rows_to_decide > 11


def test_scores_of_which_lower_is_better_are_turned_round():
    rng = np.random.default_rng(9)
    better, worse = rng.normal(1.0, 0.1, 60), rng.normal(2.0, 0.1, 80)
    found = compared(side(worse), side(better), "bits_per_byte", DriftConfig(), higher=False)
    assert found.outcome is Outcome.FAIL
    assert found.difference is not None
    assert found.difference < -0.9
    test = stats.ttest_ind(better, worse, equal_var=False).confidence_interval(0.9)
    assert found.low == pytest.approx(test.low, abs=1e-6)
    assert found.high == pytest.approx(test.high, abs=1e-6)


def test_clustered_items_widen_the_interval():
    scores = list(itertools.chain.from_iterable([[1] * 10, [0] * 10] * 10))
    alone = compared(side([1] * 100), side(scores), "acc", DriftConfig(), higher=True)
    clusters = [at // 10 for at in range(200)]
    together = compared(side([1] * 100), side(scores, clusters), "acc", DriftConfig(), higher=True)
    assert together.low is not None
    assert alone.low is not None
    assert together.low < alone.low
