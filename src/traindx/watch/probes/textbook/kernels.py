"""Kernels and derivatives of images: Gaussian weights, edges, smoothing, and the cost of roughness."""

from __future__ import annotations

import math
from typing import Any

from traindx.watch.probes.functions.common import as_tensor, words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.forms import draws, inside, learns, named_words, ramp

LEVEL = 3.0


@entry(
    "gaussian-kernel",
    "model",
    "Gaussian kernel",
    "is symmetric, largest in the middle, and sums to 1 (or is 1 in the middle)",
    names={
        "gaussiankernel", "gaussiankernel1d", "gaussiankernel2d", "gaussiankernel3d", "creategaussiankernel",
        "getgaussiankernel", "gaussianwindow", "gausskernel", "gaussian", "createwindow", "fspecialgauss",
        "makegaussiankernel", "gaussian1d", "gaussian2d", "gausswindow", "makegaussian", "gaussianfilterkernel",
    },
    unless={
        "noise", "blur", "map", "heatmap", "weight", "importance", "diffusion", "nll", "loss", "likelihood", "kl",
        "radius", "focal", "sample", "rbf", "mmd", "draw", "smearing", "basis", "fourier", "policy", "mixture", "pdf",
        "density", "log", "laplacian", "derivative", "gradient", "target", "smooth", "smoothing", "conv", "splat",
    },
    remedy="exp(-(i - (size - 1) / 2) ** 2 / (2 sigma ** 2)), divided by its sum.",
    source="Wang et al., Image quality assessment, 2004",
)  # fmt: skip
def gaussian_kernel(trial: Trial) -> None:
    """A function of numbers only: a size and a width."""
    trial.require(not trial.arrays and not draws(trial) and not learns(trial))
    names = {word for name in trial.call.args for word in words(name)}
    trial.require(not {"mu", "mean", "center", "centre", "x", "t", "theta", "angle", "x0"} & names)
    made = trial.tensor()
    axes = [axis for axis in range(made.dim()) if made.shape[axis] > 1]
    trial.require(made.dtype.is_floating_point and made.numel() >= 3)
    sizes = [made.shape[axis] for axis in axes[-2:]]
    if made.dim() >= 3 and made.shape[1] == 1:  # the weights of a convolution, one kernel a channel
        made = made[0, 0].double()
    else:
        trial.require(len(axes) <= 3 and (len(axes) == 1 or sizes[0] == sizes[-1]))
        made = made.double().squeeze()
    trial.require(all(size >= 3 for size in made.shape) and bool(made.isfinite().all()))
    size = " x ".join(str(one) for one in made.shape)
    off = max(float((made - made.flip(axis)).abs().max()) for axis in range(made.dim())) / float(made.abs().max())
    trial.expect(off < 1e-3, f"a kernel of {size}", f"its halves differ by {off:.3g} of the largest weight")
    middle = float(made[tuple(size // 2 for size in made.shape)])
    trial.expect(
        middle >= float(made.max()) * (1 - 1e-6), f"a kernel of {size}", "the largest weight is not in the middle"
    )
    total = float(made.sum())
    odd = all(size % 2 for size in made.shape)
    peak = abs(float(made.max()) - 1) < 1e-3 or (not odd and 0.5 < float(made.max()) <= 1.001)
    trial.expect(abs(total - 1) < 1e-2 or peak, f"a kernel of {size}", f"the weights sum to {total:.5g}")


def _picture(trial: Trial) -> tuple[str, Any, list[int]]:
    """The only array, and the axes of its image or volume.

    Raises:
        NotApplicableError: There are others, or it is no image.
    """
    name = trial.only()
    given = trial.arrays[name]
    trial.require(given.dtype.is_floating_point and given.dim() >= 2 and not learns(trial) and not draws(trial))
    return name, given, axes_of(trial, given)


def axes_of(trial: Trial, given: Any) -> list[int]:
    """The last two axes of an image; the last three of a volume. Channels may stand last.

    Raises:
        NotApplicableError: One is shorter than 8.
    """
    if given.dim() == 3 and given.shape[2] <= 4 < given.shape[0]:
        axes = [0, 1]
    elif given.dim() == 5 or (given.dim() == 3 and given.shape[0] >= 8) or (given.dim() == 4 and given.shape[1] >= 16):
        axes = [given.dim() - 3, given.dim() - 2, given.dim() - 1]
    else:
        axes = [given.dim() - 2, given.dim() - 1]
    trial.require(all(given.shape[axis] >= 8 for axis in axes))
    return axes


def _parts(trial: Trial, value: Any) -> list[Any]:
    """All arrays of a result, as tensors of real numbers."""
    found = [value] if not isinstance(value, tuple | list) else list(value)
    made = [as_tensor(trial.torch, one) for one in found]
    trial.require(bool(made) and all(one is not None and not one.dtype.is_complex for one in made))
    return [one.double() for one in made if one is not None]


@entry(
    "derivative-of-an-image",
    "data",
    "derivative of an image",
    "is 0 inside of a constant image, and of one sign along a ramp",
    names={
        "sobel", "sobelfilter", "imagegradient", "imagegradients", "imggradient", "spatialgradient", "sobeledges",
        "sobelgradient", "gradientmagnitude", "computeimagegradient", "gradientmap", "gradmap", "gradx", "grady",
        "gradientx", "gradienty", "sobelx", "sobely", "getimagegradient", "sobelmagnitude", "sobeloperator",
        "finitedifference", "finitedifferences", "imgrad", "scharr", "prewitt", "sobeledge", "gradientimage",
        "computegradientmagnitude", "laplacian", "laplacianfilter",
    },
    unless={"loss", "penalty", "norm", "clip", "policy", "reversal", "flow", "losses", "hook", "cam", "checkpoint",
            "accumulate", "graph", "eigenmaps", "pyramid", "pe", "positional", "norms", "params", "noise", "kernel"},
    remedy="Weights that sum to 0, along the axis that the name says.",
    source="Sobel and Feldman, A 3x3 isotropic gradient operator, 1968",
)  # fmt: skip
def derivative(trial: Trial) -> None:
    """One image; gives one array or several, of its size or a little less."""
    torch = trial.torch
    name, given, axes = _picture(trial)
    flat = _parts(trial, trial.again(**{name: torch.full_like(given, LEVEL)}))
    for one in flat:
        trial.require(one.dim() in (given.dim(), given.dim() - 1, given.dim() + 1))
        trial.require(sorted(one.shape)[-1] >= max(given.shape[axis] for axis in axes) - 4)
    long = [[axis for axis in range(one.dim()) if one.shape[axis] >= 6] for one in flat]
    rest = max(float(inside(one, where).abs().max()) for one, where in zip(flat, long, strict=True))
    trial.expect(rest < 1e-2 * LEVEL, f"a constant image of {LEVEL:g}", f"{rest:.3g} came out in the middle")
    answers = {}
    for axis in axes:
        made = _parts(trial, trial.again(**{name: ramp(trial, given.shape, axis).to(given.dtype)}))
        middles = [inside(one, where) for one, where in zip(made, long, strict=True)]
        answers[axis] = middles
    second = {"laplacian", "second", "hessian", "laplacianfilter"} & named_words(trial)
    if second:
        return
    seen = {axis: max(float(one.abs().max()) for one in middles) for axis, middles in answers.items()}
    spelled = "".join(words(trial.call.name))
    across = next((end for end in ("x", "y") if spelled.endswith(end) and spelled[-2:-1] != "x"), "")
    if not across:
        missing = [axis for axis, value in seen.items() if value < 1e-3]
        trial.expect(len(missing) < len(axes), "ramps along each axis", "0 came out for all of them")
        trial.expect(
            not missing or (len(flat) == 1 and len(missing) == len(axes) - 1),
            f"a ramp along axis {missing[0] if missing else 0}",
            "0 came out in the middle",
        )
    elif len(axes) == 2 and len(flat) == 1:
        own, other = (axes[1], axes[0]) if across == "x" else (axes[0], axes[1])
        trial.expect(
            seen[own] > 1e-3 and seen[other] < 1e-2 * seen[own],
            "ramps from left to right and from top to bottom",
            f"{seen[axes[1]]:.3g} came out for the first and {seen[axes[0]]:.3g} for the second",
        )
    for axis, middles in answers.items():
        for one in middles:
            crossed = float(one.max()) > 1e-3 * seen[axis] and float(one.min()) < -1e-3 * seen[axis]
            trial.expect(not crossed, f"a ramp along axis {axis}", "both signs came out")


@entry(
    "smoothing-of-a-constant",
    "data",
    "smoothing",
    "leaves a constant image as it is, in its middle",
    names={"gaussianblur", "gaussiansmoothing", "gaussianfilter", "blurimage", "gaussblur", "gaussiansmooth",
           "boxblur", "meanblur", "smoothimage", "gaussianblur2d", "gaussianblur3d", "lowpassfilter", "meanfilter",
           "medianfilter", "gaussiansmoothing3d", "bilateralfilter", "boxfilter", "filter2d", "medianblur",
           "gaussianblurring"},
    unless={"random", "rand", "label", "loss", "kernel", "highpass", "augment", "edge"},
    remedy="Weights that sum to 1.",
    source="scipy.ndimage.gaussian_filter",
)  # fmt: skip
def smoothing(trial: Trial) -> None:
    """One image, and whatever makes the kernel."""
    torch = trial.torch
    arrays = {name: one for name, one in trial.arrays.items() if one.numel() >= 64}
    trial.require(len(arrays) == 1 and not learns(trial) and not draws(trial))
    trial.require(not {"kernel", "weight", "guide"} & {word for name in trial.arrays for word in words(name)})
    name, given = next(iter(arrays.items()))
    axes = axes_of(trial, given)
    level = LEVEL if given.dtype.is_floating_point and float(given.double().abs().max()) > 1 else 0.75
    level = level if given.dtype.is_floating_point else 100.0
    made = trial.tensor(**{name: torch.full(given.shape, level, dtype=torch.float64)}).double()
    trial.require(made.dim() == given.dim())
    middle = inside(made, axes, 0.4)
    low, high = float(middle.min()), float(middle.max())
    trial.expect(
        abs(low - level) < 0.02 * level and abs(high - level) < 0.02 * level,
        f"a constant image of {level:g}",
        f"{low:.4g} came out in the middle" if abs(low - level) >= abs(high - level) else f"{high:.4g} came out",
    )


ROUGH = {
    "tv", "totalvariation", "tvloss", "totalvariationloss", "smoothness", "smoothnessloss", "smoothloss",
    "bendingenergyloss", "bendingenergy", "bending", "gradsmooth", "flowsmoothness", "smoothreg",
    "smoothregularizer", "grad3d", "grad2d", "diffusionregularizer", "totalvariation2d", "totalvariation3d", "gradloss",
    "tvnorm", "tv2d",
    "tvregularization",
    "smoothnessregularization", "gradientsmoothness", "smoothregularization", "displacementsmoothness",
}  # fmt: skip


@entry(
    "cost-of-roughness",
    "loss",
    "cost of roughness",
    "is 0 for a constant image or field, and more for one that varies along any of its axes",
    names=ROUGH,
    unless={"l1", "label", "smoothl1", "huber", "mse", "temporal", "edge", "ap", "sobel", "perceptual", "ce",
            "distance", "divergence", "mae", "kl", "nll", "wasserstein", "penalty", "dice"},
    remedy="Differences of neighbours along every spatial axis, squared or as they are, averaged.",
    source="Rudin, Osher and Fatemi, Nonlinear total variation based noise removal algorithms, 1992",
)  # fmt: skip
def roughness(trial: Trial) -> None:
    """One array, or a field beside an image that is made constant; pairs of equal shape are something else."""
    torch = trial.torch
    arrays = {name: one for name, one in trial.arrays.items() if one.dim() >= 2 and one.numel() >= 64}
    trial.require(len(arrays) == len(trial.arrays) and not draws(trial))
    fields = list(arrays)
    if len(fields) == 2:
        rough = {"flow", "disp", "displacement", "field", "dvf", "ddf", "disparity", "depth", "deformation"}
        fields = [name for name in fields if rough & set(words(name))]
    trial.require(len(fields) == 1)
    name, given = fields[0], arrays[fields[0]]
    trial.require(
        given.dtype.is_floating_point and not {"mask", "masks", "seg", "label", "target", "gt"} & set(words(name))
    )
    others = {
        one: torch.full_like(value, 0.5)
        for one, value in arrays.items()
        if one != name and value.dtype.is_floating_point
    }
    axes = axes_of(trial, given)
    if given.dim() == 4 and given.shape[1] == 3 and len(axes) == 3:
        axes = axes[1:]
    flat = float(trial.tensor(**{name: torch.full_like(given, 0.5), **others}).double().mean())
    costs = {}
    for axis in axes:
        wave = 0.5 + 0.25 * (ramp(trial, given.shape, axis) * 1.3).sin()
        costs[axis] = float(trial.tensor(**{name: wave.to(given.dtype), **others}).double().mean())
    largest = max(abs(one) for one in costs.values())
    trial.require(all(math.isfinite(value) for value in (flat, *costs.values())))
    trial.expect(
        abs(flat) < max(1e-2 * largest, 1e-6) or abs(flat) < 2e-3,
        "a constant field",
        f"it costs {flat:.4g}, and one with waves {largest:.4g}",
    )
    for axis, cost in costs.items():
        trial.expect(
            cost > flat + 1e-2 * (largest - flat) and cost > flat,
            f"waves along axis {axis} of {given.dim()}",
            f"they cost {cost:.4g}, and a constant field {flat:.4g}",
        )
