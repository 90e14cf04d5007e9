"""The report's pictures as SVG: scores with their intervals, loss on trained and on held-out rows, loss of canaries.

Drawn with altair, rendered by vl-convert without a browser or a network. Colours are the few of PALETTE, so that a page
can restyle them for a dark screen. Text from data is given as data or as a chart's title, which the renderer escapes;
never as the name of a field or the title of an axis, from which Vega builds expressions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from evals.report_training import Canaries
from schemas.errors import MissingExtra
from schemas.results import TaskScore
from schemas.terminal import printable

INK, MUTED, GRID = "#1c2430", "#5b6573", "#dfe4ea"
TUNED, BASE, REFERENCE = "#1f6fb2", "#6f7a88", "#b26a00"
PALETTE = {"ink": INK, "muted": MUTED, "grid": GRID, "tuned": TUNED, "base": BASE, "reference": REFERENCE}
SHAPES = ("circle", "diamond")
WIDTH_PX = 480
NEAR = 4.0
"""Ratio of the largest to the smallest loss up to which a scale stays plain."""
NAMES = {"tuned": "tuned model", "base": "base model", "majority": "majority class", "bag_of_words": "bag of words"}


def model_name(model: str) -> str:
    """How a model or reference is called in the report."""
    return printable(NAMES.get(model, model))


def scores_picture(scores: Sequence[TaskScore]) -> str:
    """One panel a task: a dot for each model at its score, a bar for its interval.

    Raises:
        MissingExtra: altair or vl-convert is not installed.
    """
    alt = load_altair()
    panels = []
    for task in dict.fromkeys(score.task for score in scores):
        chosen = [score for score in scores if score.task == task]
        panels.append(_score_panel(alt, task, chosen))
    return as_svg(alt.vconcat(*panels, spacing=28))


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
    label = chart.mark_text(dy=-12, fontSize=12, color=INK).encode(y=y, x="value:Q", text="label:N")
    name = f"{printable(task)}, {printable(scores[0].metric)}"
    title = alt.TitleParams(name, anchor="start", fontSize=13, color=INK)
    return (bar + dot + label).properties(width=WIDTH_PX, height=36 * len(rows) + 8, title=title)


def losses_picture(rows: Sequence[tuple[str, float, float]]) -> str:
    """Loss of each model on trained and on test rows: the further apart the dots of a line, the more was memorised.

    Args:
        rows: (model, loss on trained rows, loss on test rows) in nats per supervised token.

    Raises:
        MissingExtra: altair or vl-convert is not installed.
    """
    named = [(model_name(model), train, test) for model, train, test in rows]
    return _pairs_of_dots(named, ("trained rows", "test rows"))


def canaries_picture(canaries: Sequence[Canaries]) -> str:
    """Loss of made-up rows before and after training: the more often they were seen, the further the second dot moves.

    Raises:
        MissingExtra: altair or vl-convert is not installed.
    """
    rows = [(one.label, one.start, one.end) for one in canaries]
    return _pairs_of_dots(rows, ("base model", "tuned model"))


def _pairs_of_dots(rows: Sequence[tuple[str, float, float]], kinds: tuple[str, str]) -> str:
    """One line for each row from its first to its second loss, on one scale."""
    alt = load_altair()
    values = [
        {"name": name, "rows": kind, "loss": loss, "label": f"{loss:.3f}"}
        for name, *losses in rows
        for kind, loss in zip(kinds, losses, strict=True)
    ]
    y = alt.Y("name:N", sort=[name for name, _, _ in rows], title=None, axis=_names_axis(alt))
    x = alt.X("loss:Q", title="loss, nats per supervised token", **_loss_scale(alt, rows))
    chart = alt.Chart(alt.Data(values=values))
    line = chart.mark_line(strokeWidth=2, color=GRID).encode(y=y, x=x, detail="name:N")
    dots = chart.mark_point(filled=True, size=90, opacity=1).encode(
        y=y, x=x, color=series(alt, "color", kinds, (BASE, TUNED)), shape=series(alt, "shape", kinds, SHAPES)
    )
    labels = [
        chart.transform_filter(alt.FieldEqualPredicate(field="rows", equal=kind))
        .mark_text(dy=offset, fontSize=12, color=INK)
        .encode(y=y, x=x, text="label:N")
        for kind, offset in zip(kinds, (-13, 16), strict=True)
    ]
    return as_svg(alt.layer(line, dots, *labels).properties(width=WIDTH_PX, height=56 * len(rows) + 8))


def _loss_scale(alt: Any, rows: Sequence[tuple[str, float, float]]) -> dict[str, Any]:
    """On a log scale equal distances are equal ratios: 0.02 against 0.08 matters as much as 0.5 against 2.

    Losses that are near each other keep a plain scale, which has more marks to read them by.
    """
    losses = [loss for _, train, test in rows for loss in (train, test)]
    if min(losses) <= 0 or max(losses) < NEAR * min(losses):
        return {"scale": alt.Scale(zero=min(losses) <= 0, nice=False, padding=28)}
    low, high = min(losses) / 1.6, max(losses) * 1.6
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [mantissa * 10.0**power for power in powers for mantissa in (1, 2, 5)]
    axis = alt.Axis(format="~g", values=[tick for tick in ticks if low <= tick <= high])
    return {"scale": alt.Scale(type="log", domain=[low, high], nice=False), "axis": axis}


def _names_axis(alt: Any) -> Any:
    """Room for the longest usual name, whatever font the page has."""
    return alt.Axis(grid=False, labelFontSize=12, minExtent=110)


def series(
    alt: Any, channel: Literal["color", "shape", "strokeDash"], names: Sequence[str], kinds: Sequence[Any]
) -> Any:
    """Colour, shape or dash of each series; a picture gives several, so that none rests on colour alone.

    Args:
        alt: altair.
        channel: what tells the series apart.
        names: of the series, in the order of the legend.
        kinds: a colour, shape or dash for each.
    """
    made = {"color": alt.Color, "shape": alt.Shape, "strokeDash": alt.StrokeDash}[channel]
    legend = alt.Legend(title=None, orient="top", labelFontSize=13, symbolStrokeWidth=2, columnPadding=32)
    scale = alt.Scale(domain=list(names), range=list(kinds)[: len(names)])
    shown = None if channel == "strokeDash" else legend  # a dashed edge would blur the symbols
    return made("rows:N", legend=shown, sort=list(names), scale=scale)


def load_altair() -> Any:
    """The package that draws.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import altair
    except ModuleNotFoundError as error:
        raise MissingExtra("report", "altair") from error
    return altair


def as_svg(chart: Any) -> str:
    """A chart in the report's style.

    Raises:
        MissingExtra: vl-convert is not installed.
    """
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        raise MissingExtra("report", "vl-convert-python") from error
    axis = {"labelColor": MUTED, "titleColor": MUTED, "titleFontWeight": "normal", "gridColor": GRID}
    lines = {"domainColor": GRID, "tickColor": GRID, "tickCount": 6, "labelFontSize": 12, "titleFontSize": 12}
    styled = chart.configure(background="transparent", padding=8, font="sans-serif", aria=False)
    styled = styled.configure_view(stroke=None).configure_axis(**axis, **lines).configure_legend(labelColor=INK)
    svg: str = vl_convert.vegalite_to_svg(styled.to_json())
    return svg


def on_white(svg: str) -> str:
    """A picture that is read on its own needs a ground; inline, the page gives it one."""
    head, end, rest = svg.partition(">")
    return f'{head}{end}<rect width="100%" height="100%" fill="#ffffff"/>{rest}'
