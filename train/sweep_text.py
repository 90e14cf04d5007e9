"""What a person reads of a sweep: its trials, the winner, what choosing did to its figures, and how to train it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from schemas.progress import duration
from schemas.sweep_config import with_values
from schemas.sweep_results import Advantage, Selection, SweepResults, Trial


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings in a line, as `--set` takes them."""
    return "  ".join(f"{name}={value_text(value)}" for name, value in settings.items())


def value_text(value: Any) -> str:
    """A value as YAML reads it, in one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1 << 20).removesuffix("...\n").strip()


def progress_line(trial: Trial, done: Sequence[Trial], total: int, seconds_left: float) -> str:
    """What came of a trial, the best so far, and the time left at the pace so far."""
    passed = [(one.validation_loss, one.number) for one in done if one.state == "passed"]
    best = f"; best so far: trial {min(passed)[1]}, {min(passed)[0]:.4f}" if passed else ""
    left = f"; {duration(seconds_left)} left" if len(done) < total else ""
    return f"trial {trial.number}: {outcome_text(trial)}{best}; {len(done)} of {total} done{left}"


def outcome_text(trial: Trial) -> str:
    """How a trial ended."""
    measured = "" if trial.validation_loss is None else f" validation loss {trial.validation_loss:.4f}"
    again = "" if trial.same_as is None else f" as trial {trial.same_as}"
    return f"{trial.state}{again}{measured}" + (f" ({trial.reason})" if trial.reason else "")


def best_text(winner: Trial) -> str:
    """`best.yaml`: the winner's settings, to paste into a config."""
    return yaml.safe_dump({"train": with_values({}, winner.settings)}, sort_keys=False)


def train_command(winner: Trial, words: Sequence[str]) -> str:
    """The command that trains the winner, or finds its training.

    Args:
        winner: the trial.
        words: options of the sweep that the training needs too.
    """
    given = [word for name, value in winner.settings.items() for word in ("--set", f"train.{name}={value_text(value)}")]
    return shlex.join(["assay", "train", *words, *given])


def render(results: SweepResults, words: Sequence[str]) -> list[str]:
    """All of it as lines of text.

    Args:
        results: of the sweep.
        words: as in `train_command`.
    """
    lines = [f"{'trial':>5}  {'outcome':<8}  {'validation loss':>15}  {'gain gap':>8}  settings"]
    for one in results.trials:
        loss = "-" if one.validation_loss is None else f"{one.validation_loss:.4f}"
        gap = "-" if one.gain_gap is None else f"{one.gain_gap:.3f}"
        notes = " (train as the config has it)" if one.number == 0 else ""
        notes += f" (as trial {one.same_as})" if one.same_as is not None else ""
        lines.append(f"{one.number:>5}  {one.state:<8}  {loss:>15}  {gap:>8}  {settings_text(one.settings)}{notes}")
    faults = [
        f"trial {one.number} {one.state}: {one.reason}" for one in results.trials if one.reason and not one.same_as
    ]
    lines += ["", *faults] if faults else []
    lines.append("")
    if results.winner is None or results.selection is None:
        return [*lines, *without_winner(results)]
    winner = results.trials[results.winner]
    lines.append(
        f"winner: trial {winner.number}, validation loss {winner.validation_loss:.4f}, gain gap {winner.gain_gap:.3f} "
        f"(allowed: {results.max_gain_gap:g})"
    )
    lines += selection_lines(results.selection)
    return [*lines, "", "train it, or find its training, with", f"  {train_command(winner, words)}"]


def without_winner(results: SweepResults) -> list[str]:
    """What to do when no trial may be believed."""
    lines = ["no winner: no trial finished and passed the overfitting watch"]
    if any(one.state == "rejected" for one in results.trials):
        lines.append(
            "rejected trials learn their rows by heart: bring more rows, or let sweep.space hold lower learning rates, "
            f"fewer epochs and a smaller r; train.watch.max_gain_gap is {results.max_gain_gap:g}"
        )
    if any(one.state == "failed" for one in results.trials):
        lines.append("failed trials need lower learning rates, or smaller batches where memory did not suffice")
    return lines


def selection_lines(selection: Selection) -> list[str]:
    """What the search did to the winner's figures."""
    lines = [
        f"chosen on {selection.rows} validation rows in {selection.components} independent groups: looked at "
        f"{selection.looks} times, and at a sample {selection.looks_while_training} times while training",
        "the test split was not read",
    ]
    if selection.expected_loss is None or selection.optimism is None:
        return [*lines, "there are too few independent groups to say how much of the winner's lead is chance"]
    lines.append(
        f"expected loss on new rows {selection.expected_loss:.4f}: choosing among {selection.candidates} makes the "
        f"winner's own figure look {selection.optimism:.4f} better (BBC-CV bootstrap, Tsamardinos et al. 2018)"
    )
    for name, found in (
        ("the config's own settings", selection.over_default),
        ("the next best", selection.over_runner_up),
    ):
        if found is not None:
            lines.append(advantage_text(name, found))
    return lines


def advantage_text(name: str, found: Advantage) -> str:
    """How the winner compares with another trial."""
    told = "is better than" if found.told_apart else "cannot be told apart from"
    return (
        f"it {told} {name} (trial {found.over}): {found.nats:+.4f} nats a token, at least {found.lower:+.4f} with 95% "
        "confidence, the choice among all allowed for"
    )
