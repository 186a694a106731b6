"""Landmarks: where the maximum of a heat map lies, and what is read off a peak."""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.functions.common import as_tensor
from traindx.watch.probes.textbook.base import NotApplicableError, Trial, entry
from traindx.watch.probes.textbook.forms import arguments, draws, in_form, learns, numbers_in

STRIDES = (1.0, 2.0, 4.0, 8.0, 16.0)
PEAK = 60.0  # above the rest: certain for a softmax, and for a sum as well


@entry(
    "peak-at-the-landmark",
    "data",
    "heat map of a landmark",
    "has its largest value at the landmark",
    names={
        "heatmap", "generateheatmap", "gaussianheatmap", "makeheatmap", "drawgaussian", "pointtoheatmap",
        "createheatmap", "keypointtoheatmap", "landmarktoheatmap", "pointstoheatmap", "landmarkstoheatmaps",
        "generateheatmaps", "keypointstoheatmaps", "gaussianmap", "coordstoheatmap", "renderheatmap",
        "generategaussianheatmap", "drawheatmap", "heatmapfrompoint", "heatmapsfrompoints", "makeheatmaps",
        "coordtoheatmap", "drawgaussianheatmap",
    },
    unless={
        "loss", "head", "from", "decode", "argmax", "to", "plot", "show", "overlay", "cam", "save", "attention",
        "color", "box", "boxes", "peaks",
    }
    - {"to", "from"},
    remedy="exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 sigma ** 2)) on a grid whose axes are rows (y) and columns (x).",
    source="Payer et al., Regressing heatmaps for multiple landmark localization, 2016",
)  # fmt: skip
def peak_at_the_landmark(trial: Trial) -> None:
    """One point as (2,) or several as (n, 2), in pixels, in either order; a map (H, W) for one or for each."""
    torch = trial.torch
    trial.require(not learns(trial) and not draws(trial))
    points = {
        name: one
        for name, one in arguments(trial).items()
        if one.shape[-1] == 2
        and one.dim() <= 3
        and {"shape", "size", "hw", "sigma"}.isdisjoint(name.lower().split("_"))
    }
    trial.require(len(points) == 1)
    name, given = next(iter(points.items()))
    first = _array_in(trial, _first(trial.again()))
    trial.require(first.dim() >= 2 and float(given.double().max()) > 1.5)
    height, width = (int(size) for size in first.shape[-2:])
    trial.require(min(height, width) >= 16)
    for stride in STRIDES:  # of the map in pixels of the image
        if float(given.double().max()) < stride * max(height, width):
            break
    answers = []
    for one, other in ((5.0, 9.0), (10.0, 6.0)):
        place = torch.tensor([one, other], dtype=torch.float64) * stride
        changed = in_form(trial, place.expand(*given.shape).clone(), trial.call.args[name])
        made = _array_in(trial, _first(trial.call.again(torch, **{name: changed})))
        trial.require(tuple(made.shape) == tuple(first.shape))
        plane = made.double().reshape(-1, height, width)[0]
        trial.require(float(plane.max()) > float(plane.min()))
        at = int(plane.argmax())
        answers.append(((one, other), (at // width, at % width)))
    near = [
        all(
            abs(point[order[0]] - place[0]) <= 1.01 and abs(point[order[1]] - place[1]) <= 1.01
            for point, place in answers
        )
        for order in ((0, 1), (1, 0))
    ]
    (point, place) = answers[0]
    trial.expect(
        any(near),
        f"a landmark at {point[0] * stride:g}, {point[1] * stride:g}",
        f"the largest value lies at row {place[0]} and column {place[1]}",
    )


def _array_in(trial: Trial, value: Any) -> Any:
    found = as_tensor(trial.torch, value)
    if found is None:
        raise NotApplicableError
    return found


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple | list) and value else value


@entry(
    "place-of-a-peak",
    "data",
    "place of a peak",
    "moves along one coordinate with a peak that moves along one axis of the map, by equal steps for equal steps",
    names={
        "softargmax",
        "spatialsoftargmax",
        "dsnt",
        "heatmaptocoords",
        "getmaxpreds",
        "decodeheatmap",
        "heatmaptokeypoints",
        "heatmapstokeypoints",
        "heatmaptopoints",
        "heatmapstopoints",
        "softargmax2d",
        "spatialsoftargmax2d",
        "decodeheatmaps",
        "heatmaptolandmarks",
        "heatmapstolandmarks",
        "coordsfromheatmap",
        "heatmapstocoords",
        "argmax2d",
        "spatialargmax",
        "pointsfromheatmap",
        "landmarksfromheatmaps",
        "heatmaptocoord",
        "heatmap2coord",
        "heatmap2keypoint",
        "getcoordsfromheatmap",
        "softargmax1",
        "heatmapargmax",
        "spatialexpectation2d",
    },
    unless={"loss", "3d", "gumbel", "quantize"},
    remedy="index // width is the row and index % width is the column of a flattened map.",
    source="Nibali et al., Numerical coordinate regression with convolutional neural networks, 2018",
)
def place_of_a_peak(trial: Trial) -> None:
    """One array of maps (..., H, W); gives two numbers for each."""
    torch = trial.torch
    name = trial.only()
    given = trial.arrays[name]
    trial.require(given.dim() >= 2 and given.dtype.is_floating_point and not learns(trial) and not draws(trial))
    height, width = (int(size) for size in given.shape[-2:])
    trial.require(min(height, width) >= 8)
    maps = given.numel() // (height * width)

    def read(row: int, column: int) -> Any:
        heat = torch.zeros(given.shape, dtype=torch.float64)
        heat[..., row, column] = PEAK
        made = trial.call.again(
            torch, **{name: heat.to(given.dtype) if _is_tensor(trial, name) else _array(heat, trial, name)}
        )
        found = numbers_in(trial, _first(made) if isinstance(made, tuple) and _is_pair(trial, made) is None else made)
        if found is None:
            raise NotApplicableError
        numbers = found.double()
        trial.require(numbers.numel() in (2 * maps, 3 * maps) and numbers.numel() >= 2)
        if numbers.numel() == 3 * maps:
            trial.require(numbers.shape[-1] == 3)
            return numbers.reshape(-1, 3)[0, :2]
        trial.require(numbers.shape[-1] == 2 or maps == 1)
        return numbers.reshape(-1, 2)[0]

    row, column, step = height // 4, width // 4, (min(height, width) // 4) | 1
    start = read(row, column)
    down = (read(row + step, column) - start).tolist()
    across = (read(row, column + step) - start).tolist()
    twice = (read(row, column + 2 * step) - start).tolist() if column + 2 * step < width else None
    shown = f"({down[0]:.3g}, {down[1]:.3g}) for {step} rows and ({across[0]:.3g}, {across[1]:.3g}) for {step} columns"
    asked = "a peak that moves down, and then one that moves to the right"
    size = max(abs(value) for value in (*down, *across))
    trial.expect(size > 1e-6, asked, "the place is the same")
    moved = [[at for at, value in enumerate(change) if abs(value) > 0.05 * size] for change in (down, across)]
    trial.expect(
        len(moved[0]) == 1 and len(moved[1]) == 1 and moved[0] != moved[1], asked, f"the place changes by {shown}"
    )
    one, other = abs(down[moved[0][0]]), abs(across[moved[1][0]])
    square = any(
        abs(one * high - other * wide) < 0.06 * one * high
        for high, wide in ((1, 1), (height, width), (height - 1, width - 1))
    )
    trial.expect(square, asked, f"the place changes by {shown}")
    if twice is not None:
        double = abs(twice[moved[1][0]])
        trial.expect(
            abs(double - 2 * other) < 0.06 * double, "a peak that moves twice as far", f"{other:.3g}, {double:.3g}"
        )


def _is_tensor(trial: Trial, name: str) -> bool:
    return isinstance(trial.call.args[name], trial.torch.Tensor)


def _array(heat: Any, trial: Trial, name: str) -> Any:
    return heat.numpy().astype(trial.call.args[name].dtype)


def _is_pair(trial: Trial, made: tuple[Any, ...]) -> Any | None:
    """A tensor where a tuple is a place itself: two numbers, or one array for each coordinate."""
    if len(made) != 2:
        return None
    first, second = (as_tensor(trial.torch, one) for one in made)
    if first is None and second is None:
        return numbers_in(trial, made)
    if first is not None and second is not None and first.shape == second.shape and first.numel() == 1:
        return numbers_in(trial, made)
    return None
