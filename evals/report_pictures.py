"""The report's pictures as SVG: scores with their intervals, loss by step, loss on trained and on held-out rows.

Drawn with altair, rendered by vl-convert without a browser or a network. Colours are the few of PALETTE, so that a page
can restyle them for a dark screen. Text from data is given as data or as a chart's title, which the renderer escapes;
never as the name of a field or the title of an axis, from which Vega builds expressions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from evals.report_facts import Curve
from schemas.errors import MissingExtra
from schemas.results import TaskScore
from schemas.terminal import printable

INK, MUTED, GRID = "#1c2430", "#5b6573", "#dfe4ea"
TUNED, BASE, REFERENCE = "#1f6fb2", "#6f7a88", "#b26a00"
PALETTE = {"ink": INK, "muted": MUTED, "grid": GRID, "tuned": TUNED, "base": BASE, "reference": REFERENCE}
WIDTH_PX = 480
NAMES = {"tuned": "tuned model", "base": "base model", "majority": "majority class", "bag_of_words": "bag of words"}


def model_name(model: str) -> str:
    """How a model or reference is called in the report."""
    return printable(NAMES.get(model, model))


def scores_picture(scores: Sequence[TaskScore]) -> str:
    """One panel a task: a dot for each model at its score, a bar for its interval.

    Raises:
        MissingExtra: altair or vl-convert is not installed.
    """
    alt = _altair()
    panels = []
    for task in dict.fromkeys(score.task for score in scores):
        chosen = [score for score in scores if score.task == task]
        panels.append(_score_panel(alt, task, chosen))
    return _svg(alt.vconcat(*panels, spacing=28))


def _score_panel(alt: Any, task: str, scores: Sequence[TaskScore]) -> Any:
    rows = [
        {
            "model": model_name(score.model),
            "value": score.value,
            "low": score.value if score.low is None else score.low,
            "high": score.value if score.high is None else score.high,
            "label": f"{score.value:.3f}",
            "kind": score.model if score.model in ("tuned", "base") else "reference",
        }
        for score in scores
    ]
    ends = [end for row in rows for end in (row["low"], row["high"])]
    unit = all(0.0 <= float(end) <= 1.0 for end in ends)  # type: ignore[arg-type]
    scale = alt.Scale(domain=[0, 1]) if unit else alt.Scale(zero=False, nice=True)
    colour = alt.Color(
        "kind:N", legend=None, scale=alt.Scale(domain=["tuned", "base", "reference"], range=[TUNED, BASE, REFERENCE])
    )
    y = alt.Y("model:N", sort=[row["model"] for row in rows], title=None, axis=_names_axis(alt))
    chart = alt.Chart(alt.Data(values=rows))
    bar = chart.mark_rule(strokeWidth=3, opacity=0.45, strokeCap="round").encode(
        y=y, x=alt.X("low:Q", title="score", scale=scale), x2="high:Q", color=colour
    )
    dot = chart.mark_point(filled=True, size=90, opacity=1).encode(y=y, x="value:Q", color=colour)
    label = chart.mark_text(dy=-12, fontSize=11, color=INK).encode(y=y, x="value:Q", text="label:N")
    name = f"{printable(task)}, {printable(scores[0].metric)}"
    title = alt.TitleParams(name, anchor="start", fontSize=13, color=INK)
    return (bar + dot + label).properties(width=WIDTH_PX, height=36 * len(rows) + 8, title=title)


def curve_picture(curve: Curve) -> str:
    """Loss by optimiser step: trained batches as a line, held-out rows as dots.

    Raises:
        MissingExtra: altair or vl-convert is not installed.
    """
    alt = _altair()
    rows = [{"step": step, "loss": loss, "rows": "trained rows"} for step, loss in curve.train]
    held_out = [{"step": step, "loss": loss, "rows": "held-out rows"} for step, loss in curve.held_out]
    colour = _series(alt, ["trained rows", "held-out rows"] if held_out else ["trained rows"], [BASE, TUNED])
    x = alt.X("step:Q", title="optimiser step", axis=alt.Axis(tickMinStep=1, format="d"))
    y = alt.Y("loss:Q", title="loss, nats per supervised token")
    chart = alt.Chart(alt.Data(values=rows)).mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour)
    if held_out:
        line = alt.Chart(alt.Data(values=held_out)).encode(x=x, y=y, color=colour)
        chart = chart + line.mark_line(strokeWidth=2) + line.mark_point(filled=True, size=50, opacity=1)
    return _svg(chart.properties(width=WIDTH_PX, height=200))


def losses_picture(rows: Sequence[tuple[str, float, float]]) -> str:
    """Loss of each model on trained and on test rows: the further apart the dots of a line, the more was memorised.

    Args:
        rows: (model, loss on trained rows, loss on test rows) in nats per supervised token.

    Raises:
        MissingExtra: altair or vl-convert is not installed.
    """
    alt = _altair()
    values = [
        {"model": model_name(model), "rows": kind, "loss": loss, "label": f"{loss:.3f}"}
        for model, train, test in rows
        for kind, loss in (("trained rows", train), ("test rows", test))
    ]
    order = [model_name(model) for model, _, _ in rows]
    y = alt.Y("model:N", sort=order, title=None, axis=_names_axis(alt))
    x = alt.X("loss:Q", title="loss, nats per supervised token", **_loss_scale(alt, rows))
    chart = alt.Chart(alt.Data(values=values))
    line = chart.mark_line(strokeWidth=2, color=GRID).encode(y=y, x=x, detail="model:N")
    dots = chart.mark_point(filled=True, size=90, opacity=1).encode(
        y=y, x=x, color=_series(alt, ["trained rows", "test rows"], [BASE, TUNED])
    )
    labels = [
        chart.transform_filter(alt.FieldEqualPredicate(field="rows", equal=kind))
        .mark_text(dy=offset, fontSize=11, color=INK)
        .encode(y=y, x=x, text="label:N")
        for kind, offset in (("trained rows", -13), ("test rows", 15))
    ]
    return _svg(alt.layer(line, dots, *labels).properties(width=WIDTH_PX, height=52 * len(rows) + 8))


def _loss_scale(alt: Any, rows: Sequence[tuple[str, float, float]]) -> dict[str, Any]:
    """On a log scale equal distances are equal ratios: 0.02 against 0.08 matters as much as 0.5 against 2."""
    losses = [loss for _, train, test in rows for loss in (train, test)]
    if min(losses) <= 0:
        return {"scale": alt.Scale(zero=True)}
    low, high = min(losses) / 1.6, max(losses) * 1.6
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [mantissa * 10.0**power for power in powers for mantissa in (1, 2, 5)]
    axis = alt.Axis(format="~g", values=[tick for tick in ticks if low <= tick <= high])
    return {"scale": alt.Scale(type="log", domain=[low, high], nice=False), "axis": axis}


def _names_axis(alt: Any) -> Any:
    """Room for the longest usual name, whatever font the page has."""
    return alt.Axis(grid=False, labelFontSize=12, minExtent=110)


def _series(alt: Any, names: list[str], colours: list[str]) -> Any:
    legend = alt.Legend(title=None, orient="top", labelFontSize=12, symbolStrokeWidth=3, columnPadding=18)
    return alt.Color("rows:N", legend=legend, sort=names, scale=alt.Scale(domain=names, range=colours[: len(names)]))


def _altair() -> Any:
    try:
        import altair
    except ModuleNotFoundError as error:
        raise MissingExtra("report", "altair") from error
    return altair


def _svg(chart: Any) -> str:
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        raise MissingExtra("report", "vl-convert-python") from error
    axis = {"labelColor": MUTED, "titleColor": MUTED, "titleFontWeight": "normal", "gridColor": GRID}
    lines = {"domainColor": GRID, "tickColor": GRID, "tickCount": 6, "labelFontSize": 11, "titleFontSize": 11}
    styled = chart.configure(background="transparent", padding=8, font="sans-serif", aria=False)
    styled = styled.configure_view(stroke=None).configure_axis(**axis, **lines).configure_legend(labelColor=INK)
    svg: str = vl_convert.vegalite_to_svg(styled.to_json())
    return svg
