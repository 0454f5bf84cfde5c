"""Line charts as plain SVG text: no library, readable in light and dark, with a title for screen readers."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence

WIDTH, HEIGHT = 560, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 12, 12, 28
COLOURS = ("#0b6e99", "#c2410c", "#15803d", "#7c3aed", "#a16207", "#be185d", "#475569", "#0e7490")

Series = Sequence[tuple[float, float]]
_Place = Callable[[float, float], tuple[float, float]]


def line_chart(
    title: str,
    series: Mapping[str, Series],
    *,
    y_range: tuple[float, float] | None = None,
    marks: Mapping[str, float] | None = None,
    y_format: str = "{:.2f}",
) -> str:
    """An SVG of one line per series over a shared x axis. `marks` are dashed horizontal lines with a name."""
    points = [point for line in series.values() for point in line if math.isfinite(point[1])]
    if not points:
        return f"<p>{html.escape(title)}: nothing was recorded.</p>"
    xs = [x for x, _ in points]
    low, high = y_range or _padded([y for _, y in points] + list((marks or {}).values()))
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low)
        up = (min(max(y, low), high) - low) / (high - low)
        return _LEFT + across * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title, quote=True)}">',
        f"<title>{html.escape(title)}</title>",
        *_axis(low, high, x_low, x_high, place, y_format),
    ]
    for name, value in (marks or {}).items():
        _, y = place(x_low, value)
        parts.append(f'<line class="mark" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="axis" x="{WIDTH - _RIGHT}" y="{y - 4:.1f}" text-anchor="end">{html.escape(name)}</text>'
        )
    for number, line in enumerate(series.values()):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line if math.isfinite(point[1])))
        parts.append(f'<polyline fill="none" stroke="{colour(number)}" stroke-width="2" points="{path}"/>')
    parts.append("</svg>")
    return "".join(parts) + _legend(list(series))


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def rolling(line: Series, window: int = 5) -> list[tuple[float, float]]:
    """Trailing mean over `window` points; the first ones over what there is."""
    smooth = []
    for end in range(1, len(line) + 1):
        part = line[max(0, end - window) : end]
        smooth.append((line[end - 1][0], sum(y for _, y in part) / len(part)))
    return smooth


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def _axis(low: float, high: float, x_low: float, x_high: float, place: _Place, y_format: str) -> list[str]:
    parts = []
    for step in range(5):
        value = low + (high - low) * step / 4
        _, y = place(x_low, value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="axis" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{y_format.format(value)}</text>'
        )
    for value in (x_low, (x_low + x_high) // 2, x_high):
        x, _ = place(value, low)
        parts.append(f'<text class="axis" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{value:g}</text>')
    return parts


def _legend(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    items = "".join(
        f'<li><span style="background:{colour(number)}"></span>{html.escape(name)}</li>'
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'
