"""Following a run: metrics, progress, held-out loss and gain gap, and the way back from a loss that jumps."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from schemas.atomic import write_atomic
from train.adapter import TrainingDiverged
from train.monitor import MetricsLog, View
from train.processes import is_main_process, processes
from train.trainer import Job

SPIKE_FLOOR = 0.5
"""Nats by which a loss must exceed the median at least, so that small losses may double without alarm."""
HIGH, ABOVE_HIGH = 0.9, 2.0
"""A loss must also be so many times what this share of the steps stays below: where every fourth batch is hard, as with
batches of equal length, three hard ones in a row are no jump."""
NOT_RECORDED = ("epoch", "learning_rate", "grad_norm", "loss", "num_tokens", "step_time")
ROW_DIGITS = 6
MEASURED = ("loss", "accuracy", "kl", "margin", "reward", "rewards/accuracies", "rewards/margins")
"""What is kept of a method's own evaluation."""


def spike_limit(before: Sequence[float], spike: float) -> float:
    """The loss above which a step is a spike, after steps with these losses."""
    usual, high = statistics.median(before), sorted(before)[math.ceil(HIGH * len(before)) - 1]
    return max(usual * spike, usual + SPIKE_FLOOR, high * ABOVE_HIGH)


class LossJumped(Exception):
    """A loss or a gradient that training does not go on from."""

    def __init__(self, step: int, found: str, since: int | None = None) -> None:
        super().__init__(found)
        self.step = step
        self.since = step if since is None else since
        """The first step that showed it."""
        self.found = found


class Rollbacks:
    """The ways back of a run so far, kept beside its checkpoints: a killed run goes on at the same learning rate."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.made: list[dict[str, Any]] = json.loads(path.read_bytes()) if path.is_file() else []

    def add(self, step: int, back_to: int, found: str) -> None:
        """Note that training went back from a step to an earlier one."""
        self.made.append({"step": step, "back_to": back_to, "found": found})
        if is_main_process():
            write_atomic(self._path, json.dumps(self.made, indent=1).encode("ascii") + b"\n")

    def give_up(self, job: Job, jumped: LossJumped) -> TrainingDiverged:
        """The error for a run that jumped once more than it may."""
        rows = job.rows_of_step(jumped.step)
        tried = f", after {len(self.made)} ways back to a checkpoint" if self.made else ""
        named = f"; its rows: {', '.join(rows[:8])}" if rows else ""
        return TrainingDiverged(
            "training diverged; nothing was published",
            where=f"optimiser step {jumped.step}{named}",
            found=f"{jumped.found}{tried}",
            expected="a finite number near those of the steps before",
            help="lower train.learning_rate, add train.warmup_steps, or look at these rows",
        )


class Watch(TrainerCallback):
    """Called by the trainer at each step."""

    def __init__(self, job: Job, metrics: MetricsLog, view: View, rollbacks: Rollbacks) -> None:
        self.metrics = metrics
        self.trainer: Any = None
        """Set by the trainer once it is made."""
        self._job = job
        self._view = view
        self._factor = job.settings.guard.factor ** len(rollbacks.made)
        self._tokens = self._seen_before = 0
        self._tally: dict[str, float] = {}
        self._measured: dict[str, Any] = {}

    def saw_tokens(self, tokens: int) -> None:
        """Count the tokens of a batch, padding left out."""
        self._tokens += tokens

    def saw(self, **sums: float) -> None:
        """Add to the sums that a method keeps over the batches of a step: `nll` in nats, `supervised`, `correct`."""
        for name, value in sums.items():
            self._tally[name] = self._tally.get(name, 0.0) + value

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the untouched base model."""
        self._seen_before = int(state.num_input_tokens_seen)
        if state.global_step == 0 and self._job.samples:
            self._measure(0)
            self.metrics.write({"step": 0, **self._measured})
            self._measured = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After a way back the learning rate is lower; the schedule itself stays as it is."""
        for group in kwargs["optimizer"].param_groups if self._factor != 1.0 else ():
            group["lr"] *= self._factor

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure at the planned steps; these are kept where the best of them is published."""
        if state.global_step not in self._job.watch_steps or not self._job.samples:
            return
        self._measure(state.global_step)
        control.should_log = True  # an evaluation takes the mark away
        settings = self._job.settings
        control.should_save = control.should_save or settings.keep == "best" or settings.early_stopping is not None
        now = [(state.global_step, self._measured[name]) for name in ("held_out_loss",) if name in self._measured]
        if self._stalled([*self._held_out(), *now]):
            self._view.say(f"the held-out loss did not improve in {settings.early_stopping} measurements: stopping")
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Write the record of the step; this runs before the checkpoint of the same step is saved."""
        if logs is None or "loss" not in logs or "grad_norm" not in logs:
            return
        self._add_up_processes()
        norm, loss = float(logs["grad_norm"]), self._loss(logs)
        record = {
            "step": state.global_step,
            "epoch": round(float(state.epoch), 6),
            "loss": loss,
            **self._sums(),
            "tokens": self._tokens_of(logs),
            "learning_rate": float(logs["learning_rate"]) * self._factor,
            "grad_norm": norm,
            **{key: float(value) for key, value in logs.items() if _is_recorded(key, value)},
        }
        for name, value in (("loss", loss), ("gradient norm", norm)):
            if not math.isfinite(value):
                raise LossJumped(state.global_step, f"a {name} of {value}")
        self._look_for_spike(state.global_step, loss)
        self.metrics.write(record | self._measured)
        self._view.advance(state.global_step, record["tokens"], loss)
        self._tokens, self._tally, self._measured = 0, {}, {}

    def best_step(self) -> int | None:
        """The step, after at least one of training, with the least held-out loss; null before any was measured."""
        found = [(loss, step) for step, loss in self._held_out() if step > 0]
        return min(found)[1] if found else None

    def stopped_early(self) -> bool:
        """Whether the measurements so far end training; so a run that was killed after them does not go on."""
        return self._stalled(self._held_out())

    def _stalled(self, held_out: list[tuple[int, float]]) -> bool:
        patience = self._job.settings.early_stopping
        if patience is None or not held_out:
            return False
        losses = [loss for _, loss in held_out]
        return len(losses) - 1 - losses.index(min(losses)) >= patience

    def _held_out(self) -> list[tuple[int, float]]:
        return [(one["step"], one["held_out_loss"]) for one in self.metrics.records if "held_out_loss" in one]

    def _add_up_processes(self) -> None:
        """Sums over the whole step: each process saw its own batches."""
        if processes() == 1:
            return
        names = sorted(self._tally)
        own = torch.tensor([self._tokens, *(self._tally[name] for name in names)], dtype=torch.float64)
        tokens, *sums = self.trainer.accelerator.reduce(own.to(self.trainer.args.device)).tolist()
        self._tokens, self._tally = int(tokens), dict(zip(names, sums, strict=True))

    def _loss(self, logs: dict[str, Any]) -> float:
        """Nats per supervised token where the method sums them, else the trainer's own figure."""
        if "supervised" in self._tally:
            return self._tally["nll"] / max(self._tally["supervised"], 1)
        return float(logs["loss"])

    def _sums(self) -> dict[str, float]:
        if "supervised" not in self._tally:
            return {}
        supervised = int(self._tally["supervised"])
        return {"accuracy": self._tally["correct"] / max(supervised, 1), "supervised_tokens": supervised}

    def _tokens_of(self, logs: dict[str, Any]) -> int:
        """Tokens of the step: counted in batches, or, where the answers are drawn while training, by the trainer."""
        if self._job.settings.method != "grpo":
            return self._tokens
        total = int(logs.get("num_tokens", 0))
        step, self._seen_before = total - self._seen_before, total
        return step

    def _look_for_spike(self, step: int, loss: float) -> None:
        guard = self._job.settings.guard
        if guard.spike is None or self._job.settings.method == "grpo":  # whose loss is near 0 by construction
            return
        last = self.metrics.records[-(guard.window + guard.patience) :]
        losses = [*(one["loss"] for one in last if "loss" in one), loss]
        before, recent = losses[: -guard.patience][-guard.window :], losses[-guard.patience :]
        if len(before) < guard.window:
            return
        if min(recent) > spike_limit(before, guard.spike):
            usual = statistics.median(before)
            found = f"a loss of {loss:.4g} where the median of {guard.window} steps was {usual:.4g}"
            raise LossJumped(step, found, step - guard.patience + 1)

    def _measure(self, step: int) -> None:
        found: dict[str, float] = {}
        rows: list[float] = []
        for name in self._job.samples:
            measured = self.trainer.measure(name)
            rows = measured.get("rows", rows) if name == "held_out" else rows
            found |= {f"{name}_{key.replace('/', '_')}": measured[key] for key in MEASURED if key in measured}
        start = next((one for one in self.metrics.records if one["step"] == 0), found)
        if "trained_loss" in found and "held_out_loss" in found:
            gains = {name: start[f"{name}_loss"] - found[f"{name}_loss"] for name in ("trained", "held_out")}
            found["gain_gap"] = gains["trained"] - gains["held_out"]
        if self._job.settings.report_to:
            Trainer.log(self.trainer, dict(found))  # TRL's own would close the averages of the step
        broken = [f"a {name.replace('_', ' ')} of {value}" for name, value in found.items() if not math.isfinite(value)]
        if broken:
            raise LossJumped(step, broken[0])
        self._measured = {**found, "held_out_rows": [round(loss, ROW_DIGITS) for loss in rows]} if rows else {**found}
        self._view.measured(step, found)
        limit = self._job.settings.watch.max_gain_gap
        if found.get("gain_gap", 0.0) > limit:
            gap = found["gain_gap"]
            self._view.say(
                f"trained rows gained {gap:.2f} nats a token more than held-out rows: it learns them by heart"
            )


def _is_recorded(key: str, value: Any) -> bool:
    return isinstance(value, int | float) and key not in NOT_RECORDED and not key.startswith(("profiling", "entropy"))
