"""What choosing does to figures: the expected loss, and the bound on the winner's lead, against known truths."""

import numpy as np
import polars as pl
import pytest

from schemas.sweep_results import Trial
from train.selection import Comparison, judge

REPEATS = 60


def made(seed: int, gains: list[float], components: int = 60, noise: float = 0.3) -> dict[int, pl.DataFrame]:
    """Losses of trials that are better than the first by known gains, on rows of two to a component."""
    rng = np.random.default_rng(seed)
    rows = 2 * components
    tokens = rng.integers(2, 9, rows)
    component = np.repeat(np.arange(components), 2)
    row = rng.normal(2.0, 1.0, components)[component]
    found = {}
    for number, gain in enumerate(gains):
        own = rng.normal(0.0, noise, components)[component]
        loss = row + own - gain
        names = [f"v{k}" for k in range(rows)]
        found[number] = pl.DataFrame(
            {"row_id": names, "component": component, "nll": loss * tokens, "tokens": tokens},
            schema_overrides={"component": pl.Int64, "tokens": pl.Int64},
        )
    return found


def loss_of(frame: pl.DataFrame) -> float:
    return float(frame["nll"].to_numpy().sum() / frame["tokens"].to_numpy().sum())


def trials_of(losses: dict[int, pl.DataFrame], **fields) -> list[Trial]:
    given = {"settings": {}, "state": "passed", "gain_gap": 0.1} | fields
    return [Trial(number=k, validation_loss=loss_of(frame), **given) for k, frame in losses.items()]


def test_the_expected_loss_makes_up_for_what_choosing_flattered():
    """Trials that are equally good: on new rows the winner is as good as all are, not as good as it looked."""
    optimism, truth = [], []
    for seed in range(REPEATS):
        losses = made(seed, [0.0] * 10)
        selection = judge(trials_of(losses), losses, seed, 0.5).selection
        assert selection is not None
        assert selection.optimism is not None
        means = [loss_of(frame) for frame in losses.values()]
        optimism.append(selection.optimism)
        truth.append(np.mean(means) - min(means))
    assert np.mean(optimism) == pytest.approx(np.mean(truth), rel=0.35)
    assert np.mean(optimism) > 0.02


def test_equal_trials_are_seldom_told_apart_however_many_were_tried():
    for count in (2, 20):
        told = [
            selection.over_default.told_apart
            for seed in range(REPEATS)
            if (selection := chosen(made(seed, [0.0] * count))) and selection.over_default
        ]
        assert sum(told) / REPEATS <= 0.12


def test_a_trial_that_is_better_is_told_apart():
    told = [chosen(made(seed, [0.0] * 9 + [0.3])).over_default for seed in range(20)]
    assert all(one is not None and one.told_apart and one.nats > one.lower > 0 for one in told)


def chosen(losses: dict[int, pl.DataFrame]):
    return judge(trials_of(losses), losses, 0, 0.5).selection


def test_few_components_are_no_evidence_however_many_their_rows():
    losses = made(0, [0.0, 1.0], components=9)
    result = judge(trials_of(losses), losses, 0, 0.5)
    assert result.winner == 1
    assert result.selection is not None
    assert (result.selection.rows, result.selection.components) == (18, 9)
    assert (result.selection.expected_loss, result.selection.over_default) == (None, None)


def test_rows_of_one_component_count_once():
    losses = made(3, [0.0, 0.1], components=40)
    doubled = {k: pl.concat([frame, frame.with_columns(pl.col("row_id") + "b")]) for k, frame in losses.items()}
    one, two = (Comparison(found, 0).advantage(1, 0, [1, 0]) for found in (losses, doubled))
    assert two.nats == pytest.approx(one.nats)
    assert two.lower == pytest.approx(one.lower)


def test_only_trials_that_passed_can_win_and_the_default_is_compared_all_the_same():
    losses = made(1, [0.0, 0.5, 0.3])
    trials = trials_of(losses)
    trials[0] = trials[0].model_copy(update={"state": "rejected"})
    trials[1] = trials[1].model_copy(update={"state": "rejected"})
    result = judge(trials, losses, 0, 0.5)
    assert result.winner == 2
    assert result.selection is not None
    assert (result.selection.looks, result.selection.candidates) == (3, 1)
    assert result.selection.over_default is not None
    assert result.selection.over_runner_up is None


def test_trials_on_different_rows_are_never_compared():
    losses = made(1, [0.0, 0.5])
    losses[1] = losses[1].reverse()
    with pytest.raises(ValueError, match="different rows"):
        Comparison(losses, 0)
