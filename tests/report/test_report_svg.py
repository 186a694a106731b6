"""The plots put things where they belong."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traindx.evidence import Curve
from traindx.finding import Effect
from traindx.report import svg

finite = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False)
NAN = float("nan")


def per_cent(element: ET.Element, name: str) -> float:
    return float(element.attrib[name].rstrip("%"))


@given(finite, finite)
def test_ticks_lie_inside_evenly_and_are_not_too_many(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    if high - low < 1e-6 * max(1, abs(low), abs(high)):
        return
    found = svg.ticks(low, high, 5)
    slack = 1e-9 * (high - low) + 1e-9
    assert 1 <= len(found) <= 12
    assert all(low - slack <= value <= high + slack for value in found)
    steps = [right - left for left, right in pairwise(found)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-6) for step in steps)


@given(st.lists(finite, min_size=1, max_size=6), finite)
def test_scale_is_monotone_and_stays_on_the_plot(values: list[float], other: float) -> None:
    scale = svg.Scale.around(values)
    placed = [scale.at(value) for value in sorted([*values, other])]
    assert placed == sorted(placed)
    assert all(0 <= x <= 100 for x in placed)


def test_effect_dot_is_inside_its_interval_and_right_of_zero_when_it_helps() -> None:
    good, bad = Effect(mean=5, low=3, high=7, n=3), Effect(mean=-4, low=-6, high=-2, n=3)
    scale = svg.effects_scale([good, bad])
    root = ET.fromstring(svg.effects_row(bad, good, scale, "x < y & z"))
    zero = per_cent(next(line for line in root if line.attrib["class"] == "zero"), "x1")
    dots = {circle.attrib["class"]: per_cent(circle, "cx") for circle in root.iter("circle")}
    spans = {
        line.attrib["class"]: (per_cent(line, "x1"), per_cent(line, "x2"))
        for line in root.iter("line")
        if line.attrib["y1"] == line.attrib["y2"]
    }
    assert dots["alone"] < zero < dots["rest"]
    for kind, x in dots.items():
        assert spans[kind][0] < x < spans[kind][1]
    assert root.attrib["aria-label"] == "x < y & z"


def test_the_line_of_no_effect_is_always_on_the_plot() -> None:
    scale = svg.effects_scale([Effect(mean=5, low=3, high=7, n=3), None])
    assert (scale.low, scale.high) == (0, 7)


def test_effect_without_interval_is_a_dot_only() -> None:
    root = ET.fromstring(svg.effects_row(Effect(mean=1, low=NAN, high=NAN, n=1), None, svg.Scale(0, 2), "one"))
    assert len(list(root.iter("circle"))) == 1
    assert [line.attrib["class"] for line in root.iter("line")] == ["zero"]


def test_a_seed_that_is_not_a_number_is_not_drawn() -> None:
    root = ET.fromstring(svg.values_row((1.0, NAN, 3.0), svg.Scale(0, 4), "arm", reference=4.0))
    assert [per_cent(dot, "cx") for dot in root.iter("circle")] == [27.0, 73.0]
    mean = next(line for line in root.iter("line") if line.attrib["class"] == "mean")
    assert per_cent(mean, "x1") == 50.0


def test_curve_goes_down_when_the_loss_does() -> None:
    plot = svg.curve_plot(Curve(name="l", caption="c", x=(0, 1, 2), series={"loss": (4.0, 2.0, 0.0)}))
    assert plot is not None
    line = next(ET.fromstring(plot.svg).iter("polyline"))
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert points == [(0, 0), (500, 500), (1000, 1000)]  # SVG's y points down


def test_log_curve_is_straight_for_an_exponential_and_drops_what_is_not_positive() -> None:
    x = tuple(float(step) for step in range(5))
    plot = svg.curve_plot(Curve(name="l", caption="c", x=x, series={"n": (1e3, 1e2, 0.0, 1.0, 0.1)}, log_y=True))
    assert plot is not None
    runs = [line.attrib["points"].split() for line in ET.fromstring(plot.svg).iter("polyline")]
    assert [len(run) for run in runs] == [2, 2]
    ys = [float(pair.split(",")[1]) for run in runs for pair in run]
    assert ys == pytest.approx([0, 250, 750, 1000])
    assert [(tick.text, tick.at) for tick in plot.y_ticks] == [
        ("0.1", 100),
        ("1", 75),
        ("10", 50),
        ("100", 25),
        ("1000", 0),
    ]


def test_a_curve_of_nothing_is_no_plot() -> None:
    assert svg.curve_plot(Curve(name="l", caption="c", x=(0, 1), series={"loss": (NAN, math.inf)})) is None
    assert svg.curve_plot(Curve(name="l", caption="c", x=(), series={})) is None


@pytest.mark.parametrize(("spike", "y"), [(9.0, "0.0"), (-7.0, "1000.0")])
def test_thinning_keeps_a_single_spike(spike: float, y: str) -> None:
    values = [1.0] * 5000
    values[3210] = spike
    curve = Curve(name="l", caption="c", x=tuple(map(float, range(5000))), series={"n": tuple(values)})
    plot = svg.curve_plot(curve)
    assert plot is not None
    points = next(ET.fromstring(plot.svg).iter("polyline")).attrib["points"].split()
    assert len(points) < 1000
    assert [pair for pair in points if pair.endswith(f",{y}")] == [f"642.1,{y}"]
