"""Registration: warps of nothing and of whole voxels, fields put together, and what likeness of images costs."""

from __future__ import annotations

import math
from typing import Any

from traindx.watch.probes.functions.common import words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.forms import draws, inside, learns, named_words, ramp

FIELD = {
    "flow", "disp", "displacement", "dvf", "ddf", "field", "deformation", "vec", "velocity", "svf", "motion",
    "offset", "flows", "displacements", "u", "phi", "v", "dvfs", "defm",
}  # fmt: skip
LEAST = 8
SHIFT = 0.1  # voxels, or parts of half an image
LIKENESS_UNLESS = {
    "info",
    "nce",
    "infonce",
    "track",
    "update",
    "net",
    "network",
    "encoder",
    "head",
    "model",
    "matrix",
}


class Field:
    """A displacement field (B, n, *S) among the arguments, and an image (B, C, *S) beside it where there is one."""

    def __init__(self, trial: Trial, *, alone: bool) -> None:
        self.trial = trial
        known = {name: one for name, one in trial.arrays.items() if one.dim() in (4, 5)}
        fields = [name for name, one in known.items() if one.shape[1] == one.dim() - 2]
        told = [name for name in fields if FIELD & set(words(name))]
        if alone:
            trial.require(len(known) == 1 and len(fields) == 1)
            self.name = fields[0]
        else:
            trial.require(len(known) == 2 and (len(told) == 1 or len(fields) == 1))
            self.name = told[0] if len(told) == 1 else fields[0]
        self.given = known[self.name]
        trial.require(self.given.dtype.is_floating_point and not learns(trial) and not draws(trial))
        self.shape = tuple(self.given.shape[2:])
        trial.require(all(size >= LEAST for size in self.shape))
        trial.require(not self._absolute())
        self.images = [name for name in known if name != self.name]
        for name in self.images:
            trial.require(tuple(known[name].shape[2:]) == self.shape and known[name].dtype.is_floating_point)
        self.kept = {name: known[name] for name in self.images}

    def _absolute(self) -> bool:
        """True if the script's own field holds places and no displacements: it grows along the axes."""
        for channel in range(self.given.shape[1]):
            for axis in range(len(self.shape)):
                steps = self.given[:, channel].double().diff(dim=axis + 1)
                mean, spread = float(steps.mean()), float(steps.std())
                if abs(mean) > 1e-3 and spread < 0.5 * abs(mean):
                    return True
        return False

    def constant(self, *values: float) -> Any:
        """A field of one displacement; 0 in channels that are not given."""
        torch = self.trial.torch
        level = torch.zeros(self.given.shape[1], dtype=torch.float64)
        level[: len(values)] = torch.tensor(values, dtype=torch.float64)
        return level.reshape(1, -1, *[1] * len(self.shape)).expand(*self.given.shape).clone()


@entry(
    "warp-by-nothing",
    "model",
    "warp of an image",
    "leaves the image as it is where nothing is displaced, and moves it along one axis for each channel of the field",
    names={
        "spatialtransformer", "warp", "warpimage", "deform", "applydeformation", "applydisplacement", "stn",
        "warpbackward", "backwardwarp", "backwarp", "warpvolume", "spatialtransform", "transformimage", "warping",
        "flowwarp", "applyflow", "denseimagewarp", "applywarp", "warper", "warpimg", "resamplewithflow", "applyddf",
        "applydvf", "warplayer",
    },
    unless={
        "time", "affine", "grid", "perspective", "loss", "random", "points", "splat", "forward", "homography", "dtw",
        "warmup", "network", "block", "elastic", "error", "coarse",
    },
    remedy="grid = identity + displacement, scaled by 2 / (size - 1), in the order (x, y, z), with align_corners=True.",
    source="Jaderberg et al., Spatial transformer networks, 2015",
)  # fmt: skip
def warp(trial: Trial) -> None:
    """An image (B, C, *S) and a field of displacements (B, n, *S), in voxels or in parts of the image."""
    torch = trial.torch
    field = Field(trial, alone=False)
    trial.require(len(field.images) == 1)
    image = field.images[0]
    shape = field.kept[image].shape
    axes = list(range(2, len(shape)))
    nothing = field.constant()

    def warped(pixels: Any, by: Any) -> Any:
        made = trial.again(**{image: pixels, field.name: by})
        made = made[0] if isinstance(made, tuple | list) and made else made
        trial.require(isinstance(made, torch.Tensor) and made.shape == shape)
        return made.detach().double()

    noise = torch.rand(*shape, generator=trial.generator(), dtype=torch.float64) + 1
    same = inside(warped(noise, nothing), axes, 0.1)
    off = float((same - inside(noise, axes, 0.1)).abs().max())
    trial.expect(off < 1e-2, "an image and displacements of 0", f"it is off by up to {off:.3g} of its range of 1")
    answers: dict[int, list[float]] = {}
    for channel in range(len(axes)):
        step = [0.0] * channel + [SHIFT]
        answers[channel] = []
        for axis in axes:
            slope = ramp(trial, shape, axis)
            moved = inside(warped(slope, field.constant(*step)), axes) - inside(slope, axes)
            answers[channel].append(float(moved.median()))
    moves = [[at for at, value in enumerate(found) if abs(value) > 0.005] for found in answers.values()]
    for channel, found in answers.items():
        shown = ", ".join(f"{value:.3g}" for value in found)
        trial.require(
            all(abs(value) < min(shape[axis] for axis in axes) / 3 for value in found) or len(moves[channel]) != 1
        )
        trial.expect(
            len(moves[channel]) == 1,
            f"displacements of {SHIFT:g} in channel {channel} and 0 in the others",
            f"the image moves by {shown} along its axes",
        )
    reached = sorted(one[0] for one in moves)
    trial.expect(
        reached == list(range(len(axes))),
        "displacements in each channel in turn",
        f"the axes {', '.join(str(one[0]) for one in moves)} are moved: one twice",
    )
    sizes = [abs(answers[channel][moves[channel][0]]) / SHIFT for channel in answers]
    lengths = [shape[axes[one[0]]] for one in moves]
    units = {
        "voxels": [1.0] * len(sizes),
        "halves": [(size - 1) / 2 for size in lengths],
        "half a voxel more": [size / 2 for size in lengths],
        "wholes": [float(size) for size in lengths],
        "wholes but one": [size - 1.0 for size in lengths],
    }
    fits = any(all(abs(a - b) < 0.02 * b + 0.01 for a, b in zip(sizes, unit, strict=True)) for unit in units.values())
    shown = ", ".join(f"{value * SHIFT:.3g}" for value in sizes)
    trial.require(len(set(lengths)) > 1 or fits or len({round(one, 2) for one in sizes}) > 1)
    trial.expect(fits, f"displacements of {SHIFT:g} in each channel in turn", f"the image moves by {shown} voxels")


@entry(
    "integral-of-a-velocity",
    "model",
    "integration of a velocity field",
    "gives 0 for velocities of 0, and for a velocity that is the same everywhere a displacement by it",
    names={
        "vecint", "integrate", "scalingandsquaring", "scalingsquaring", "expflow", "velocitytoflow",
        "integratevelocity", "svftodisp", "diffeomorphictransform", "vecintegrate", "exponentialmap",
        "squaringandscaling", "svfexp", "integratesvf",
    },
    unless={"loss", "ode", "sde", "euler", "rk4", "monte", "riemann", "trapezoid", "time"},
    remedy="v = v / 2 ** n; n times v = v + warp(v, v).",
    source="Arsigny et al., A log-Euclidean framework for statistics on diffeomorphisms, 2006",
)  # fmt: skip
def integral(trial: Trial) -> None:
    """One field of velocities (B, n, *S)."""
    field = Field(trial, alone=True)
    axes = list(range(2, field.given.dim()))

    def integrated(*values: float) -> Any:
        made = trial.tensor(**{field.name: field.constant(*values)}).double()
        trial.require(made.shape == field.given.shape)
        return inside(made, axes, 0.3)

    none = float(integrated().abs().max())
    trial.expect(none < 1e-4, "velocities of 0", f"displacements of {none:.3g} came out")
    found = integrated(0.3)
    first, others = float(found[:, 0].mean()), float(found[:, 1:].abs().max())
    trial.require(abs(first) > 1e-9)
    trial.expect(
        abs(abs(first) - 0.3) < 0.01 and others < 1e-2,
        "velocities of 0.3 along one axis everywhere",
        f"displacements of {first:.4g} came out",
    )


@entry(
    "fields-put-together",
    "model",
    "composition of displacements",
    "gives a field again where the other one is 0",
    names={
        "compose", "composeflows", "composedvf", "composedisp", "composedisplacements", "composefields", "compositor",
        "compositetransform", "composeddf", "compositionflow", "combineflows", "composition", "composeflow",
    },
    unless={"transforms", "loss", "transform", "image", "affine"},
    remedy="second + warp(first, second).",
    source="Ashburner, A fast diffeomorphic image registration algorithm, 2007",
)  # fmt: skip
def composition(trial: Trial) -> None:
    """Two fields (B, n, *S) of one shape."""
    torch = trial.torch
    trial.require(not learns(trial))
    first, second = trial.pair()
    given = trial.arrays[first]
    trial.require(given.dim() in (4, 5) and given.shape[1] == given.dim() - 2 and given.dtype.is_floating_point)
    axes = list(range(2, given.dim()))
    trial.require(all(given.shape[axis] >= LEAST for axis in axes))
    nothing = torch.zeros_like(given)
    smooth = torch.stack([0.2 * (ramp(trial, given.shape, axis) / 4).sin()[:, 0] for axis in axes], 1).to(given.dtype)
    none = float(trial.tensor(**{first: nothing, second: nothing}).abs().max())
    trial.expect(none < 1e-4, "two fields of 0", f"displacements of {none:.3g} came out")
    for zero, other in ((first, second), (second, first)):
        made = trial.tensor(**{zero: nothing, other: smooth})
        off = float(inside(made - smooth, axes, 0.2).abs().max())
        trial.expect(off < 1e-2, f"0 as {zero} and some field as {other}", f"it is off by up to {off:.3g}")


@entry(
    "determinant-where-nothing-moves",
    "figure",
    "Jacobian determinant",
    "is 1 where nothing is displaced, and where layers are only sheared",
    names={
        "jacobiandeterminant", "jacdet", "jacobiandet", "getjacdet", "computejacobiandeterminant",
        "jacobiandeterminants", "calculatejacobiandeterminant", "jacobiandeterminantvxm", "jacdeterminant",
    },
    unless={
        "loss", "log", "negative", "fold", "folding", "penalty", "percent", "count", "ratio", "std", "regularization",
    },
    remedy="det(I + gradient of the displacement), with all products of the gradients.",
    source="Leow et al., Statistical properties of Jacobian maps, 2007",
)  # fmt: skip
def determinant(trial: Trial) -> None:
    """One field: (B, n, *S), (n, *S) or (*S, n); as displacements or, where it is no 1 for 0, as places."""
    torch = trial.torch
    name = trial.only()
    given = trial.arrays[name]
    trial.require(given.dtype.is_floating_point and not learns(trial))
    found = None
    for lead, channel in ((0, 0), (1, 1), (0, given.dim() - 1), (1, given.dim() - 1)):
        count = given.dim() - 1 - lead
        if count in (2, 3) and given.shape[channel] == count:
            axes = [axis for axis in range(lead, given.dim()) if axis != channel]
            if all(given.shape[axis] >= LEAST for axis in axes):
                found = (channel, axes)
                break
    trial.require(found is not None)
    assert found is not None
    channel, axes = found

    def of(field: Any) -> Any:
        made = trial.tensor(**{name: field.to(given.dtype)}).double()
        made = made.squeeze()
        trial.require(made.dim() in (len(axes), len(axes) + 1) and made.shape[-1] >= LEAST - 4)
        long = [axis for axis in range(made.dim()) if made.shape[axis] >= LEAST - 4]
        return inside(made, long)

    nothing = torch.zeros_like(given)
    still = of(nothing)
    if float((still - 1).abs().max()) > 1e-3:
        for order in (axes, axes[::-1]):
            places = torch.stack([ramp(trial, given.shape, axis).select(channel, 0) for axis in order], channel)
            trial.require(float((of(places).abs() - 1).abs().max()) > 1e-3)
        trial.expect(
            False, "displacements of 0 (and places that are the voxels' own)", f"{float(still.mean()):.4g} came out"
        )
    for place in range(len(axes)):
        own = {axes[place], axes[::-1][place]}  # of the two orders of coordinates
        off = {}
        for axis in axes:
            field = torch.zeros_like(given)
            field.select(channel, place).copy_(0.3 * ramp(trial, given.shape, axis).select(channel, 0))
            off[axis] = float((of(field) - 1).abs().max())
        sheared = [off[axis] for axis in axes if axis not in own]
        if len(own) == 2:
            sheared.append(min(off[axis] for axis in own))
        trial.expect(
            max(sheared) < 1e-2,
            f"displacements in channel {place} that shear layers along an axis",
            f"it is {max(sheared):.4g} off 1",
        )


@entry(
    "likeness-of-an-image-with-itself",
    "loss",
    "correlation of two images",
    "is most for an image and itself, in whatever unit it is measured",
    names={
        "ncc", "lncc", "localncc", "nccloss", "lnccloss", "normalizedcrosscorrelation", "normalisedcrosscorrelation",
        "zncc", "gncc", "localnormalizedcrosscorrelation", "nccscore", "normalizedcrosscorrelationloss", "vxmncc",
        "localnormalizedcrosscorrelationloss", "globalncc",
    },
    unless=LIKENESS_UNLESS,
    remedy="Covariance divided by the root of the product of both variances.",
    source="Avants et al., Symmetric diffeomorphic image registration with cross-correlation, 2008",
)  # fmt: skip
def correlation(trial: Trial) -> None:
    """Two images of one shape; a cost or a likeness."""
    torch = trial.torch
    first, second, shape = _two_images(trial)
    one = torch.rand(*shape, generator=trial.generator(1), dtype=torch.float64)
    other = torch.rand(*shape, generator=trial.generator(2), dtype=torch.float64)
    values = {
        how: float(trial.tensor(**{first: one, second: given}).double().mean())
        for how, given in {"itself": one, "twice": 2 * one, "other": other}.items()
    }
    trial.require(all(math.isfinite(value) for value in values.values()))
    clear = abs(values["itself"] - values["other"])
    shown = (
        f"{values['itself']:.4g} for itself, {values['twice']:.4g} for twice itself, {values['other']:.4g} for another"
    )
    trial.expect(clear > 0.1 * max(abs(values["itself"]), 1e-3), "an image and itself, and another one", shown)
    trial.expect(
        abs(values["twice"] - values["itself"]) < 0.05 * clear, "an image and the same, twice as bright", shown
    )
    if {"loss", "losses"} & named_words(trial):
        trial.expect(values["itself"] < values["other"], "an image and itself, and another one", shown)


def _two_images(trial: Trial) -> tuple[str, str, tuple[int, ...]]:
    """The two images of one shape among the arguments.

    Raises:
        NotApplicableError: There are others.
    """
    trial.require(not learns(trial) and not draws(trial))
    images = {name: one for name, one in trial.arrays.items() if one.dim() >= 2 and one.numel() >= 256}
    trial.require(len(images) == 2 and len(trial.arrays) == 2)
    (first, a), (second, b) = images.items()
    trial.require(a.shape == b.shape and a.dtype.is_floating_point and b.dtype.is_floating_point)
    trial.require(min(a.shape[-2:]) >= 12)
    return first, second, tuple(a.shape)


@entry(
    "information-of-an-image-about-itself",
    "loss",
    "mutual information of two images",
    "is more between an image and itself than between an image and its voxels in another order",
    names={
        "mutualinformation", "mi", "nmi", "mutualinfo", "miloss", "mutualinformationloss", "nmiloss", "localmi",
        "globalmutualinformationloss", "normalizedmutualinformation", "mutualinformationmetric", "parzenmi",
    },
    unless={*LIKENESS_UNLESS, "mine", "estimator", "upper", "lower", "bound", "club", "score", "cluster", "labels"},
    remedy="Sum of p(a, b) log(p(a, b) / (p(a) p(b))); its negative as a cost.",
    source="Viola and Wells, Alignment by maximization of mutual information, 1997",
)  # fmt: skip
def information(trial: Trial) -> None:
    """Two images of one shape with values from 0 to 1; a cost or a likeness."""
    torch = trial.torch
    first, second, shape = _two_images(trial)
    one = torch.rand(*shape, generator=trial.generator(1), dtype=torch.float64)
    order = torch.randperm(one.numel(), generator=trial.generator(2))
    mixed = one.reshape(-1)[order].reshape(shape)
    same = float(trial.tensor(**{first: one, second: one}).double().mean())
    apart = float(trial.tensor(**{first: one, second: mixed}).double().mean())
    trial.require(math.isfinite(same) and math.isfinite(apart))
    asked = "an image and itself, and then its voxels in another order"
    shown = f"{same:.4g} and {apart:.4g} came out"
    trial.expect(abs(same - apart) > 0.02 * max(abs(same), abs(apart)) and same != apart, asked, shown)
    if {"loss", "losses"} & named_words(trial):
        trial.expect(same < apart, asked, shown)
    elif same >= 0 and apart >= 0 and not isinstance(trial.call.args.get("self"), torch.nn.Module):
        trial.expect(same > apart, asked, shown)
