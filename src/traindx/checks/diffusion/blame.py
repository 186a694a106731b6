"""Which line of a sampling loop computes what: the values of its lines, matched with the known quantities of a step."""

from __future__ import annotations

import ast
import linecache
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

import numpy as np
import torch
from torch import Tensor

from traindx.checks.diffusion.formulas import OUTPUT_AS_NOISE, Mistake, Pair, read
from traindx.checks.diffusion.sampler_trace import Trace
from traindx.checks.diffusion.step_log import EVENT_VOXELS, Event, Place

SAME = 1e-3
"""Coefficients and values closer than this count as the same quantity; different formulas differ by far more."""

_NOISE_NAME = re.compile(r"eps|noise|direction", re.IGNORECASE)
_IMAGE_NAME = re.compile(r"x_?0|x_?start|orig|clean|x0|denoised", re.IGNORECASE)


@dataclass(frozen=True)
class Value:
    """An event as ``u x + w output + h``.

    Attributes:
        event: The event.
        u: Coefficient of x.
        w: Coefficient of the network's output.
        h: Constant.
        linear: True if nothing is left over.
    """

    event: Event
    u: float
    w: float
    h: float
    linear: bool

    def is_close(self, pair: Pair) -> bool:
        """True if the coefficients are these, and no constant is added."""
        wanted = (float(pair[0]), float(pair[1]))
        if not all(np.isfinite(wanted)):
            return False
        size = max(1.0, abs(wanted[0]), abs(wanted[1]))
        return (
            self.linear
            and abs(self.u - wanted[0]) < SAME * size
            and abs(self.w - wanted[1]) < SAME * size
            and abs(self.h) < SAME * size
        )


def values_of(trace: Trace, step: int, events: Iterable[Event]) -> list[Value]:
    """Events of a step as linear combinations of x and the output (fresh noise allowed for)."""
    call = trace.calls[step]
    x, output = call.x[:EVENT_VOXELS], call.output[:EVENT_VOXELS]
    noises = [noise[:EVENT_VOXELS] for noise in call.after.noises]
    design = torch.stack([x, output, torch.ones_like(x), *noises], dim=1).numpy()
    usable = np.isfinite(design).all(axis=1)
    for clamp in call.after.clamps:
        usable &= (clamp.before == clamp.after).numpy()[: len(usable)]
    found = []
    if usable.sum() < design.shape[1] + 8:
        return []
    inverse = np.linalg.pinv(design[usable], rcond=1e-12)
    for event in events:
        values = event.values.numpy()[usable]
        if not np.isfinite(values).all():
            continue
        weights = inverse @ values
        left = values - design[usable] @ weights
        scale = float(np.sqrt(np.mean(values**2))) or 1.0
        linear = bool(np.sqrt(np.mean(left**2)) < 1e-4 * scale)
        found.append(Value(event, float(weights[0]), float(weights[1]), float(weights[2]), linear))
    return found


def alpha_in_x0(trace: Trace, step: int) -> float:
    r"""ᾱ inside the loop's own x̂0 of a v-prediction, :math:`\sqrt{\bar\alpha} x - \sqrt{1-\bar\alpha} v`; NaN if
    unseen.

    The step's result has the same form (a rotation), so whatever equals it is passed over; the last step's result may
    be x̂0 itself and is taken where nothing else is seen.
    """
    if trace.kind != "v":
        return float("nan")
    after = trace.next_x(step)
    told = float(trace.alphas[trace.calls[step].timestep])
    seen: list[float] = []
    results: list[float] = []
    for value in values_of(trace, step, trace.calls[step].after.events):
        unit = abs(value.u**2 + value.w**2 - 1) < 1e-5
        if not (value.linear and unit and value.u >= -1e-6 and value.w < -1e-6 and abs(value.h) < SAME):
            continue
        is_result = after is not None and _equal(value.event.values, after[:EVENT_VOXELS])
        (results if is_result else seen).append(max(0.0, value.u) ** 2)
    if not seen and step == len(trace.calls) - 1:
        seen = results
    if not seen:
        return float("nan")
    nearest = min(seen, key=lambda alpha: abs(alpha - told))
    # Several different ones: some intermediate result has that form too, and none can be trusted unless it is ᾱ[t].
    agree = max(seen) - min(seen) < 1e-4
    return nearest if agree or abs(nearest**0.5 - told**0.5) < 1e-4 else float("nan")


def line_of_result(trace: Trace, step: int) -> Place | None:
    """The user's line whose value became the next x."""
    after = trace.next_x(step)
    segment = trace.calls[step].after
    if after is not None:
        for event in reversed(segment.events):
            if _equal(event.values, after[:EVENT_VOXELS]):
                return event.place
    return segment.events[-1].place if segment.events else None


def line_of_mistake(
    trace: Trace, steps: Sequence[int], alike: Sequence[Mistake]
) -> tuple[Mistake | None, Place | None]:
    """Which of some mistakes that explain the steps equally well is in the code, and its line.

    Args:
        trace: The run.
        steps: Steps to look at; the line that most of them agree on is taken.
        alike: Mistakes of the same result, best first (a wrong sign of ε̂ and one in front of it give the same x).

    Returns:
        The mistake whose very value some line computed, with that line. Where no line did: a mistake of the whole step,
        if some line computed the right ε̂, else the first, and a line whose variable is named like the noise or the
        clean image and holds neither; None for the line if there is no such line.
    """
    found: Counter[tuple[int, Place]] = Counter()
    named: Counter[Place] = Counter()
    computed: Counter[int] = Counter()
    right_noise = 0
    for step in steps:
        segment = trace.calls[step].after
        values = values_of(trace, step, segment.last_by_line().values())
        for index, mistake in enumerate(alike):
            place = _by_formula(trace, step, values, mistake)
            if place is not None:
                found[index, place] += 1
            elif _by_formula(trace, step, values_of(trace, step, segment.events), mistake) is not None:
                computed[index] += 1
        place = _by_name(trace, step, values)
        if place is not None:
            named[place] += 1
        right_noise += any(value.is_close(_right(trace, step)[1]) for value in values)
    enough = (len(steps) + 1) // 2  # at the ends of a schedule, where √ᾱ is 0 or 1, different formulas agree
    if found and found.most_common(1)[0][1] >= enough:
        index, place = found.most_common(1)[0][0]
        return alike[index], place
    whole = [mistake for mistake in alike if mistake.quantity == "step"]
    if whole and right_noise:
        return whole[0], None
    unwritten = [mistake for mistake in alike if mistake.name == OUTPUT_AS_NOISE]
    inside = [alike[index] for index in sorted(computed) if computed[index] >= enough]
    chosen = inside or unwritten or list(alike)
    return chosen[0] if chosen else None, named.most_common(1)[0][0] if named else None


def _levels(trace: Trace, step: int) -> tuple[np.float64, np.float64]:
    alpha = float(trace.alphas[trace.calls[step].timestep])
    return np.float64(alpha**0.5), np.float64(max(0.0, 1 - alpha) ** 0.5)


def _right(trace: Trace, step: int) -> tuple[Pair, Pair]:
    """The right x̂0 and ε̂ of a step as coefficients of (x, output)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return read(trace.kind, *_levels(trace, step))


def _by_formula(trace: Trace, step: int, values: Sequence[Value], mistake: Mistake) -> Place | None:
    if mistake.value is None:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        wrong = mistake.value(trace.kind, *_levels(trace, step))
    for value in values:
        if value.is_close(wrong):
            return value.event.place
    return None


def _by_name(trace: Trace, step: int, values: Sequence[Value]) -> Place | None:
    x0, noise = _right(trace, step)
    for value in values:
        name = assigned_name(value.event.place)
        depends = value.linear and abs(value.w) > SAME
        if not name or not depends or value.event.library:
            continue
        if _NOISE_NAME.search(name) and not value.is_close(noise) and _unlike_scaled(value, noise):
            return value.event.place
        if _IMAGE_NAME.search(name) and not value.is_close(x0):
            return value.event.place
    return None


def _unlike_scaled(value: Value, pair: Pair) -> bool:
    """A direction is the noise times a positive factor: only another ratio, or another sign, is suspicious."""
    u, w = float(pair[0]), float(pair[1])
    length = (value.u**2 + value.w**2) ** 0.5 * (u**2 + w**2) ** 0.5
    return not np.isfinite(length) or (value.u * u + value.w * w) < (1 - SAME) * length


def _equal(one: Tensor, two: Tensor) -> bool:
    scale = float(two.abs().max()) or 1.0
    return bool(((one - two).abs() <= 1e-6 * scale).all())


def assigned_name(place: Place) -> str:
    """The variable that a line assigns to; empty where there is none or the source is not there."""
    code, line = place
    for node in _assignments(code):
        if node.lineno <= line <= (node.end_lineno or node.lineno):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            return ast.unparse(target)
    return ""


def _assignments(code: CodeType) -> tuple[ast.Assign | ast.AugAssign | ast.AnnAssign, ...]:
    return _assignments_in("".join(linecache.getlines(code.co_filename)))


@lru_cache(maxsize=16)
def _assignments_in(source: str) -> tuple[ast.Assign | ast.AugAssign | ast.AnnAssign, ...]:
    """All assignments of a file, the shortest first, so that the innermost one around a line comes first."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ()
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign)]
    return tuple(sorted(found, key=lambda node: (node.end_lineno or node.lineno) - node.lineno))
