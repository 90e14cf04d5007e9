"""A plan as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.plan import Plan, PlannedBatch
from schemas.progress import duration
from schemas.terminal import printable, printable_json
from schemas.verdict import Outcome

MIB, GIB = 1 << 20, 1 << 30
LABEL, CELL = 12, 16
MARKS = {Outcome.PASS: "yes", Outcome.FAIL: "NO", Outcome.NOT_APPLICABLE: "-"}
VERDICTS = {
    Outcome.PASS: "nothing stands against it",
    Outcome.FAIL: "as it is, this run cannot succeed",
    Outcome.INCONCLUSIVE: "this run could not show what it is to show, or it cannot be told",
    Outcome.STALE: "the data verdict no longer fits",
}


def as_json(plan: Plan) -> str:
    """One JSON object."""
    return printable_json(plan.model_dump_json(indent=1)) + "\n"


def as_text(plan: Plan) -> str:
    """For a terminal."""
    lines = [*_head(plan), "", *_memory(plan), "", *_time(plan), "", *_chain(plan), "", *_checks(plan)]
    return "".join(printable(line) + "\n" for line in lines)


def _row(label: str, text: str) -> str:
    return f"{label:<{LABEL}} {text}".rstrip()


def _head(plan: Plan) -> Iterator[str]:
    rows, counts = plan.rows, plan.parameters
    yield f"{plan.name}: {plan.method} of {plan.base_model} on {plan.device.name} in {plan.device.dtype}"
    yield ""
    left_out = f"; train.max_examples leaves out {rows.not_chosen:,}" if rows.not_chosen else ""
    yield _row("rows", f"{rows.trained:,} of {rows.in_split:,} in the train split{left_out}")
    cut = f"; {rows.truncated:,} rows lose {rows.truncated_tokens:,} to train.max_length" if rows.truncated else ""
    yield _row("tokens", f"{rows.tokens:,} a pass, {rows.supervised_tokens:,} of them supervised{cut}")
    yield _row("steps", f"{rows.steps:,} in {rows.epochs:,} {'pass' if rows.epochs == 1 else 'passes'}")
    share = f"{counts.trained / counts.base:.4f} of {counts.base:,}" if counts.base else "0"
    yield _row("parameters", f"{counts.trained:,} are trained, {share}")
    for name, count in counts.adapter.items():
        yield _row("", f"{name:<12}{count:>14,}")


def _memory(plan: Plan) -> Iterator[str]:
    if plan.memory is None:
        yield _row("memory", "not known; see below")
        return
    batches = (plan.memory.longest, plan.memory.full_length)
    yield _row("memory", _cells("longest batch", "at max_length"))
    yield _row("", _cells(*(f"{batch.sequences:,} x {batch.tokens:,}" for batch in batches)))
    for part in batches[0].parts:
        if any(batch.parts[part] for batch in batches):
            yield _row(f"  {part}", _cells(*(_size(batch.parts[part]) for batch in batches)))
    yield _row("  process", _cells(*(_size(batch.overhead) for batch in batches)))
    yield _row("  all", _cells(*(_size(batch.total) for batch in batches)))
    free = "unknown" if plan.device.free_bytes is None else _size(plan.device.free_bytes)
    yield _row("  free", _cells(free, free))
    yield _row("batch_size", _cells(*map(_fitting, batches)) + "   the largest that fits")


def _fitting(batch: PlannedBatch) -> str:
    return "unknown" if batch.fitting is None else f"{batch.fitting:,}"


def _cells(*texts: str) -> str:
    return "".join(f"{text:>{CELL}}" for text in texts)


def _size(count: int) -> str:
    return f"{count / GIB:,.2f} GiB" if count >= GIB else f"{count / MIB:,.1f} MiB"


def _time(plan: Plan) -> Iterator[str]:
    time = plan.time
    if time is None:
        yield _row("time", plan.time_note)
        return
    yield _row("time", f"{duration(time.seconds)}, between {duration(time.low)} and {duration(time.high)}")
    for name, seconds in (
        ("start", time.start),
        ("training", time.training),
        ("watching", time.watching),
        ("checkpoints", time.checkpoints),
    ):
        yield _row("", f"{name:<12}{duration(seconds):>10}")
    yield _row("", plan.time_note)
    if plan.cost is not None:
        cost = plan.cost
        between = f"between {cost.low:,.2f} and {cost.high:,.2f}"
        yield _row("cost", f"{cost.cost:,.2f}, {between}, at {cost.price_per_hour:g} an hour")


def _chain(plan: Plan) -> Iterator[str]:
    for place, stage in enumerate(plan.stages):
        yield _row("stages" if place == 0 else "", f"{stage.stage:<10}{stage.state:<10}{stage.detail}")


def _checks(plan: Plan) -> Iterator[str]:
    for check in plan.checks:
        yield f"{MARKS.get(check.outcome, '?'):<4} {check.name}: {check.message}"
        if check.help:
            yield f"     {check.help}"
    yield f"{plan.outcome.value}: {VERDICTS[plan.outcome]}"
