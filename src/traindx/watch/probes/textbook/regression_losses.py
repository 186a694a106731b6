"""Losses and figures of continuous values: where they are least, how they grow, and on which side they weigh more."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Callable
from typing import Any

from traindx.watch.probes.functions.common import as_tensor, number, words
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.textbook.base import Trial, entry, spoken
from traindx.watch.probes.textbook.predictions import is_loss, mean_of, roles

SQUARED = {"mse", "l2", "squarederror", "meansquared", "meansquarederror"}
ROOTS = {"rmse", "rootmean", "rms"}
ABSOLUTE = {"mae", "l1", "meanabsolute", "meanabsoluteerror"}
ROBUST = {"huber", "smoothl1", "charbonnier", "logcosh"}
NOT_PLAIN = {
    "weighted", "relative", "log", "msle", "mape", "percent", "percentage", "normalized", "normalised", "nmse", "nrmse",
    "nmae", "gradient", "grad", "ssim", "perceptual", "lpips", "gan", "regularization", "regularizer", "reg", "norm",
    "penalty", "box", "bbox", "boxes", "masked", "weights", "vgg", "fft", "frequency", "contrastive", "kl", "vae",
    "elbo", "iou", "noise", "diffusion", "edge", "asymmetric", "quantile", "pinball", "balanced", "adaptive", "wing",
    "normal", "decay", "laplacian", "sobel", "ce", "bce", "dice", "cosine", "distill", "softmax", "sigmoid", "psnr",
}  # fmt: skip


def _plain(trial: Trial) -> tuple[str, str]:
    """Prediction and target, which have one shape (up to axes of length 1) and any values."""
    who = roles(trial)
    a, b = trial.arrays[who.prediction], trial.arrays[who.target]
    trial.require(a.is_floating_point() and b.is_floating_point() and a.numel() == b.numel() and a.numel() >= 4)
    return who.prediction, who.target


@entry(
    "regression-loss-least-at-the-truth",
    "loss",
    "loss of continuous values",
    "is least where the prediction equals the target",
    names={
        *SQUARED,
        *ROOTS,
        *ABSOLUTE,
        *ROBUST,
        "ssim",
        "msssim",
        "perceptual",
        "lpips",
        "reconstruction",
        "recon",
        "wing",
        "mape",
    },
    unless={
        "gan",
        "regularization",
        "regularizer",
        "reg",
        "penalty",
        "kl",
        "vae",
        "elbo",
        "contrastive",
        "triplet",
        "norm",
        "weights",
        "box",
        "bbox",
        "boxes",
        "iou",
        "noise",
        "diffusion",
        "adv",
        "adversarial",
        "decay",
        "distill",
        "ce",
        "bce",
        "dice",
        "quantile",
        "pinball",
        "unsup",
        "normalize",
        "pairwise",
        "distance",
        "dist",
        "cdist",
        "distances",
        "matrix",
        "normalise",
    },
    remedy="Compare each prediction with its own target, in one shape and one unit.",
    source="Bishop, Pattern Recognition and Machine Learning, 2006, section 1.5.5",
)
def least_at_the_truth(trial: Trial) -> None:
    """The target itself, the target with errors, and another sample's; (N, 1) beside (N,) keeps its shape."""
    torch = trial.torch
    loss = is_loss(trial)
    trial.require(loss or bool({*SQUARED, *ROOTS, *ABSOLUTE} & spoken(trial.call.name)))
    prediction, target = _plain(trial)
    known = trial.arrays[target].double()
    shape = trial.arrays[prediction].shape
    trial.require(bool(known.std() > 0))
    bounded = bool(known.min() >= 0 and known.max() <= 1)
    given = trial.arrays[prediction]
    as_logits = bounded and bool(given.min() < 0 or given.max() > 1)  # a cross-entropy of logits, perhaps
    trial.require(not as_logits or not {"recon", "reconstruction"} & set(words(trial.call.name)))
    noise = 0.5 * known.std() * torch.randn(known.shape, generator=trial.generator(), dtype=torch.float64)
    others = [known + noise, 0.5 * known + 0.5 * known.mean(), known.flip(0) if len(known) > 1 else known + noise]

    def value(one: Any) -> float:
        one = one.clamp(0, 1) if bounded else one
        return mean_of(trial, **{prediction: one.reshape(shape).float(), target: trial.arrays[target]})

    best = value(known)
    for other in others:
        if torch.equal(other, known):
            continue
        worse = value(other)
        trial.expect(
            best <= worse + 1e-5 * max(abs(worse), 1e-6),
            "a prediction that equals the target, and one with errors",
            f"{best:.4g} and {worse:.4g} came out",
        )


def _growth(trial: Trial, far: float) -> tuple[float, float, float]:
    """What errors of one size, of twice the size, and of one size in every second place cost."""
    torch = trial.torch
    prediction, target = _plain(trial)
    shape, form = trial.arrays[prediction].shape, trial.arrays[target]
    base = torch.zeros(form.shape, dtype=torch.float64)
    trial.require(shape[-1] % 2 == 0 or form.numel() > 64)
    some = (torch.arange(base.numel()) % 2 == 0).double().reshape(base.shape)

    def value(error: Any) -> float:
        return mean_of(trial, **{prediction: (base + error).reshape(shape).float(), target: base})

    return value(far + 0 * base), value(2 * far + 0 * base), value(far * some) / max(float(some.mean()), 0.1)


@entry(
    "squared-error-grows-with-the-square",
    "loss",
    "mean squared error",
    "is four times as large for errors of twice the size",
    names=SQUARED,
    unless={*NOT_PLAIN, *ROOTS, *ABSOLUTE, "root", "huber", "smooth"},
    remedy="((prediction - target) ** 2).mean().",
    source="Bishop, Pattern Recognition and Machine Learning, 2006, eq. 1.46",
)
def squared_error(trial: Trial) -> None:
    """Constant errors of two sizes; an L2 norm without a square counts as its root."""
    trial.require(len({"loss", *words(trial.call.name)} - {"loss", "function", "fn", "compute", "get", "calc"}) <= 3)
    once, twice, _ = _growth(trial, 0.25)
    trial.require(once > 0 and not ({"l2"} & set(words(trial.call.name)) and abs(twice / once - 2) < 0.05))
    said = f"{once:.4g} and {twice:.4g} came out"
    trial.expect(abs(twice / once - 4) < 0.1, "errors of 0.25 everywhere, and of 0.5 everywhere", said)


@entry(
    "absolute-error-grows-with-the-error",
    "loss",
    "mean absolute error",
    "is twice as large for errors of twice the size, and half as large for errors in half of the places",
    names=ABSOLUTE,
    unless={*NOT_PLAIN, *ROOTS, *SQUARED, "huber", "smooth", "smoothl1"},
    remedy="(prediction - target).abs().mean().",
    source="Bishop, Pattern Recognition and Machine Learning, 2006, section 1.5.5",
)
def absolute_error(trial: Trial) -> None:
    """Constant errors of two sizes, and errors in every second place."""
    once, twice, some = _growth(trial, 0.25)
    trial.require(once > 0)
    said = f"{once:.4g} and {twice:.4g} came out"
    trial.expect(abs(twice / once - 2) < 0.05, "errors of 0.25 everywhere, and of 0.5 everywhere", said)
    given = "errors of 0.25 everywhere, and in every second place"
    trial.expect(abs(some / once - 1) < 0.1, given, f"the second costs {some / once / 2:.3f} of the first, not 0.5")


@entry(
    "root-of-the-mean-squared-error",
    "figure",
    "root mean squared error",
    "is twice as large for errors of twice the size, and 0.707 of it for errors in half of the places",
    names={"rmse"},
    unless={*NOT_PLAIN, *ABSOLUTE},
    remedy="((prediction - target) ** 2).mean() ** 0.5, the mean taken first.",
    source="definition of the root mean square",
)
def root_of_the_mean(trial: Trial) -> None:
    """Constant errors of two sizes, and errors in every second place."""
    once, twice, some = _growth(trial, 0.25)
    trial.require(once > 0)
    said = f"{once:.4g} and {twice:.4g} came out"
    trial.expect(abs(twice / once - 2) < 0.05, "errors of 0.25 everywhere, and of 0.5 everywhere", said)
    given = "errors of 0.25 everywhere, and in every second place"
    trial.expect(
        abs(some / once - math.sqrt(2)) < 0.1,
        given,
        f"the second costs {some / once / 2:.3f} of the first, not 0.707: the root is not taken of the mean",
    )


@entry(
    "robust-loss-grows-linearly",
    "loss",
    "Huber or Charbonnier loss",
    "weighs errors of both signs alike, and grows in proportion to large errors",
    names=ROBUST,
    unless=NOT_PLAIN,
    remedy="Huber: e ** 2 / 2 up to delta, delta * (|e| - delta / 2) beyond. Charbonnier: (e ** 2 + eps ** 2) ** 0.5.",
    source="Huber, Robust Estimation of a Location Parameter, 1964; Charbonnier et al., 1994, eq. 4",
)
def grows_linearly(trial: Trial) -> None:
    """Errors far beyond any threshold, near it, and of both signs."""
    torch = trial.torch
    prediction, target = _plain(trial)
    shape, form = trial.arrays[prediction].shape, trial.arrays[target]
    base = torch.zeros(form.shape, dtype=torch.float64)

    def value(error: float) -> float:
        return mean_of(trial, **{prediction: (base + error).reshape(shape).float(), target: base})

    far, farther = value(1e4), value(2e4)
    if far > 0:  # what is clamped costs the same
        trial.expect(
            abs(farther / far - 2) < 0.05, "errors of 10000, and of 20000", f"{far:.4g} and {farther:.4g} came out"
        )
    for size in (0.1, 2.0):
        above, below = value(size), value(-size)
        trial.expect(
            abs(above - below) <= 1e-3 * max(abs(above), abs(below)),
            f"errors of {size:g}, and of -{size:g}",
            f"{above:.4g} and {below:.4g} came out",
        )
    sizes = [value(1.05**step) for step in range(-60, 40)]
    steps = [later - earlier for earlier, later in itertools.pairwise(sizes)]
    trial.expect(min(steps) >= -1e-6 * max(sizes), "errors from 0.05 to 7 in small steps", "larger ones cost less")
    jump = max(later / max(earlier, 1e-9) for earlier, later in itertools.pairwise(sizes) if earlier > 1e-3)
    trial.expect(jump < 1.2, "errors from 0.05 to 7 in steps of 5 %", f"a loss jumps by {100 * (jump - 1):.0f} %")


@entry(
    "quantile-loss-weighs-its-side",
    "loss",
    "quantile loss",
    "costs q for each unit that a prediction is too low, and 1 - q for each unit that it is too high",
    names={"quantile", "pinball", "quantileloss", "pinballloss", "tilted"},
    unless={"regression", "huber", "smooth", "crps", "normalize", "transform"},
    remedy="e = target - prediction; max(q * e, (q - 1) * e).",
    source="Koenker and Bassett, Regression Quantiles, 1978, eq. 3.1",
)
def weighs_its_side(trial: Trial) -> None:
    """One quantile among the arguments or attributes, or a list of them and as many columns."""
    torch = trial.torch
    trial.require(is_loss(trial) or bool({"pinball"} & spoken(trial.call.name)))
    quantiles = _quantiles(trial)
    who = roles(trial)
    given, target = trial.arrays[who.prediction], trial.arrays[who.target]
    if not who.certain and given.numel() * max(len(quantiles), 1) == target.numel() and len(quantiles) > 1:
        who = type(who)(who.target, who.prediction, False)
        given, target = target, given
    truth = torch.zeros(target.shape)
    columns: list[tuple[float, Any]] = []
    if len(quantiles) == 1:
        columns.append((quantiles[0], torch.ones(given.shape)))
    else:
        axes = [axis for axis, size in enumerate(given.shape) if size == len(quantiles) and axis > 0]
        trial.require(len(axes) == 1)
        for index, quantile in enumerate(quantiles):
            one = torch.zeros(given.shape)
            one.select(axes[0], index).fill_(1.0)
            columns.append((quantile, one))
    for quantile, one in columns:
        trial.require(0 < quantile < 1)
        low, high = (mean_of(trial, **{who.prediction: sign * one, who.target: truth}) for sign in (-1, 1))
        trial.require(low + high != 0)
        share = low / (low + high)
        trial.expect(
            abs(share - quantile) < 0.02,
            f"predictions for the quantile {quantile:g} that are too low by 1, and too high by 1",
            f"they cost {low:.4g} and {high:.4g}: the loss is least at the quantile {share:.2g}",
        )


def _quantiles(trial: Trial) -> list[float]:
    """The quantile, or all of them."""
    owner = getattr(trial.call.args.get("self"), "__dict__", {})
    known = {"q", "quantile", "quantiles", "tau", "taus", "qs", "percentile"}
    found: list[list[float]] = []
    for name, value in [*trial.call.args.items(), *owner.items()]:
        if not known & set(words(name)):
            continue
        tensor = as_tensor(trial.torch, value)
        one = number(trial.torch, value)
        if one is not None:
            found.append([one])
        elif tensor is not None and tensor.dim() == 1:
            found.append([float(part) for part in tensor])
        elif isinstance(value, list | tuple) and all(isinstance(part, int | float) for part in value):
            found.append([float(part) for part in value])
    trial.require(len(found) == 1 and bool(found[0]))
    return found[0]


VARIANCES: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(("logvar", "logvariance", "lnvar", "logsigma2", "logvars", "logsigmasq"), math.log),
    **dict.fromkeys(("logstd", "logscale"), lambda v: 0.5 * math.log(v)),
    **dict.fromkeys(("sigma", "std", "stddev", "scale", "stdev"), math.sqrt),
    **dict.fromkeys(("var", "variance", "sigma2"), lambda v: v),
}  # of a variance, by the name of the argument; "log" before it is looked for first


@entry(
    "gaussian-likelihood-least-at-the-variance",
    "loss",
    "negative log likelihood of a normal distribution",
    "is least where the variance equals the mean squared error",
    names={"gaussiannll", "nll", "gaussian", "heteroscedastic", "aleatoric", "normalnll", "gnll", "betanll"},
    unless={
        "kl",
        "mixture",
        "mdn",
        "surv",
        "kernel",
        "noise",
        "blur",
        "filter",
        "smooth",
        "focal",
        "beta",
        "betanll",
        "discretized",
        "diffusion",
        "entropy",
        "edl",
        "evidential",
        "laplace",
        "student",
        "poisson",
        "gamma",
    },
    remedy="0.5 * (log(var) + (target - mean) ** 2 / var).",
    source="Nix and Weigend, Estimating the Mean and Variance of the Target Probability Distribution, 1994, eq. 3",
)
def least_at_the_variance(trial: Trial) -> None:
    """Errors of 1.5 everywhere, and a variance below, at and above their square."""
    torch = trial.torch
    trial.require(len(trial.arrays) == 3)
    spread = [name for name in trial.arrays if _scale_of(name) is not None]
    trial.require(len(spread) == 1)
    form = _scale_of(spread[0]) or math.log
    rest = [name for name in trial.arrays if name not in spread]
    trial.require(all(trial.arrays[name].shape == trial.arrays[spread[0]].shape for name in rest))
    positive = "log" not in "".join(words(spread[0]))
    inside = ast.unparse(node) if (node := definition_of(trial.call.code)) is not None else ""
    activated = any(part in inside for part in ("exp(", "softplus("))  # whatever the argument is called
    trial.require(not positive or (not activated and bool(trial.arrays[spread[0]].min() > 0)))
    zero = torch.zeros(trial.arrays[rest[0]].shape)

    def value(variance: float) -> float:
        scale = torch.full(trial.arrays[spread[0]].shape, form(variance))
        return mean_of(trial, **{rest[0]: zero, rest[1]: zero + 1.5, spread[0]: scale})

    low, right, high = value(2.25 / 1.4), value(2.25), value(2.25 * 1.4)
    sign = -1.0 if not is_loss(trial) and not {"nll", "neg", "negative"} & spoken(trial.call.name) else 1.0
    trial.require(sign > 0)
    trial.expect(
        right < low and right < high,
        f"errors of 1.5, and {spread[0]} for a variance of 1.6, 2.25 and 3.2",
        f"{low:.4g}, {right:.4g} and {high:.4g} came out",
    )


def _scale_of(name: str) -> Callable[[float], float] | None:
    joined = "".join(words(name))
    said = spoken(name)
    for key, form in VARIANCES.items():
        if key.startswith(("log", "ln")) and (key in said or key == joined):
            return form
    if "log" in joined or {"raw", "pre", "param", "params"} & said:
        return None
    return next((form for key, form in VARIANCES.items() if key in said), None)


@entry(
    "masked-loss-ignores-what-is-masked",
    "loss",
    "masked loss",
    "does not depend on what is predicted where the mask excludes it",
    names={"masked", "maskedmse", "maskedmae", "maskedl1", "maskedloss"},
    unless={"autoencoder", "image", "language", "lm", "fill"},
    remedy="Multiply the error of every element by the mask before it is summed, and divide by the sum of the mask.",
    source="the sum over a subset",
)
def ignores_what_is_masked(trial: Trial) -> None:
    """Prediction, target and a mask of one shape: one of its two values excludes."""
    torch = trial.torch
    trial.require(len(trial.arrays) == 3 and is_loss(trial))
    mask = trial.need("mask", "masks", "valid", "validmask", "weight")
    prediction, target = (name for name in trial.arrays if name != mask)
    a, m = trial.arrays[prediction], trial.arrays[mask]
    trial.require(a.is_floating_point() and a.shape == trial.arrays[target].shape and m.shape == a.shape)
    trial.require(bool(((m == 0) | (m == 1)).all()) and trial.arrays[target].is_floating_point())
    where = torch.rand(a.shape, generator=trial.generator()) > 0.5
    truth, guess = torch.zeros(a.shape), torch.rand(a.shape, generator=trial.generator(1))

    def value(moved: Any) -> float:
        return mean_of(trial, **{prediction: guess + moved.float() * 2, target: truth, mask: where.to(m.dtype)})

    before = value(torch.zeros(a.shape))
    kept, left = value(~where), value(where)
    near = min(abs(kept - before), abs(left - before))
    trial.expect(
        near <= 1e-4 * max(abs(before), 1e-6),
        "other predictions outside of the mask, and inside",
        f"{kept:.4g} and {left:.4g} came out instead of {before:.4g}: both count",
    )
