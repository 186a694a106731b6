"""Distances between surfaces of two masks: of equal ones, of one that is moved by some voxels, and both ways round."""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.functions.common import words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.forms import in_form, mask_like, named_words, numbers_in, spatial_axes

LARGEST = 24  # voxels of a side that a mask is cut to: distances are slow
MOVED = 3  # voxels
SPACING = {"spacing", "spacings", "voxelspacing", "voxelsize", "sampling", "pixdim", "resolution", "zooms", "spacingmm",
           "pixelspacing", "voxel"}  # fmt: skip
UNLESS = {"loss", "er", "dt", "erosion", "partial", "directed", "oneside", "modified", "set", "points", "criterion",
          "gaussian", "map", "update", "sliced", "lines", "curve"}  # fmt: skip
DISTANCE = {"hausdorff", "hausdorffdistance", "hd", "hd95", "hausdorff95", "hausdorffdistance95", "computehd95",
            "hd95score", "calculatehd95"}  # fmt: skip
AVERAGE = {"assd", "asd", "masd", "averagesurfacedistance", "averagesymmetricsurfacedistance", "meansurfacedistance",
           "symmetricsurfacedistance", "asdscore"}  # fmt: skip
SHARE = {"nsd", "surfacedice", "normalizedsurfacedice", "normalizedsurfacedistance", "normalisedsurfacedice",
         "surfacedicescore", "surfacedicecoefficient"}  # fmt: skip


class Masks:
    """The two masks of a call, as smaller ones with a cube in each."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        known = {name: one for name, one in trial.arrays.items() if one.numel() > 64 and not one.dtype.is_complex}
        trial.require(len(known) == 2)
        (self.first, a), (self.second, b) = known.items()
        trial.require(a.shape == b.shape)
        self.recorded = (a, b)
        self.axes = spatial_axes(trial, a, 8)
        self.shape = [min(size, LARGEST) for size in a.shape]
        for one in (a, b):
            trial.require(bool(((one == one.double().round()) | (one.double() < 0)).all()))  # no probabilities
        for name, value in trial.numbers.items():
            if {"percentile", "percent", "q", "percentage", "quantile"} & set(words(name)):
                trial.require(value >= 90 or 0.9 <= value <= 1)
        self.spacing = self._spacing()

    def _spacing(self) -> str | None:
        found = [
            name
            for name, value in self.trial.call.args.items()
            if (SPACING & {*words(name), "".join(words(name))})
            and (numbers := numbers_in(self.trial, value)) is not None
            and numbers.numel() == len(self.axes)
        ]
        return found[0] if len(found) == 1 else None

    def cube(self, axis: int | None = None, by: int = 0, longer: int = 0) -> Any:
        """A cube of 6 voxels (or more along one axis), moved along one axis."""
        mask = self.trial.torch.zeros(*self.shape)
        where: list[slice] = [slice(None)] * mask.dim()
        for one in self.axes:
            start = min(4, (self.shape[one] - 6) // 2)
            moved = by if one == axis else 0
            stop = start + moved + 6 + (longer if one == axis else 0)
            self.trial.require(stop <= self.shape[one])
            where[one] = slice(start + moved, stop)
        mask[tuple(where)] = 1
        return mask

    def value(self, first: Any, second: Any, spacing: list[float] | None = None) -> float:
        """What the function says of two masks; its spacing is 1 where none is given."""
        trial = self.trial
        changes: dict[str, Any] = {
            self.first: mask_like(trial, first, self.recorded[0]),
            self.second: mask_like(trial, second, self.recorded[1]),
        }
        if self.spacing is not None:
            numbers = trial.torch.tensor(spacing or [1.0] * len(self.axes), dtype=trial.torch.float64)
            given = trial.call.args[self.spacing]
            one = in_form(trial, numbers, given)
            changes[self.spacing] = type(given)(numbers.tolist()) if isinstance(given, list | tuple) else one
        return trial.value(**changes)


@entry(
    "hausdorff-distance",
    "figure",
    "Hausdorff distance",
    "is 0 between equal masks, and as many voxels as a mask is moved by, times their spacing along that axis, "
    "whichever mask comes first",
    names=DISTANCE,
    unless=UNLESS,
    universal=True,
    remedy="max over both masks of the distance to the other surface, with distance_transform_edt(sampling=spacing).",
    source="Maier-Hein et al., Metrics reloaded, 2024, supplement",
)
def hausdorff(trial: Trial) -> None:
    """Two masks of one shape (2-D or 3-D); the 95th percentile is the same for a cube that is moved."""
    masks = Masks(trial)
    still = masks.cube()
    same = masks.value(still, still)
    trial.expect(abs(same) < 1e-3, "two equal masks", f"{same:.4g} came out")
    room = min(masks.shape[axis] for axis in masks.axes) >= 6 + MOVED + 4
    by = MOVED if room else 1
    plain = [masks.value(still, masks.cube(axis, by)) for axis in masks.axes]
    unit = _unit(plain, by) if masks.spacing is None else 1.0
    trial.expect(
        all(abs(one - by * unit) < 0.02 * by * unit for one in plain),
        f"a cube, and the same moved by {by} voxels along each axis in turn",
        f"{', '.join(f'{one:.4g}' for one in plain)} came out",
    )
    if masks.spacing is not None:
        stretched = [1.0] * (len(masks.axes) - 1) + [2.0]
        last = masks.axes[-1]
        found = [masks.value(still, masks.cube(axis, by), stretched) for axis in masks.axes]
        fits = [
            all(abs(one - by * step) < 0.02 * by for one, step in zip(found, order, strict=True))
            for order in (stretched, stretched[::-1])  # the spacing may come as (x, y, z)
        ]
        trial.expect(
            any(fits),
            f"voxels that are 2 long along axis {last} and a cube moved by {by} voxels along each axis in turn",
            f"{', '.join(f'{one:.4g}' for one in found)} came out",
        )
    longer = masks.cube(masks.axes[0], 0, by)
    one, other = masks.value(still, longer), masks.value(longer, still)
    trial.expect(
        abs(one - other) < 1e-3 * max(abs(one), 1),
        "a cube within a longer one, and then both exchanged",
        f"{one:.4g} and {other:.4g} came out",
    )


def _unit(found: list[float], by: int) -> float:
    """What one voxel is where a function knows it from elsewhere: it must be the same along all axes."""
    return found[0] / by if found[0] > 0 and abs(found[0] / by - 1) > 0.02 and len(set(found)) == 1 else 1.0


@entry(
    "average-surface-distance",
    "figure",
    "average distance of surfaces",
    "is 0 between equal masks, and grows with the voxels that a mask is moved by, to no more than these",
    names=AVERAGE,
    unless={*UNLESS, "volume"},
    universal=True,
    remedy="Mean over both surfaces of the distance to the other one, distance_transform_edt(~surface, spacing).",
    source="Heimann et al., Comparison and Evaluation of Methods for Liver Segmentation, 2009",
)
def average_distance(trial: Trial) -> None:
    """Two masks of one shape (2-D or 3-D); one side only is an average, too."""
    masks = Masks(trial)
    still = masks.cube()
    same = masks.value(still, still)
    trial.expect(abs(same) < 1e-3, "two equal masks", f"{same:.4g} came out")
    little = [masks.value(still, masks.cube(axis, 1)) for axis in masks.axes]
    more = [masks.value(still, masks.cube(axis, 2)) for axis in masks.axes]
    trial.require(masks.spacing is not None or all(one <= 1.001 for one in little))  # another unit
    shown = f"{', '.join(f'{one:.4g}' for one in little)} and then {', '.join(f'{one:.4g}' for one in more)} came out"
    fits = all(0 < one < other <= 2.001 and one <= 1.001 for one, other in zip(little, more, strict=True))
    trial.expect(fits, "a cube moved by 1 voxel along each axis in turn, and by 2", shown)
    if masks.spacing is not None:
        stretched = masks.value(still, masks.cube(masks.axes[-1], 1), [2.0] * len(masks.axes))
        trial.expect(
            abs(stretched - 2 * little[-1]) < 0.02 * stretched,
            "the same with voxels that are 2 long",
            f"{stretched:.4g} came out instead of {2 * little[-1]:.4g}",
        )
    if {"assd", "masd", "symmetric"} & named_words(trial):
        longer = masks.cube(masks.axes[0], 0, 3)
        one, other = masks.value(still, longer), masks.value(longer, still)
        trial.expect(
            abs(one - other) < 1e-3 * max(abs(one), 1),
            "a cube within a longer one, and then both exchanged",
            f"{one:.4g} and {other:.4g} came out",
        )


@entry(
    "surface-dice",
    "figure",
    "surface Dice",
    "is 1 for equal masks, less for a mask that is moved by more than the tolerance, and 1 within the tolerance",
    names=SHARE,
    unless=UNLESS,
    universal=True,
    remedy="Share of both surfaces that lies within the tolerance of the other one.",
    source="Nikolov et al., Deep learning to achieve clinically applicable segmentation, 2018",
)
def surface_dice(trial: Trial) -> None:
    """Two masks of one shape and a tolerance."""
    masks = Masks(trial)
    still = masks.cube()
    same = masks.value(still, still)
    trial.require(abs(same - 100) > 1e-3)
    trial.expect(abs(same - 1) < 1e-3, "two equal masks", f"{same:.4g} came out")
    tolerances = [
        one for name, one in trial.numbers.items() if {"tolerance", "tol", "tau", "threshold"} & set(words(name))
    ]
    trial.require(len(tolerances) == 1 and 0 <= tolerances[0] < MOVED)
    moved = [masks.value(still, masks.cube(axis, MOVED)) for axis in masks.axes]
    trial.expect(
        all(0 < one < 0.99 for one in moved),
        f"a cube moved by {MOVED} voxels along each axis in turn, at a tolerance of {tolerances[0]:g}",
        f"{', '.join(f'{one:.4g}' for one in moved)} came out",
    )
    if tolerances[0] >= 1:
        near = masks.value(still, masks.cube(masks.axes[0], 1))
        trial.expect(
            near > 0.999, f"a cube moved by 1 voxel at a tolerance of {tolerances[0]:g}", f"{near:.4g} came out"
        )
