"""The exported model's answers to every item of the gate suites beside the recorded ones of the judged model."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curate.power import items_for_variance, items_needed
from evals.comparison import Comparison, compare_scores
from evals.release.numbers import measured
from evals.release.prompts import Prompt, Suite
from evals.release.reading import TokenRow, encode, read
from evals.stats import proportion
from schemas.release import TaskEquivalence
from schemas.verdict import Check, Outcome

if TYPE_CHECKING:
    from evals.harness import TaskRun

EACH_SIDE = 0.9
"""Power of each of the two one-sided tests with which both are passed with power 0.8 at least (Bonferroni)."""
SAME_SCORE = 1e-9


@dataclass(frozen=True)
class Unlike:
    """An item that the exported model answered otherwise."""

    prompt: Prompt
    recorded: str
    answered: str
    text: bool
    """Whether both are whole answers, word for word, so that it can be seen at which token they part."""
    tie: bool = False
    """Whether the judged model itself was undecided."""


@dataclass(frozen=True)
class Answered:
    """One task, answered by the exported model."""

    suite: Suite
    same: list[bool]
    """Of each item, in the order of `items`."""
    items: pl.DataFrame
    """item_id, position and cluster."""
    unlike: list[Unlike]
    other_prompts: int
    """Items whose prompt was not the recorded one, by its digest."""
    comparison: Comparison

    @property
    def ties(self) -> int:
        """Differing items on which the judged model itself was undecided."""
        return sum(one.tie for one in self.unlike)

    @property
    def exact(self) -> bool:
        """Whether every answer is the recorded one or a tie; drawn answers need not agree."""
        return self.suite.drawn or self.same.count(False) == self.ties


def compared(
    suite: Suite, run: TaskRun, prompts: Sequence[Prompt], tokenizer: Any, tolerance: float, alpha: float, seed: int
) -> Answered:
    """Put a run of a task beside what was recorded.

    Args:
        suite: the task with the recorded answers.
        run: of the exported model.
        prompts: of the task's items.
        tokenizer: the judged model's.
        tolerance: of a token's log-probability, in nats.
        alpha: 1 - level of the interval of the difference.
        seed: of resampling.
    """
    lines = [
        (item.position, item.sample, item.prediction, item.score, item.detail, item.prompt_sha256) for item in run.items
    ]
    names = ("position", "sample", "answered", "exported", "details", "prompted")
    kinds = (pl.Int64, pl.Int64, pl.String, pl.Float64, pl.String, pl.String)
    ours = pl.DataFrame(lines, schema=dict(zip(names, kinds, strict=True)), orient="row")
    pairs = suite.recorded.join(ours, on=["position", "sample"], how="left").sort("position", "sample")
    by_place = {prompt.position: prompt for prompt in prompts}
    unlike: dict[int, Unlike] = {}
    for line in pairs.iter_rows(named=True):
        found = _unlike(suite, line, by_place[line["position"]], tokenizer, tolerance)
        if found is not None:
            unlike.setdefault(line["position"], found)
    items = pairs.select("item_id", "position", "cluster").unique(maintain_order=True)
    scores = {
        name: pairs.select("item_id", "position", "cluster", "run", "sample", score=name)
        for name in ("exported", "score")
    }
    return Answered(
        suite=suite,
        same=[place not in unlike for place in items["position"]],
        items=items,
        unlike=list(unlike.values()),
        other_prompts=pairs.filter(pl.col("prompt_sha256") != pl.col("prompted")).select("item_id").n_unique(),
        comparison=compare_scores(
            scores["exported"], scores["score"], higher=suite.higher_is_better, alpha=alpha, seed=seed
        ),
    )


def _unlike(suite: Suite, line: dict[str, Any], prompt: Prompt, tokenizer: Any, tolerance: float) -> Unlike | None:
    """Null where the item got the recorded answer."""
    recorded, answered = line["prediction"], line["answered"] or ""
    if (line["score"] is None) != (line["exported"] is None):
        return Unlike(prompt, recorded, answered, text=False)
    if suite.output_type in ("loglikelihood", "loglikelihood_rolling"):
        return _unlike_likelihood(line, prompt, tokenizer, tolerance)
    same_score = line["score"] is None or abs(line["score"] - line["exported"]) <= SAME_SCORE
    if recorded == answered and same_score:
        return None
    tie = recorded != answered and not suite.generates and _tie(line, prompt, tokenizer, tolerance)
    return Unlike(prompt, recorded, answered, text=suite.generates and not suite.filters, tie=tie)


def _unlike_likelihood(line: dict[str, Any], prompt: Prompt, tokenizer: Any, tolerance: float) -> Unlike | None:
    own, other = (json.loads(line[name] or "{}").get("log_likelihood") for name in ("detail", "details"))
    if own is None or other is None:
        return None if own is other else Unlike(prompt, str(own), str(other), text=False)
    text = prompt.answer or prompt.context
    bound = tolerance * max(1, len(encode(tokenizer, text)))
    return None if abs(own - other) <= bound else Unlike(prompt, f"{own:.4f} nats", f"{other:.4f} nats", text=False)


def _tie(line: dict[str, Any], prompt: Prompt, tokenizer: Any, tolerance: float) -> bool:
    """Whether the recorded log-likelihoods of the two choices lie closer than the tolerance could move them."""
    recorded = dict(
        zip(json.loads(line["detail"]).get("choices", []), (one.log_likelihood for one in prompt.choices), strict=False)
    )
    own, other = recorded.get(line["prediction"]), recorded.get(line["answered"])
    if own is None or other is None:
        return False
    tokens = sum(len(encode(tokenizer, text)) for text in (line["prediction"], line["answered"]))
    return bool(abs(own - other) <= tolerance * tokens)


def with_ties(answered: Answered, model: Any, tokenizer: Any, tolerance: float) -> Answered:
    """The same, with those generated answers marked that part where the judged model itself was undecided.

    Args:
        answered: of a task.
        model: the judged one.
        tokenizer: its own.
        tolerance: of a token's log-probability, in nats.
    """
    longest = int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048)
    unlike = [
        replace(one, tie=_parts_at_tie(one, model, tokenizer, tolerance, longest)) if one.text else one
        for one in answered.unlike
    ]
    return replace(answered, unlike=unlike)


def _parts_at_tie(one: Unlike, model: Any, tokenizer: Any, tolerance: float, longest: int) -> bool:
    """Whether the token at which the answers part was, to the judged model, as likely as its own within the tolerance.

    An answer that stops where the other goes on parts from it at its end.
    """
    end = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    start = len(encode(tokenizer, one.prompt.context))
    own, other = (encode(tokenizer, one.prompt.context + text)[start:] + end for text in (one.recorded, one.answered))
    place = next((k for k, (a, b) in enumerate(zip(own, other, strict=False)) if a != b), None)
    if place is None:
        return False
    told = (*encode(tokenizer, one.prompt.context)[:start], *own[: place + 1])[-longest:]
    entry = len(told) - 2
    if entry < 0:
        return False
    scores = read(model, TokenRow(one.prompt, told, 1), [entry]).held[entry]
    return float(scores.max() - scores[other[place]]) <= 2 * tolerance


# ------------------------------------------------------------------------------------------------------- judgement


def task_equivalence(answered: Answered, margin: float, alpha: float, *, settled: bool) -> TaskEquivalence:
    """The numbers of a task.

    Args:
        answered: by the exported model.
        margin: largest difference that counts as none.
        alpha: 1 - level of the intervals.
        settled: whether no interval is needed to judge it.
    """
    found, suite = answered.comparison, answered.suite
    sign = 1.0 if suite.higher_is_better else -1.0
    unsure = not settled and within(found, margin) is Outcome.INCONCLUSIVE
    share = proportion(np.array(answered.same, dtype=np.float64), answered.items["cluster"].to_numpy(), alpha)
    return TaskEquivalence(
        task=suite.name,
        metric=suite.metric,
        items=len(answered.same),
        same=sum(answered.same),
        ties=answered.ties,
        judged=sign * found.baseline_mean,
        exported=sign * found.candidate_mean,
        difference=measured(found.interval),
        agreement=measured(share),
        items_needed=items_to_decide(found, margin, alpha) if unsure else None,
    )


def within(found: Comparison, margin: float) -> Outcome:
    """Two one-sided tests in one look at the interval (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657-680).

    Pass where the whole two-sided 1 - alpha interval lies inside (-margin, margin), so that each one-sided test is at
    alpha / 2; fail where all of it lies outside on one side; inconclusive otherwise, or with too few clusters.
    """
    interval = found.interval
    if not interval.is_evidence:
        return Outcome.INCONCLUSIVE
    if interval.low >= margin or interval.high <= -margin:
        return Outcome.FAIL
    return Outcome.PASS if -margin < interval.low and interval.high < margin else Outcome.INCONCLUSIVE


def items_to_decide(found: Comparison, margin: float, alpha: float) -> int | None:
    """Items with which both tests are passed with power 0.8, were difference and disagreement those that were measured.

    Where that says that there are enough already, as many as make the interval that was found narrow enough: it is
    wider than power knows where few clusters hold what differs. Null where the measured difference is itself outside
    the margin, or is not a number.
    """
    interval = found.interval
    truth = abs(interval.estimate)
    if not truth < margin:  # not a number compares as false
        return None
    if found.binary:
        discordance = (found.gained + found.lost) / max(interval.items, 1)
        planned = float(items_needed(-truth, -margin, discordance, alpha, EACH_SIDE, found.design_effect))
    else:
        planned = items_for_variance(margin - truth, found.variance, alpha, EACH_SIDE) * found.design_effect
    if planned > interval.items:
        return math.ceil(planned) if math.isfinite(planned) else None
    half = max(interval.high - interval.estimate, interval.estimate - interval.low)
    return max(math.ceil(interval.items * (half / (margin - truth)) ** 2), interval.items + 1)


def task_check(answered: Answered, told: TaskEquivalence, *, strict: bool, exact: bool, margin: float) -> Check:
    """Whether a task is answered alike.

    Args:
        answered: by the exported model.
        told: its numbers.
        strict: every answer must be the recorded one or a tie.
        exact: nothing else differs either, so that equal answers are no accident of these items.
        margin: what the interval of the difference must lie within otherwise.
    """
    words = f"{told.same:,} of {told.items:,} items of {told.task} have the recorded answer"
    words += f", {told.ties:,} more are ties" if told.ties else ""
    if answered.exact and (strict or exact) and not answered.suite.drawn:
        return _task_check(told, Outcome.PASS, words, "", {})
    if strict and not answered.suite.drawn:
        first = next(one for one in answered.unlike if not one.tie)
        words += f"; the first other one is {_short(first.recorded)} that became {_short(first.answered)}"
        return _task_check(
            told, Outcome.FAIL, words, "the weights or what stands around them are not the judged ones", {}
        )
    difference, outcome = told.difference, within(answered.comparison, margin)
    if difference.low is not None and difference.high is not None and difference.estimate is not None:
        ends = f"{difference.estimate:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
        words += f"; the {told.metric} score differs by {ends}, allowed is {margin:g} either way"
    return _task_check(told, outcome, words, _advice(outcome, told, margin), {"margin": margin})


def _task_check(
    told: TaskEquivalence, outcome: Outcome, message: str, advice: str, required: dict[str, float]
) -> Check:
    facts = told.model_dump(mode="json", include={"same", "ties", "items", "difference", "items_needed"})
    return Check(
        name=f"task:{told.task}", outcome=outcome, message=message, measured=facts, required=required, help=advice
    )


def _advice(outcome: Outcome, told: TaskEquivalence, margin: float) -> str:
    if outcome is Outcome.FAIL:
        return "take a form with more bits, or release without this one"
    if outcome is not Outcome.INCONCLUSIVE:
        return ""
    if told.items_needed is None:
        said = f"the measured difference is not below {margin:g}, and more items would hardly show it to be"
        return f"{said}: take a form with more bits"
    said = f"some {told.items_needed:,} items would decide, were the difference as measured"
    return f"{said}: raise evals.limit, or release.margin"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")
