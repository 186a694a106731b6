"""Projections of volumes: more of what absorbs is never less, and a maximum is the maximum."""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.forms import draws, inside, learns


def _volume(trial: Trial) -> tuple[str, Any]:
    """The only volume among the arguments.

    Raises:
        NotApplicableError: There is none, or others.
    """
    found = {name: one for name, one in trial.arrays.items() if sum(size >= 8 for size in one.shape) == 3}
    trial.require(len(found) == 1 and not learns(trial) and not draws(trial))
    name, given = next(iter(found.items()))
    trial.require(given.dtype.is_floating_point)
    return name, given


@entry(
    "density-and-its-shadow",
    "model",
    "projection of a volume",
    "becomes brighter nowhere (or darker nowhere) where a part of the volume becomes denser, and changes there",
    names={
        "drr",
        "generatedrr",
        "makedrr",
        "renderdrr",
        "lineintegral",
        "forwardproject",
        "forwardprojection",
        "project",
        "projectvolume",
        "radon",
        "radontransform",
        "siddon",
        "xrayprojection",
        "simulatexray",
        "projection",
        "raysum",
        "parallelprojection",
        "conebeamprojection",
        "volumetodrr",
        "cttoxray",
        "ct2xray",
        "cttodrr",
        "xrayrender",
        "beerlambert",
        "projectdrr",
        "axialprojection",
        "sumprojection",
        "renderxray",
    },
    unless={
        "head",
        "mlp",
        "loss",
        "points",
        "q",
        "k",
        "v",
        "out",
        "backprojection",
        "back",
        "back2",
        "gradient",
        "simplex",
        "linear",
        "ball",
        "text",
        "feature",
        "features",
        "inverse",
        "fbp",
        "coords",
        "points3d",
        "random",
        "matrix",
    },
    remedy="Sums (or exp of minus sums) of densities along rays.",
    source="Siddon, Fast calculation of the exact radiological path, 1985",
)
def density(trial: Trial) -> None:
    """One volume of densities from 0 to 1. Says nothing of images that are scaled by their own largest value."""
    torch = trial.torch
    name, given = _volume(trial)
    long = [axis for axis in range(given.dim()) if given.shape[axis] >= 8]
    low = torch.full(given.shape, 0.2, dtype=torch.float64)
    high = low.clone()
    inside(high, long, 0.4).fill_(0.5)
    whole = torch.full(given.shape, 0.3, dtype=torch.float64)
    trial.require(given.shape == high.shape)
    pictures = []
    for volume in (low, high, whole):
        made = trial.again(**{name: volume})
        made = made[0] if isinstance(made, tuple | list) and made else made
        pictures.append(torch.as_tensor(made).detach().double())
    trial.require(pictures[0].numel() >= 64 and pictures[0].shape == pictures[1].shape == pictures[2].shape)
    trial.require(pictures[0].numel() < given.numel())
    change, more = pictures[1] - pictures[0], pictures[2] - pictures[0]
    scale = float(change.abs().max())
    trial.require(float(more.abs().max()) > 1e-6)  # an image scaled by its own values is the same again
    trial.expect(scale > 1e-6, "a volume whose middle becomes denser", "the projection stays as it was")
    up, down = float(change.max()), float(change.min())
    trial.expect(
        min(up, -down) < 1e-2 * scale,
        "a volume whose middle becomes denser",
        f"the projection changes by {down:.3g} at one place and by {up:.3g} at another",
    )
    sign = 1 if up > -down else -1
    trial.expect(
        float((sign * more).min()) > -1e-2 * float(more.abs().max()),
        "a volume that becomes denser everywhere",
        "the projection changes the other way",
    )


@entry(
    "maximum-along-rays",
    "data",
    "maximum intensity projection",
    "shows the brightest voxel of a volume with its value, at one pixel",
    names={"mip", "maximumintensityprojection", "maxip", "maxintensityprojection", "computemip", "makemip"},
    unless={"loss", "nerf", "map", "min", "solver", "encode", "encoding", "mean"},
    remedy="volume.max(axis).",
    source="Wallis et al., Three-dimensional display in nuclear medicine, 1989",
)
def maximum(trial: Trial) -> None:
    """One volume, of which one axis is taken out."""
    torch = trial.torch
    name, given = _volume(trial)
    volume = torch.zeros(given.shape, dtype=torch.float64)
    volume[tuple(size // 3 for size in given.shape)] = 0.75
    made = trial.tensor(**{name: volume}).double()
    trial.require(made.numel() < given.numel() and made.numel() >= 64)
    value, count = float(made.max()), int((made > 0.1).sum())
    trial.require(abs(value - 1) > 1e-6 and abs(value - 255) > 1e-6)  # scaled by its own largest value
    trial.expect(
        abs(value - 0.75) < 1e-4 and count == 1,
        "a volume with one voxel of 0.75",
        f"{count} pixels are bright, the brightest with {value:.4g}",
    )
