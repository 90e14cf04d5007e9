"""The picture of a comparison: quality with its interval against the cost of an answer, the Pareto front drawn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evals.comparing.prices import SECONDS
from evals.report_pictures import BASE, INK, MUTED, REFERENCE, TUNED, as_svg, load_altair
from schemas.compare import Compared
from schemas.terminal import printable

WIDTH, HEIGHT = 560, 340
"""Of the plot, in px."""
DECADE = 10.0
"""Ratio of the dearest to the cheapest answer from which on the axis is logarithmic."""
FREE = 4.0
"""On a logarithmic axis an answer that costs nothing stands this factor below the cheapest that does not."""
LABEL_CHARS = 28
CHAR, LINE, GAP = 6.9, 15.0, 11.0
"""Widest usual width of a character and height of a line of a label, and how far it stays from its dot, in px."""
BAR = 4.0
"""Half the width that a label keeps off an interval, in px."""
UPS = (0, -15, 15, -30, 30, -45, 45, -60, 60, -75, 75, -90, 90, -120, 120)
SIDEWAYS = (0, 20, 40, 60, 90)
"""How far a label may be moved up or down, and away from its dot, in px."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Dot:
    """One arm."""

    name: str
    cost: float
    quality: float
    low: float
    high: float
    kind: str
    front: bool


@dataclass(frozen=True)
class Scale:
    """From values to px."""

    left: float
    right: float
    bottom: float
    top: float
    log: bool

    def x(self, cost: float) -> float:
        """Px from the left."""
        if self.log:
            return WIDTH * math.log(cost / self.left) / math.log(self.right / self.left)
        return WIDTH * (cost - self.left) / (self.right - self.left)

    def y(self, quality: float) -> float:
        """Px from the top."""
        return HEIGHT * (self.top - quality) / (self.top - self.bottom)

    def cost(self, x: float) -> float:
        """The cost at px from the left."""
        if self.log:
            return float(self.left * (self.right / self.left) ** (x / WIDTH))
        return self.left + (self.right - self.left) * x / WIDTH

    def quality(self, y: float) -> float:
        """The quality at px from the top."""
        return self.top - (self.top - self.bottom) * y / HEIGHT


def dots(compared: Compared) -> list[Dot]:
    """Arms whose quality and cost are known."""
    found = []
    for arm in compared.arms:
        if arm.quality is None or arm.quality.estimate is None or arm.cost is None or arm.cost.per_answer is None:
            continue
        middle = arm.quality.estimate
        low, high = (middle if end is None else end for end in (arm.quality.low, arm.quality.high))
        kind = "recommended" if arm.standing == "recommended" else "on the front" if arm.on_front else "other"
        found.append(Dot(arm.name, arm.cost.per_answer, middle, low, high, kind, arm.on_front))
    return found


def scale_of(points: Sequence[Dot]) -> Scale:
    """Room for all intervals; logarithmic where costs span a decade or more."""
    above = [dot.cost for dot in points if dot.cost > 0]
    least, most = (min(above), max(above)) if above else (0.0, 1.0)
    log = bool(above) and most >= DECADE * least
    low, high = min(dot.low for dot in points), max(dot.high for dot in points)
    spare = 0.08 * (high - low) or 0.05
    bottom, top = max(0.0, low - spare), min(1.0, high + spare)
    if log:
        free = any(dot.cost == 0 for dot in points)
        spread = (most / least) ** 0.2
        return Scale(least / (2 * FREE if free else 1.8), most * spread, bottom, top, log)
    return Scale(0.0, most * 1.25, bottom, top, log)


def shown_cost(dot: Dot, scale: Scale) -> float:
    """Where a dot stands on the axis of costs."""
    return dot.cost if dot.cost > 0 or not scale.log else scale.left * 2


def place_labels(points: Sequence[Dot], scale: Scale) -> list[tuple[float, float]]:
    """For each dot the left edge and the middle of its label, in px; none covers a label, an interval or the front.

    Each label takes the free place that is nearest to its dot; where no place is free, the one that covers least.
    """
    taken = [*(_interval_box(dot, scale) for dot in points), *_front_boxes(points, scale)]
    found = []
    for dot in points:
        places = list(_places(dot, scale))
        best = min(places, key=lambda place: sum(shared_area(label_box(dot, place), box) for box in taken))
        taken.append(label_box(dot, best))
        found.append(best)
    return found


def label(dot: Dot) -> str:
    """The text at a dot."""
    name = printable(dot.name)
    name = name if len(name) <= LABEL_CHARS else f"{name[: LABEL_CHARS - 1]}…"
    return f"{name} (costs nothing)" if dot.cost == 0 else name


def _places(dot: Dot, scale: Scale) -> Iterator[tuple[float, float]]:
    (x, y), wide = _at(dot, scale), CHAR * len(label(dot))
    for up, away in sorted(itertools.product(UPS, SIDEWAYS), key=lambda moved: abs(moved[0]) + moved[1]):
        for left in (x + GAP + away, x - GAP - away - wide):
            yield min(max(left, 0.0), WIDTH - wide), min(max(y + up, LINE / 2), HEIGHT - LINE / 2)


def _at(dot: Dot, scale: Scale) -> tuple[float, float]:
    return scale.x(shown_cost(dot, scale)), scale.y(dot.quality)


def label_box(dot: Dot, place: tuple[float, float]) -> Box:
    """What a label covers whose left edge and middle are given."""
    left, middle = place
    return left, middle - LINE / 2, left + CHAR * len(label(dot)), middle + LINE / 2


def _interval_box(dot: Dot, scale: Scale) -> Box:
    x = scale.x(shown_cost(dot, scale))
    return x - BAR, scale.y(dot.high) - BAR, x + BAR, scale.y(dot.low) + BAR


def _front_boxes(points: Sequence[Dot], scale: Scale) -> Iterator[Box]:
    steps = [(scale.x(cost), scale.y(quality)) for cost, quality in front_steps(points, scale)]
    for (x, y), (next_x, next_y) in itertools.pairwise(steps):
        yield x, y - BAR / 2, next_x, y + BAR / 2
        yield next_x - BAR / 2, min(y, next_y), next_x + BAR / 2, max(y, next_y)


def front_steps(points: Sequence[Dot], scale: Scale) -> list[tuple[float, float]]:
    """Cost and quality where the front begins, steps up and leaves the plot."""
    best = sorted((shown_cost(dot, scale), dot.quality) for dot in points if dot.front)
    return [*best, (scale.right, best[-1][1])]


def shared_area(first: Box, second: Box) -> float:
    """Area that two boxes share."""
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    return wide * high if wide > 0 and high > 0 else 0.0


# ---------------------------------------------------------------------------------------------------------- drawing


def pareto_picture(compared: Compared) -> str:
    """The picture as SVG; empty where no arm has both a quality and a cost.

    Raises:
        MissingExtra: altair or vl-convert is not installed.
    """
    points = dots(compared)
    alt = load_altair()
    if not points:
        return ""
    scale = scale_of(points)
    title = "seconds of an answer" if compared.unit == SECONDS else "cost of an answer"
    x = alt.X("cost:Q", title=title, scale=_cost_scale(alt, scale), axis=_cost_axis(alt, scale))
    y = alt.Y("quality:Q", title="quality", scale=alt.Scale(domain=[scale.bottom, scale.top], nice=False))
    layers = [_front(alt, points, scale, x, y), _intervals(alt, points, scale, x), _marks(alt, points, scale, x, y)]
    chart = alt.layer(*layers, *_labels(alt, points, scale)).properties(width=WIDTH, height=HEIGHT)
    return as_svg(chart)


def _cost_scale(alt: Any, scale: Scale) -> Any:
    return alt.Scale(type="log" if scale.log else "linear", domain=[scale.left, scale.right], nice=False)


def _cost_axis(alt: Any, scale: Scale) -> Any:
    if not scale.log:
        return alt.Axis(format="~g", grid=False)
    powers = range(math.floor(math.log10(scale.left)), math.ceil(math.log10(scale.right)) + 1)
    steps = (1, 2, 5) if len(powers) <= 4 else (1,)
    ticks = [step * 10.0**power for power in powers for step in steps]
    return alt.Axis(format=".0e", grid=False, values=[tick for tick in ticks if scale.left <= tick <= scale.right])


def _rows(points: Sequence[Dot], scale: Scale) -> list[dict[str, Any]]:
    return [
        {
            "cost": shown_cost(dot, scale),
            "quality": dot.quality,
            "low": dot.low,
            "high": dot.high,
            "kind": dot.kind,
        }
        for dot in points
    ]


def _front(alt: Any, points: Sequence[Dot], scale: Scale, x: Any, y: Any) -> Any:
    """The best that can be had for a cost, as steps."""
    steps = [{"cost": cost, "quality": quality} for cost, quality in front_steps(points, scale)]
    line = alt.Chart(alt.Data(values=steps)).mark_line(interpolate="step-after", strokeWidth=2, strokeDash=[6, 4])
    return line.encode(x=x, y=y, color=alt.value(MUTED))


def _colour(alt: Any) -> Any:
    kinds, colours = ["recommended", "on the front", "other"], [TUNED, REFERENCE, BASE]
    return alt.Color("kind:N", legend=None, scale=alt.Scale(domain=kinds, range=colours))


def _intervals(alt: Any, points: Sequence[Dot], scale: Scale, x: Any) -> Any:
    bars = alt.Chart(alt.Data(values=_rows(points, scale))).mark_rule(strokeWidth=3, opacity=0.45, strokeCap="round")
    return bars.encode(x=x, y="low:Q", y2="high:Q", color=_colour(alt))


def _marks(alt: Any, points: Sequence[Dot], scale: Scale, x: Any, y: Any) -> Any:
    shapes = alt.Scale(domain=["recommended", "on the front", "other"], range=["square", "circle", "diamond"])
    marks = alt.Chart(alt.Data(values=_rows(points, scale))).mark_point(filled=True, size=110, opacity=1)
    return marks.encode(x=x, y=y, color=_colour(alt), shape=alt.Shape("kind:N", legend=None, scale=shapes))


def _labels(alt: Any, points: Sequence[Dot], scale: Scale) -> list[Any]:
    """Texts, and a thin line to the dot from those that were moved away from it."""
    texts, lines = [], []
    for dot, (left, middle) in zip(points, place_labels(points, scale), strict=True):
        texts.append({"cost": scale.cost(left), "quality": scale.quality(middle), "text": label(dot)})
        (x, y), (_, top, right, bottom) = _at(dot, scale), label_box(dot, (left, middle))
        near, level = min(max(x, left), right), min(max(y, top), bottom)
        if abs(near - x) > LINE or abs(level - y) > LINE:
            ends = {"cost": shown_cost(dot, scale), "quality": dot.quality}
            lines.append(ends | {"to_cost": scale.cost(near), "to_quality": scale.quality(level)})
    text = alt.Chart(alt.Data(values=texts)).mark_text(align="left", baseline="middle", fontSize=12, color=INK)
    found = [text.encode(x="cost:Q", y="quality:Q", text="text:N")]
    if lines:
        line = alt.Chart(alt.Data(values=lines)).mark_rule(strokeWidth=1, color=MUTED, opacity=0.7)
        found.insert(0, line.encode(x="cost:Q", y="quality:Q", x2="to_cost:Q", y2="to_quality:Q"))
    return found
