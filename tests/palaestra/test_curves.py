"""Charts are well-formed, escaped, and draw what they are given."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from palaestra.curves import line_chart, rolling


def test_a_chart_is_well_formed_and_names_itself() -> None:
    drawn = line_chart("a < b & c", {"x": [(0, 0.0), (1, 1.0)], "y": [(0, 0.5)]})
    svg, legend = drawn.split("</svg>")
    root = ElementTree.fromstring(svg + "</svg>")
    assert root.attrib["aria-label"] == "a < b & c"
    assert len(root.findall("polyline")) == 2
    assert "x" in legend and "y" in legend


def test_values_are_placed_by_the_range() -> None:
    drawn = line_chart("t", {"x": [(0, 0.0), (10, 1.0)]}, y_range=(0.0, 1.0))
    points = ElementTree.fromstring(drawn).find("polyline").attrib["points"].split()  # type: ignore[union-attr]
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in points)
    assert x0 < x1 and y0 > y1


def test_what_is_not_finite_is_left_out() -> None:
    drawn = line_chart("t", {"x": [(0, 1.0), (1, math.nan), (2, 2.0)]})
    points = ElementTree.fromstring(drawn).find("polyline").attrib["points"].split()  # type: ignore[union-attr]
    assert len(points) == 2


def test_nothing_recorded_is_said() -> None:
    assert "nothing was recorded" in line_chart("t", {"x": []})


def test_rolling_is_a_trailing_mean() -> None:
    assert rolling([(0, 1.0), (1, 3.0), (2, 5.0)], window=2) == [(0, 1.0), (1, 2.0), (2, 4.0)]
