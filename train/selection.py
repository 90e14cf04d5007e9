"""What choosing the best of many trials by the same validation rows does to its figures.

The least of several losses is lower than what the same weights would show on new rows. How much is estimated by
choosing again on resampled rows and looking at the rows that were left out (BBC-CV: Tsamardinos, Greasidou and
Borboudakis 2018, Machine Learning 107:1895-1922). Rows are resampled by whole components, since near-duplicates are not
independent. Whether the winner is better than another trial is judged by a bound that holds for all trials that could
have won at once (single-step max-T, Westfall and Young 1993), so that looking at more of them makes it wider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from schemas.sweep_results import Advantage, Selection, SweepResults, Trial

Floats = npt.NDArray[np.float64]

DRAWS = 2000
LEVEL = 0.95
MIN_COMPONENTS = 10
"""Below this many independent groups of rows their spread cannot be estimated."""


class Comparison:
    """Losses of the trials that could have won, and of one more they are compared with, on resampled rows.

    Args:
        losses: number of the trial -> loss of each validation row, the same rows in the same order.
        seed: of the resampling.
    """

    def __init__(self, losses: Mapping[int, pl.DataFrame], seed: int) -> None:
        frames = list(losses.values())
        first = frames[0]
        if any(not frame["row_id"].equals(first["row_id"]) for frame in frames):
            raise ValueError("trials were measured on different rows")
        _, place = np.unique(first["component"].to_numpy(), return_inverse=True)
        self.rows, self.components = len(first), int(place.max()) + 1
        self._column = {number: k for k, number in enumerate(losses)}
        self._nll = np.zeros((self.components, len(frames)))
        for k, frame in enumerate(frames):
            np.add.at(self._nll[:, k], place, frame["nll"].to_numpy())
        self._tokens = np.zeros(self.components)
        np.add.at(self._tokens, place, first["tokens"].to_numpy())
        rng = np.random.default_rng(seed)
        even = np.full(self.components, 1 / self.components)
        self._weights = rng.multinomial(self.components, even, size=DRAWS).astype(np.float64)
        self._loss = self._nll.sum(axis=0) / self._tokens.sum()
        self._resampled = self._means(self._weights)

    @property
    def is_evidence(self) -> bool:
        """Whether there are enough independent groups of rows."""
        return self.components >= MIN_COMPONENTS

    def expected_loss(self, candidates: list[int]) -> float:
        """Mean loss of the trial that wins on resampled rows, on the rows that were left out.

        A resample holds fewer different rows than there are, so its choice is a little worse: the estimate errs to the
        high side.

        Args:
            candidates: trials that could have won.
        """
        columns = [self._column[number] for number in candidates]
        left_out = (self._weights == 0).astype(np.float64)
        usable = left_out @ self._tokens > 0
        winners = self._resampled[usable][:, columns].argmin(axis=1)
        found = self._means(left_out[usable])[:, columns]
        return float(found[np.arange(len(found)), winners].mean())

    def advantage(self, winner: int, over: int, candidates: list[int]) -> Advantage:
        """How much lower the winner's loss is than another trial's.

        Args:
            winner: one of the candidates.
            over: the other trial.
            candidates: trials that could have won, which the bound holds for at once.
        """
        other = self._column[over]
        columns = [self._column[number] for number in candidates if number != over]
        gains = self._loss[other] - self._loss[columns]
        replicates = self._resampled[:, [other]] - self._resampled[:, columns]
        spread = np.maximum(replicates.std(axis=0), 1e-12)
        limit = float(np.quantile(((replicates - gains) / spread).max(axis=1), LEVEL))
        place = columns.index(self._column[winner])
        gain, lower = float(gains[place]), float(gains[place] - limit * spread[place])
        return Advantage(over=over, nats=gain, lower=lower, told_apart=lower > 0)

    def _means(self, weights: Floats) -> Floats:
        """Nats a token of each trial, (draws, trials)."""
        found: Floats = (weights @ self._nll) / (weights @ self._tokens)[:, None]
        return found


def judge(trials: Sequence[Trial], losses: Mapping[int, pl.DataFrame], seed: int, max_gain_gap: float) -> SweepResults:
    """Choose the winner, and say what the choice did to its figures.

    Args:
        trials: all of them, in their order.
        losses: number of each trial that finished -> its validation losses; not of those that repeat another.
        seed: of the resampling.
        max_gain_gap: that the watch allowed.
    """
    ranked = sorted(
        (one.validation_loss or 0.0, one.number) for one in trials if one.state == "passed" and one.number in losses
    )
    if not ranked:
        return SweepResults(trials=list(trials), winner=None, max_gain_gap=max_gain_gap, selection=None)
    candidates = [number for _, number in ranked]
    winner = candidates[0]
    compared = Comparison(losses, seed)
    expected = compared.expected_loss(candidates) if compared.is_evidence else None

    def over(number: int | None) -> Advantage | None:
        comparable = compared.is_evidence and number is not None and number != winner and number in losses
        return compared.advantage(winner, number, candidates) if comparable and number is not None else None

    selection = Selection(
        rows=compared.rows,
        components=compared.components,
        looks=len(losses),
        looks_while_training=sum(len(one.curve) for one in trials if one.same_as is None),
        candidates=len(candidates),
        expected_loss=expected,
        optimism=None if expected is None else expected - ranked[0][0],
        over_default=over(0),
        over_runner_up=over(candidates[1] if len(candidates) > 1 else None),
    )
    return SweepResults(trials=list(trials), winner=winner, max_gain_gap=max_gain_gap, selection=selection)
