"""The curves of a training run as SVG: loss by step with the published step and the ways back, other measurements."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from evals.report_pictures import BASE, INK, MUTED, REFERENCE, TUNED, WIDTH_PX, as_svg, load_altair, series
from evals.report_training import BATCHES, HELD_OUT, TRAINED, Curve, Measure, Points

MOST_POINTS = 400
"""Longer curves are drawn as means of stretches of steps, so that a picture stays small."""
STYLES = {
    BATCHES: {"color": BASE, "shape": "stroke", "strokeDash": [1, 0]},
    TRAINED: {"color": REFERENCE, "shape": "diamond", "strokeDash": [5, 3]},
    HELD_OUT: {"color": TUNED, "shape": "circle", "strokeDash": [1, 0]},
}
LOSS_PX, MEASURE_PX, WAY_BACK_PX = 220, 110, 16


def curve_picture(curve: Curve) -> str:
    """Loss by optimiser step: batches as a thin line, both samples as marked lines, ways back as bars above.

    Raises:
        MissingExtra: altair or vl-convert is not installed.
    """
    alt = load_altair()
    lines = {BATCHES: curve.batches, TRAINED: curve.trained, HELD_OUT: curve.held_out}
    end = max(step for points in lines.values() for step, _ in points)
    chart = _lines(alt, lines, f"{curve.name}, {curve.unit}", (0, end))
    if curve.published is not None:
        chart = alt.layer(*_published(alt, curve.published, end), chart)
    chart = chart.properties(width=WIDTH_PX, height=LOSS_PX)
    if curve.ways_back:
        chart = alt.vconcat(_ways_back(alt, curve, end), chart, spacing=20, bounds="flush").resolve_scale(x="shared")
    return as_svg(chart)


def measures_picture(measures: Sequence[Measure]) -> str:
    """One panel for each thing that was measured on both samples beside the loss.

    Raises:
        MissingExtra: altair or vl-convert is not installed.
    """
    alt = load_altair()
    end = max(step for one in measures for points in (one.trained, one.held_out) for step, _ in points)
    panels = []
    for measure in measures:
        title = alt.TitleParams(measure.title, anchor="start", fontSize=13, color=INK)
        panel = _lines(alt, {TRAINED: measure.trained, HELD_OUT: measure.held_out}, None, (0, end))
        panels.append(panel.properties(width=WIDTH_PX, height=MEASURE_PX, title=title))
    return as_svg(alt.vconcat(*panels, spacing=24))


def _lines(alt: Any, lines: dict[str, Points], title: str | None, steps: tuple[int, int]) -> Any:
    """Each series by step; the batches, of which there are many, without marks."""
    drawn = {name: points for name, points in lines.items() if points}
    x = alt.X(
        "step:Q",
        title="optimiser step",
        axis=alt.Axis(tickMinStep=1, format="d", labelFlush=False),
        scale=alt.Scale(domain=list(steps), nice=False),
    )
    y = alt.Y("value:Q", title=title, scale=alt.Scale(zero=False))
    looks = {
        channel: series(alt, channel, list(drawn), [STYLES[name][channel] for name in drawn])
        for channel in ("color", "shape", "strokeDash")
    }
    layers = []
    for name, points in drawn.items():
        values = [{"step": step, "value": value, "rows": name} for step, value in thinned(points)]
        chart = alt.Chart(alt.Data(values=values))
        width = 1 if name == BATCHES else 2
        layers.append(
            chart.mark_line(strokeWidth=width).encode(x=x, y=y, color=looks["color"], strokeDash=looks["strokeDash"])
        )
        if name != BATCHES or len(points) == 1:
            marked = chart.mark_point(filled=True, size=60, opacity=1)
            layers.append(marked.encode(x=x, y=y, color=looks["color"], shape=looks["shape"]))
    return alt.layer(*layers)


def _published(alt: Any, step: int, end: int) -> list[Any]:
    """A line at the step whose weights are the result, named on the side where there is room."""
    rule = alt.Chart(alt.Data(values=[{"step": step, "label": f"published: step {step}"}])).encode(x="step:Q")
    align, offset = ("right", 6) if step > end / 2 else ("left", -6)
    words = rule.mark_text(align=align, dx=offset, y=-8, fontSize=12, color=INK).encode(text="label:N")
    return [rule.mark_rule(strokeWidth=1.5, strokeDash=[2, 2], color=INK), words]


def _ways_back(alt: Any, curve: Curve, end: int) -> Any:
    """A bar from the step where the loss jumped back to the one that training went on from."""
    names = [f"way back {k}" for k in range(1, len(curve.ways_back) + 1)]
    rows = [
        {"name": name, "step": one.step, "back_to": one.back_to}
        for name, one in zip(names, curve.ways_back, strict=True)
    ]
    y = alt.Y("name:N", sort=names, title=None, axis=alt.Axis(grid=False, labelFontSize=11, domain=False, ticks=False))
    x = alt.Scale(domain=[0, end], nice=False)
    chart = alt.Chart(alt.Data(values=rows))
    bar = chart.mark_rule(strokeWidth=2, color=MUTED).encode(y=y, x=alt.X("back_to:Q", axis=None, scale=x), x2="step:Q")
    tip = chart.mark_point(shape="triangle-left", filled=True, size=60, opacity=1, color=MUTED)
    return alt.layer(bar, tip.encode(y=y, x=alt.X("back_to:Q", axis=None, scale=x))).properties(
        width=WIDTH_PX, height=WAY_BACK_PX * len(rows)
    )


def thinned(points: Points, most: int = MOST_POINTS) -> Points:
    """At most so many points: means of stretches of equally many, at the last step of each."""
    each = -(-len(points) // most)
    stretches = [points[k : k + each] for k in range(0, len(points), each)]
    return tuple((part[-1][0], statistics.fmean(value for _, value in part)) for part in stretches)
