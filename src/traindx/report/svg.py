"""Small plots as inline SVG whose colours come from the page's style sheet, so that they follow light and dark.

Horizontal positions are percentages: a plot fills its column at any width and its text never shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from traindx.evidence.base import Curve
from traindx.finding import Effect

_MARGIN = 4.0  # per cent left free at either side, for dots at the ends
_MOST_POINTS = 400  # a curve is thinned to this many; more cannot be seen at page width


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover ``low..high``, about as many as asked (1, 2, 2.5 or 5 times a power of ten apart).

    >>> ticks(-6, 14)
    [-5.0, 0.0, 5.0, 10.0]
    """
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    rough = span / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) + 0.0 for index in range(first, last + 1)]


def tick_text(value: float) -> str:
    """A tick's label with a real minus sign."""
    return f"{value:g}".replace("-", "−")


@dataclass(frozen=True)
class Scale:
    """A linear scale from values to per cent of a plot's width."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float]) -> Scale:
        """A scale that shows every finite value; never without width."""
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            return cls(0.0, 1.0)
        low, high = min(finite), max(finite)
        if high <= low:
            ctx = abs(low) * 0.1 or 1.0
            low, high = low - ctx, high + ctx
        return cls(low, high)

    def at(self, value: float) -> float:
        """Position in per cent; values outside are held at the edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(_MARGIN + (100 - 2 * _MARGIN) * share, 3)


def effects_scale(effects: Sequence[Effect | None]) -> Scale:
    """The common scale of a table of effects; zero is always in it."""
    values = [0.0]
    for effect in effects:
        if effect is not None:
            values += [effect.mean, effect.low, effect.high]
    return Scale.around(values)


def effects_row(alone: Effect | None, given_rest: Effect | None, scale: Scale, label: str) -> str:
    """Dot and interval of a treatment alone (hollow) and given the rest (filled), with the line of no effect."""
    parts = [_upright(scale.at(0.0), "zero", 40)]
    for effect, y, kind in ((alone, 13, "alone"), (given_rest, 27, "rest")):
        if effect is None or not math.isfinite(effect.mean):
            continue
        if math.isfinite(effect.low) and math.isfinite(effect.high):
            left, right = scale.at(effect.low), scale.at(effect.high)
            parts.append(f'<line class="{kind}" x1="{left}%" x2="{right}%" y1="{y}" y2="{y}"/>')
            parts += [f'<line class="{kind}" x1="{x}%" x2="{x}%" y1="{y - 4}" y2="{y + 4}"/>' for x in (left, right)]
        parts.append(f'<circle class="{kind}" cx="{scale.at(effect.mean)}%" cy="{y}" r="5"/>')
    return _frame(parts, 40, label)


def values_row(values: Sequence[float], scale: Scale, label: str, *, reference: float | None = None) -> str:
    """One dot a seed and a bar at the mean, with a dashed line at a reference (the best trivial baseline)."""
    parts = [] if reference is None else [_upright(scale.at(reference), "reference", 28)]
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        mean = sum(finite) / len(finite)
        parts.append(f'<line class="mean" x1="{scale.at(mean)}%" x2="{scale.at(mean)}%" y1="5" y2="23"/>')
    parts += [f'<circle class="seed" cx="{scale.at(value)}%" cy="14" r="4"/>' for value in finite]
    return _frame(parts, 28, label)


def baseline_row(value: float, scale: Scale, label: str) -> str:
    """A trivial baseline, as a diamond on the scale of the arms."""
    x = scale.at(value)
    diamond = f'<svg class="diamond" x="{x}%" y="14"><path class="baseline" d="M0-6 6 0 0 6-6 0Z"/></svg>'
    return _frame([diamond], 28, label)


def axis_row(scale: Scale, unit: str) -> str:
    """Ticks under a table of rows that share a scale."""
    parts = [f'<line class="axis" x1="{_MARGIN}%" x2="{100 - _MARGIN}%" y1="1" y2="1"/>']
    for value in ticks(scale.low, scale.high, 6):
        x = scale.at(value)
        parts.append(f'<line class="axis" x1="{x}%" x2="{x}%" y1="1" y2="5"/>')
        parts.append(f'<text x="{x}%" y="18" text-anchor="middle">{tick_text(value)}</text>')
    return _frame(parts, 22, f"scale in {unit}" if unit else "scale")


def _upright(x: float, kind: str, height: int) -> str:
    """A line through the row and a little beyond it, so that the rows of a table join up."""
    return f'<line class="{kind}" x1="{x}%" x2="{x}%" y1="-6" y2="{height + 6}"/>'


def _frame(parts: Sequence[str], height: int, label: str) -> str:
    name = escape(label, quote=True)
    return f'<svg class="strip" width="100%" height="{height}" role="img" aria-label="{name}">{"".join(parts)}</svg>'


@dataclass(frozen=True)
class Tick:
    """A tick of a curve plot: position in per cent from the left or from the top, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class CurvePlot:
    """The parts of a curve plot that the page puts together: lines as SVG, ticks as text.

    Attributes:
        svg: Lines and grid, stretched to the plot's column.
        x_ticks: From the left.
        y_ticks: From the top.
        legend: Label and CSS class of each series.
    """

    svg: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    legend: tuple[tuple[str, str], ...]


def curve_plot(curve: Curve) -> CurvePlot | None:
    """A plot of a curve record, or None where it has no point that can be drawn."""
    log = curve.log_y
    series = {name: _points(curve.x, values, log=log) for name, values in curve.series.items()}
    drawn = [point for points in series.values() for point in points if point is not None]
    if not drawn:
        return None
    x_scale = Scale.around([x for x, _ in drawn])
    y_scale = Scale.around([y for _, y in drawn])
    x_ticks = [Tick(_share(x_scale, value), tick_text(value)) for value in ticks(x_scale.low, x_scale.high, 5)]
    y_ticks = [Tick(100 - _share(y_scale, value), text) for value, text in _y_values(y_scale, log=log)]
    parts = [f'<line class="grid" x1="0" x2="1000" y1="{tick.at * 10:g}" y2="{tick.at * 10:g}"/>' for tick in y_ticks]
    legend = []
    for index, (name, points) in enumerate(series.items()):
        kind = f"series s{index % 5}"
        legend.append((name, kind))
        for run in _runs(points):
            path = " ".join(
                f"{_share(x_scale, x) * 10:.1f},{1000 - _share(y_scale, y) * 10:.1f}" for x, y in _thin(run)
            )
            parts.append(f'<polyline class="{kind}" points="{path}"/>')
    name = escape(f"{curve.caption} ({', '.join(curve.series)})", quote=True)
    svg = (
        f'<svg class="lines" viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" aria-label="{name}">'
        f"{''.join(parts)}</svg>"
    )
    return CurvePlot(svg, tuple(x_ticks), tuple(y_ticks), tuple(legend))


def _points(xs: Sequence[float], values: Sequence[float], *, log: bool) -> list[tuple[float, float] | None]:
    """Points to draw; None where a value is not finite or, on a logarithmic scale, not positive."""
    found: list[tuple[float, float] | None] = []
    for x, y in zip(xs, values, strict=False):
        good = math.isfinite(x) and math.isfinite(y) and (y > 0 or not log)
        found.append((x, math.log10(y) if log else y) if good else None)
    return found


def _share(scale: Scale, value: float) -> float:
    return round(100 * (value - scale.low) / (scale.high - scale.low), 3)


def _y_values(scale: Scale, *, log: bool) -> list[tuple[float, str]]:
    if not log:
        return [(value, tick_text(value)) for value in ticks(scale.low, scale.high, 4)]
    whole = list(range(math.ceil(scale.low), math.floor(scale.high) + 1))
    if len(whole) >= 2:
        every = max(1, math.ceil(len(whole) / 5))
        return [(float(power), tick_text(10.0**power)) for power in whole[::every]]
    chosen = ticks(10**scale.low, 10**scale.high, 4)
    return [(math.log10(value), tick_text(value)) for value in chosen if value > 0]


def _runs(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """Unbroken stretches: a gap is drawn as a gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run if len(run) > 1 else run * 2 for run in runs if run]


def _thin(run: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most about ``_MOST_POINTS`` points that keep the lowest and the highest of each stretch: spikes stay."""
    if len(run) <= _MOST_POINTS:
        return run
    size = math.ceil(2 * len(run) / _MOST_POINTS)
    kept = [run[0]]
    for start in range(0, len(run), size):
        piece = run[start : start + size]
        extremes = {min(piece, key=lambda point: point[1]), max(piece, key=lambda point: point[1])}
        kept += sorted(extremes)
    return [*kept, run[-1]]
