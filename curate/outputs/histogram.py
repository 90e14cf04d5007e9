"""Histograms and bars as SVG. Drawn by hand: a charting library would be the largest dependency of the audit."""

from __future__ import annotations

from curate.distributions import Distribution
from curate.outputs.page import Safe

BAR, GAP, HEIGHT, LABELS = 26, 4, 96, 18
UNITS = ((1_000_000, "M"), (1_000, "k"))


def histogram(found: Distribution) -> Safe:
    """A bar for each bin, its count above it, its least size below it; colours come from the page's style."""
    most = max(count for _, count in found.bins)
    width = len(found.bins) * (BAR + GAP)
    parts = []
    for n, (least, count) in enumerate(found.bins):
        left, height = n * (BAR + GAP), max(1.5, HEIGHT * count / most) if count else 0
        top = LABELS + HEIGHT - height
        middle = left + BAR / 2
        parts.append(
            f'<rect class="bar" x="{left}" y="{top:.1f}" width="{BAR}" height="{height:.1f}" rx="2">'
            f"<title>{count:,} from {least:,}</title></rect>"
            f'<text x="{middle}" y="{top - 4:.1f}">{short(count) if count else ""}</text>'
            f'<text x="{middle}" y="{LABELS + HEIGHT + 14}">{short(least)}</text>'
        )
    base = f'<line class="base" x1="0" x2="{width - GAP}" y1="{LABELS + HEIGHT}" y2="{LABELS + HEIGHT}"/>'
    box = f'viewBox="-2 0 {width + 4} {HEIGHT + 2 * LABELS}" width="{width + 4}" height="{HEIGHT + 2 * LABELS}"'
    return Safe(f'<svg class="histogram" {box} aria-hidden="true">{"".join(parts)}{base}</svg>')


def share_bar(share: float, severity: str) -> Safe:
    """A line as long as a share of all rows.

    Args:
        share: in [0, 1]; what is not zero stays visible.
        severity: class of the bar, for its colour.
    """
    width = max(1.0, 100 * min(1.0, share)) if share else 0
    return Safe(
        '<svg class="share" viewBox="0 0 100 8" width="100" height="8" aria-hidden="true">'
        '<rect class="track" width="100" height="8" rx="2"/>'
        f'<rect class="{severity}" width="{width:.1f}" height="8" rx="2"/></svg>'
    )


def short(number: int) -> str:
    """A number in at most four characters or so: 950, 1.2k, 35k, 2M."""
    for size, unit in UNITS:
        if number >= size:
            scaled = number / size
            return f"{scaled:.1f}".removesuffix(".0") + unit if scaled < 10 else f"{scaled:.0f}{unit}"
    return str(number)
