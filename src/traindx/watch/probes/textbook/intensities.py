"""Intensities: windows, standard scores, scaling to a range, Hounsfield units, gamma, and numbers of eight bits."""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.functions.common import as_tensor, words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.forms import draws, numbers_in

CENTRE = {"center", "centre", "level", "wl", "wc", "windowcenter", "windowcentre", "windowlevel", "c", "l"}
WIDTH = {"width", "ww", "windowwidth", "w"}
LOWEST = {"low", "lower", "min", "amin", "humin", "minhu", "minbound", "vmin", "lo", "lowerbound", "minvalue", "minval",
          "lb"}  # fmt: skip
HIGHEST = {"high", "upper", "max", "amax", "humax", "maxhu", "maxbound", "vmax", "hi", "upperbound", "maxvalue",
           "maxval", "ub"}  # fmt: skip
LEAST = 64  # values of an image
NO_IMAGE = {"mask", "masks", "label", "labels", "seg", "segmentation", "target", "gt", "annotation", "weight",
            "weights", "landmarks", "points", "boxes", "bbox", "keypoints", "coords"}  # fmt: skip


def _number(trial: Trial, choices: set[str]) -> tuple[str, float] | None:
    """The only number whose name is one of these, as a word or as several joined."""
    found = [(name, value) for name, value in trial.numbers.items() if "".join(words(name)) in choices] or [
        (name, value)
        for name, value in trial.numbers.items()
        if choices & set(words(name)) and not {"out", "output", "b", "new", "target"} & set(words(name))
    ]
    return found[0] if len(found) == 1 else None


def _image(trial: Trial) -> tuple[str, Any]:
    """The only array, of real numbers.

    Raises:
        NotApplicableError: There are others, or it is small, or called a mask.
    """
    name = trial.only()
    given = trial.arrays[name]
    trial.require(not NO_IMAGE & set(words(name)))
    trial.require(given.numel() >= LEAST and not given.dtype.is_complex and given.dtype != trial.torch.bool)
    return name, given


def _holding(trial: Trial, given: Any, values: list[float]) -> Any:
    """An image whose first numbers are these, and all others the first one.

    Raises:
        NotApplicableError: The form of the script's image cannot hold them.
    """
    torch = trial.torch
    if not given.dtype.is_floating_point:
        info = torch.iinfo(given.dtype)
        trial.require(all(info.min <= value <= info.max for value in values))
    recorded = trial.call.args[trial.only()]
    if getattr(getattr(recorded, "dtype", None), "kind", "") == "u":  # as_tensor makes them wider
        trial.require(min(values) >= 0 and max(values) <= 2 ** (8 * recorded.dtype.itemsize) - 1)
    image = torch.full((given.numel(),), float(values[0]), dtype=torch.float64)
    image[: len(values)] = torch.tensor(values, dtype=torch.float64)
    return image.reshape(given.shape)


def _at(trial: Trial, name: str, given: Any, values: list[float]) -> list[float]:
    """What becomes of some values."""
    made = trial.tensor(**{name: _holding(trial, given, values)})
    trial.require(made.numel() == given.numel() and not made.dtype.is_complex)
    return [float(one) for one in made.double().reshape(-1)[: len(values)]]


@entry(
    "intensity-window",
    "data",
    "intensity window",
    "maps the centre of the window to the middle of what it gives, half a width to both sides, and no farther",
    names={
        "window", "windowing", "applywindow", "ctwindow", "windowct", "windowimage", "huwindow", "windowhu",
        "applywindowing", "windowlevel", "windowtransform", "setwindow", "windowimg", "applywindowlevel", "winlevel",
        "getwindowedimage", "windowed",
    },
    unless={
        "partition", "sliding", "reverse", "hann", "hamming", "attention", "shift", "size", "slide", "sampler", "merge",
        "msa", "stft", "unpartition", "ssim", "gaussian", "process", "attn", "random", "params", "bounds", "range",
    },
    remedy="low = centre - width / 2; ((image - low) / width).clamp(0, 1).",
    source="DICOM PS3.3, C.11.2.1.2",
)  # fmt: skip
def intensity_window(trial: Trial) -> None:
    """An image, and a centre and a width by name."""
    name, given = _image(trial)
    centre, width = _number(trial, CENTRE), _number(trial, WIDTH)
    trial.require(centre is not None and width is not None and not draws(trial))
    assert centre is not None
    assert width is not None
    c, w = centre[1], width[1]
    trial.require(w > 1e-6 and centre[0] != width[0])
    raw = _undone(trial)
    places = [-3.0, -0.9, -0.4, 0.0, 0.4, 0.9, 3.0]
    values = [raw(c + place * w) for place in places]
    trial.require(all(abs(one - round(one)) < 1e-6 for one in values) or given.dtype.is_floating_point)
    made = _at(trial, name, given, values)
    low, high = made[0], made[-1]
    shown = ", ".join(f"{one:.4g}" for one in made)
    asked = f"values {w:g} x ({', '.join(f'{place:g}' for place in places)}) from the centre {c:g}"
    trial.expect(low < high or low > high, asked, f"{shown} came out")
    parts = [(one - low) / (high - low) for one in made]
    slopes = (parts[2] - parts[1]) / 0.5, (parts[3] - parts[2]) / 0.4
    trial.require(parts[1] < 0.003 or abs(slopes[0] - slopes[1]) < 0.05 * abs(slopes[1]))  # a curve is no window
    near = 0.02
    trial.expect(
        abs(parts[1]) < near and abs(parts[5] - 1) < near and abs(parts[3] - 0.5) < near,
        asked,
        f"{shown} came out: of the window {parts[1]:.2g}, {parts[3]:.2g} and {parts[5]:.2g} are reached at -0.9, 0 "
        "and 0.9 widths instead of 0, 0.5 and 1",
    )
    trial.expect(abs(parts[4] - 0.9) < near, asked, f"{shown} came out: the window is not {w:g} wide")


def _undone(trial: Trial) -> Any:
    """From what a function looks at to what it is given: a slope and an intercept among its arguments are undone."""
    slope, intercept = _number(trial, {"slope", "rescaleslope"}), _number(trial, {"intercept", "rescaleintercept"})
    a = slope[1] if slope is not None and slope[1] else 1.0
    b = intercept[1] if intercept is not None else 0.0
    return lambda value: (value - b) / a


@entry(
    "range-of-intensities",
    "data",
    "clipping to a range of intensities",
    "maps the middle of the range to the middle of what it gives, and what lies above it above what lies below",
    names={
        "window", "windowing", "applywindow", "clipandnormalize", "clipandnormalise", "normalizehu", "normalisehu",
        "hunormalize", "scaleintensityrange", "normalizect", "ctnormalize", "normct", "cliphu", "clipnormalize",
        "scalehu", "windowct", "rescalehu", "normalizerange", "clipscale", "clipandscale", "hutounit",
    },
    unless={"partition", "sliding", "reverse", "percentile", "random", "attention", "denormalize", "inverse", "log"},
    remedy="((image - low) / (high - low)).clamp(0, 1).",
    source="monai.transforms.ScaleIntensityRange",
)  # fmt: skip
def range_of_intensities(trial: Trial) -> None:
    """An image, and a lowest and a highest value by name."""
    name, given = _image(trial)
    low, high = _number(trial, LOWEST), _number(trial, HIGHEST)
    trial.require(low is not None and high is not None and not draws(trial))
    assert low is not None
    assert high is not None
    trial.require(high[1] > low[1])
    a, b = low[1], high[1]
    values = [a, a + 0.25 * (b - a), a + 0.5 * (b - a), b]
    trial.require(given.dtype.is_floating_point or all(abs(one - round(one)) < 1e-6 for one in values))
    made = _at(trial, name, given, values)
    shown, asked = ", ".join(f"{one:.4g}" for one in made), ", ".join(f"{one:.4g}" for one in values)
    trial.expect(made[3] > made[0], f"the values {asked}", f"{shown} came out")
    parts = [(one - made[0]) / (made[3] - made[0]) for one in made]
    trial.expect(abs(parts[1] - 0.25) < 0.02 and abs(parts[2] - 0.5) < 0.02, f"the values {asked}", f"{shown} came out")


def _noise(trial: Trial, given: Any, scale: float = 1.0, offset: float = 0.0) -> Any:
    torch = trial.torch
    numbers = torch.randn(given.shape, generator=trial.generator(), dtype=torch.float64)
    return (numbers * 20 + 100) * scale + offset


def _follows_the_image(trial: Trial, name: str, given: Any, made: Any) -> bool:
    """True if what a function subtracts or divides by comes from the image, and not from numbers of its own."""
    for scale, offset in ((1.0, 30.0), (1.5, 0.0)):
        other = trial.tensor(**{name: _noise(trial, given, scale, offset)}).double()
        if other.shape == made.shape and float((other - made).abs().max()) < 0.02 * float(made.std() + 1e-9):
            return True
    return False


@entry(
    "standard-scores",
    "data",
    "standardisation by an image's own mean and spread",
    "gives numbers whose mean is 0 and whose standard deviation is 1",
    names={
        "zscore", "zscorenormalize", "zscorenorm", "zscorenormalization", "standardize", "standardise", "znorm",
        "zscorenormalise", "znormalize", "standardizeimage", "zscoring", "standardizevolume", "zeromeanunitvar",
        "zeromeanunitvariance", "zscoreimage",
    },
    unless={"batch", "layer", "group", "instance", "robust", "weight", "clip", "percentile", "minmax", "de", "inverse",
            "weights", "range", "mad", "target", "labels", "conv", "destandardize", "channels", "orientation"},
    remedy="(image - image.mean()) / image.std().",
    source="monai.transforms.NormalizeIntensity",
)  # fmt: skip
def standard_scores(trial: Trial) -> None:
    """One image; a mask beside it becomes one of all voxels. Says nothing where mean and spread come from elsewhere."""
    torch = trial.torch
    masks = [name for name in trial.arrays if {"mask", "masks", "roi", "foreground", "brain"} & set(words(name))]
    images = [name for name in trial.arrays if name not in masks]
    trial.require(len(images) == 1 and not draws(trial))
    name, given = images[0], trial.arrays[images[0]]
    trial.require(given.numel() >= 512 and given.dtype.is_floating_point)
    trial.require(all(size == 1 or size >= 16 for size in given.shape[-2:]))
    ones = {one: torch.ones_like(trial.arrays[one]) for one in masks}
    made = trial.tensor(**{name: _noise(trial, given), **ones}).double()
    trial.require(made.shape == given.shape and _follows_the_image(trial, name, given, made))
    mean, spread = float(made.mean()), float(made.std())
    trial.expect(
        abs(mean) < 0.1 and 0.85 < spread < 1.1,
        "an image whose mean is 100 and whose standard deviation is 20",
        f"the mean became {mean:.3g} and the standard deviation {spread:.3g}",
    )


@entry(
    "smallest-and-largest",
    "data",
    "scaling by the smallest and the largest value",
    "gives numbers from 0 to 1 (or from -1 to 1, or from 0 to 255), both reached",
    names={
        "minmax", "minmaxnormalize", "minmaxnormalise", "minmaxscale", "minmaxnorm", "minmaxnormalization", "rescale01",
        "normalizeminmax", "minmaxscaling", "normalize01", "scale01", "normminmax", "minmaxscaler", "to01", "normto01",
        "rescaleintensity", "normalizetounit",
    },
    unless={"percentile", "quantile", "robust", "random", "de", "inverse", "loss", "inv", "undo", "unnormalize",
            "get", "find", "denormalize", "tree", "log"},
    universal=False,
    remedy="(image - image.min()) / (image.max() - image.min()).",
    source="skimage.exposure.rescale_intensity",
)  # fmt: skip
def smallest_and_largest(trial: Trial) -> None:
    """One image. Says nothing where the smallest and the largest value come from elsewhere."""
    name, given = _image(trial)
    trial.require(given.dtype.is_floating_point and given.numel() >= 512 and not draws(trial))
    trial.require(all(size == 1 or size >= 16 for size in given.shape[-2:]))
    limits = [
        value
        for key, value in trial.numbers.items()
        if {"min", "max", "low", "high", "lower", "upper"} & set(words(key))
    ]
    ranges = [one for key, one in _pairs(trial) if {"range", "out", "to", "feature"} & set(words(key))]
    made = trial.tensor(**{name: _noise(trial, given)}).double()
    trial.require(made.shape == given.shape and _follows_the_image(trial, name, given, made))
    low, high = float(made.min()), float(made.max())
    known = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.5, 0.5), *ranges]
    if len(limits) == 2:
        known.append((min(limits), max(limits)))
    near = any(abs(low - a) < 0.01 * (b - a) and abs(high - b) < 0.01 * (b - a) for a, b in known)
    trial.expect(near, "an image of values about 100", f"the values became {low:.4g} to {high:.4g}")


def _pairs(trial: Trial) -> list[tuple[str, tuple[float, float]]]:
    found = []
    for name, value in trial.call.args.items():
        numbers = numbers_in(trial, value) if isinstance(value, list | tuple) else None
        if numbers is not None and numbers.numel() == 2:
            found.append((name, (float(numbers.reshape(-1)[0]), float(numbers.reshape(-1)[1]))))
    return found


@entry(
    "hounsfield-units",
    "data",
    "conversion to Hounsfield units",
    "multiplies by the slope and adds the intercept, below 0 as well",
    names={
        "hounsfield", "tohu", "tohounsfield", "converttohu", "hu", "rescaleslope", "applyrescale", "pixelstohu",
        "transformtohu", "gethu", "applymodalitylut", "raw2hu", "rawtohu", "converttohounsfield", "pixeltohu",
    },
    unless={"window", "normalize", "normalise", "norm", "inverse", "from", "moments", "unit", "loss", "density",
            "clip", "attenuation", "mu"},
    remedy="image.astype(np.float32) * slope + intercept: numbers without a sign wrap below 0.",
    source="DICOM PS3.3, C.11.1.1.2",
)  # fmt: skip
def hounsfield_units(trial: Trial) -> None:
    """Stored numbers, a slope and an intercept by name."""
    name, given = _image(trial)
    slope = _number(trial, {"slope", "rescaleslope", "m"})
    intercept = _number(trial, {"intercept", "rescaleintercept", "b", "offset"})
    trial.require(slope is not None and intercept is not None)
    assert slope is not None
    assert intercept is not None
    a, b = slope[1], intercept[1]
    trial.require(a > 0 and -4000 <= b <= 0)
    values = [0.0, round((-100 - b) / a), round((40 - b) / a)]
    trial.require(0 <= values[1] < values[2])
    made = _at(trial, name, given, values)
    shown, asked = ", ".join(f"{one:.5g}" for one in made), ", ".join(f"{one:.5g}" for one in values)
    given_text = f"the stored numbers {asked}, a slope of {a:g} and an intercept of {b:g}"
    wanted = [value * a + b for value in values]
    fits = all(abs(one - other) <= 1 for one, other in zip(made[1:], wanted[1:], strict=True))
    trial.expect(
        fits and made[0] <= made[1], given_text, f"{shown} came out and not {wanted[0]:.5g}, {wanted[1]:.5g}, …"
    )


@entry(
    "gamma-of-one",
    "data",
    "gamma correction",
    "changes nothing for a gamma of 1, and keeps the order of grey values",
    names={"gammacorrection", "adjustgamma", "gammatransform", "applygamma", "gammacorrect", "gammaadjust"},
    unless={"random", "rand", "log", "inverse"},
    remedy="image ** gamma, with the image scaled to 0 … 1 and back.",
    source="skimage.exposure.adjust_gamma",
)
def gamma_of_one(trial: Trial) -> None:
    """One image in the script's own range, and a gamma by name."""
    name, given = _image(trial)
    gamma = _number(trial, {"gamma", "g"})
    trial.require(gamma is not None and not draws(trial))
    assert gamma is not None
    low, high = float(given.double().min()), float(given.double().max())
    trial.require(high > low >= 0)
    values = [low + (high - low) * part for part in (0.0, 0.25, 0.5, 0.75, 1.0)]
    if not given.dtype.is_floating_point:
        values = [float(round(one)) for one in values]
    image = _holding(trial, given, values)
    same = trial.tensor(**{name: image, gamma[0]: 1.0}).double()
    trial.require(same.shape == given.shape)
    off = float((same - image).abs().max())
    trial.expect(off <= 0.02 * (high - low), "a gamma of 1", f"grey values change by {off:.3g}")
    curved = trial.tensor(**{name: image, gamma[0]: 2.0}).double().reshape(-1)[: len(values)]
    trial.expect(
        bool((curved[1:] >= curved[:-1]).all()),
        "rising grey values and a gamma of 2",
        f"{', '.join(f'{float(one):.4g}' for one in curved)} came out",
    )


@entry(
    "eight-bits-without-wrap",
    "data",
    "conversion to eight bits",
    "gives a brighter pixel no smaller number, up to the brightest",
    names={"touint8", "asuint8", "uint8", "converttouint8", "imagetouint8", "tensortouint8", "touint8image",
           "float2uint8", "floattouint8", "toint8", "to8bit", "normalizetouint8"},
    unless={"from", "random", "quantize"},
    remedy="(image * 255).round().clip(0, 255).astype(np.uint8).",
    source="numpy.ndarray.astype",
)  # fmt: skip
def eight_bits(trial: Trial) -> None:
    """One image of floating-point numbers; what lies between its smallest and largest number (or 0 and 1) is tried."""
    torch = trial.torch
    name, given = _image(trial)
    trial.require(given.dtype.is_floating_point and not draws(trial))
    low, high = float(given.double().min()), float(given.double().max())
    if low >= 0 and 0 < high <= 1:
        low, high = 0.0, 1.0
    elif -1 <= low < 0 and high <= 1:
        low, high = -1.0, 1.0
    trial.require(high > low)
    rising = torch.linspace(low, high, given.numel(), dtype=torch.float64).reshape(given.shape)
    made = trial.tensor(**{name: rising})
    trial.require(made.dtype == torch.uint8 and made.numel() == given.numel())
    if made.shape != given.shape:
        trial.require(given.dim() == 3 and made.dim() == 3)
        axes = next((order for order in ((1, 2, 0), (2, 0, 1)) if rising.permute(*order).shape == made.shape), None)
        trial.require(axes is not None)
        rising = rising.permute(*axes)  # type: ignore[misc]
    order = made.reshape(-1)[rising.reshape(-1).argsort()].double()
    falls = float((order[:-1] - order[1:]).max())
    at = float(rising.reshape(-1).sort().values[int((order[:-1] - order[1:]).argmax()) + 1])
    trial.expect(falls <= 0, f"values rising from {low:g} to {high:g}", f"the numbers fall by {falls:g} at {at:.4g}")


@entry(
    "normalisation-by-given-numbers",
    "data",
    "normalisation by a mean and a spread",
    "gives 0 for the mean and 1 for the mean and one standard deviation more",
    names={"normalize", "normalise", "standardize", "standardise", "normalizeimage", "norm", "zscore"},
    unless={"denormalize", "un", "de", "inverse", "layer", "batch", "group", "instance", "weight", "box", "boxes",
            "l2", "unit", "vector", "adj", "graph", "points", "l1", "ada", "rms"},
    universal=False,
    remedy="(image - mean) / std.",
    source="torchvision.transforms.functional.normalize",
)  # fmt: skip
def normalisation(trial: Trial) -> None:
    """An image, and a mean and a standard deviation by name: numbers, or one each a channel."""
    name, given = _image(trial)
    mean, spread = _levels(trial, {"mean", "mu", "means"}), _levels(trial, {"std", "sd", "sigma", "stds"})
    trial.require(given.dtype.is_floating_point and not draws(trial) and mean.numel() == spread.numel())
    trial.require(bool((spread > 1e-3).all()))
    answers = []
    for unit in (1.0, 255.0):  # bytes may be divided by 255 first
        for axis in _channel_axes(given, mean.numel()):
            for order in (mean, mean.flip(0)):  # blue may come first
                wide = (spread if order is mean else spread.flip(0)).reshape(axis)
                made = [
                    trial.tensor(**{name: (unit * (order.reshape(axis) + step * wide)).expand(given.shape).clone()})
                    for step in (0.0, 1.0)
                ]
                trial.require(all(not one.dtype.is_complex for one in made))
                off = [float((one.double() - step).abs().max()) for step, one in enumerate(made)]
                if off[0] < 1e-2 and off[1] < 2e-2:
                    return
                answers.append(", ".join(f"{float(one.double().mean()):.4g}" for one in made))
    trial.require(bool(answers))
    said = [", ".join(f"{float(one):g}" for one in levels) for levels in (mean, spread)]
    asked = (
        f"a mean of {said[0]} and a standard deviation of {said[1]}, and images of the mean and of one deviation more"
    )
    trial.expect(False, asked, f"{answers[0]} came out")


def _levels(trial: Trial, choices: set[str]) -> Any:
    """A mean or a spread by name, as a vector.

    Raises:
        NotApplicableError: There is none or more than one.
    """
    torch = trial.torch
    single = _number(trial, choices)
    if single is not None:
        return torch.tensor([single[1]], dtype=torch.float64)
    lists = [
        numbers_in(trial, value)
        for key, value in trial.call.args.items()
        if choices & set(words(key)) and isinstance(value, list | tuple)
    ]
    found = lists[0] if len(lists) == 1 else None
    trial.require(found is not None and found.dim() == 1)
    assert found is not None
    return found.double()


def _channel_axes(given: Any, count: int) -> list[list[int]]:
    """Shapes of a vector of one number a channel, for every axis that may be that of the channels."""
    if count == 1:
        return [[1] * given.dim()]
    places = [axis for axis in {max(given.dim() - 3, 0), given.dim() - 1, 0} if given.shape[axis] == count]
    return [[count if axis == place else 1 for axis in range(given.dim())] for place in sorted(places)]


@entry(
    "denormalisation",
    "data",
    "denormalisation by a mean and a spread",
    "gives the mean for 0, and one standard deviation more for 1",
    names={"denormalize", "denormalise", "unnormalize", "unnormalise", "denorm", "unnorm", "inversenormalize",
           "denormalizeimage", "destandardize", "unstandardize"},
    unless={"box", "boxes", "coords", "points", "flow", "action"},
    universal=False,
    remedy="image * std + mean.",
    source="torchvision.transforms.functional.normalize",
)  # fmt: skip
def denormalisation(trial: Trial) -> None:
    """An image, and a mean and a standard deviation by name: numbers, or one each a channel."""
    torch = trial.torch
    arrays = {name: one for name, one in trial.arrays.items() if one.numel() >= LEAST}
    trial.require(len(arrays) == 1 and not draws(trial))
    name, given = next(iter(arrays.items()))
    trial.require(given.dtype.is_floating_point)
    levels = {}
    for key, choices in (("mean", {"mean", "mu", "means"}), ("std", {"std", "sd", "stds"})):
        found = [
            numbers_in(trial, value)
            if as_tensor(torch, value) is not None or isinstance(value, list | tuple)
            else value
            for one, value in trial.call.args.items()
            if choices & set(words(one)) and one != name
        ]
        trial.require(len(found) == 1 and (not isinstance(found[0], str)) and found[0] is not None)
        levels[key] = torch.as_tensor(found[0], dtype=torch.float64).reshape(-1)
    none = trial.tensor(**{name: torch.zeros_like(given)}).double()
    half = trial.tensor(**{name: torch.full_like(given, 0.5)}).double()
    trial.require(none.numel() == given.numel())
    mean, spread = levels["mean"].sort().values, levels["std"].sort().values
    trial.require(mean.numel() in (1, 3) and bool((mean + 0.5 * spread <= 1).all() or (mean > 1).any()))
    trial.require(bool((mean >= 0).all()) and bool((spread > 0).all()))
    unit = 255.0 if none.max() > 1.5 and bool((mean <= 1).all()) else 1.0
    found_mean = none.reshape(-1).unique()
    near = all(float((found_mean - unit * one).abs().min()) < 0.01 * unit for one in mean) and bool(
        (found_mean.min() > unit * mean[0] - 0.02 * unit) & (found_mean.max() < unit * mean[-1] + 0.02 * unit)
    )
    shown = ", ".join(f"{float(one):.4g}" for one in found_mean[:3])
    trial.expect(near, f"zeros and a mean of {', '.join(f'{float(one):.3g}' for one in mean)}", f"{shown} came out")
    step = (half - none).reshape(-1).unique() / unit
    fits = all(float((step - 0.5 * one).abs().min()) < 0.01 for one in spread)
    shown = ", ".join(f"{float(one):.4g}" for one in step[:3])
    trial.expect(
        fits,
        f"0.5 and a standard deviation of {', '.join(f'{float(one):.3g}' for one in spread)}",
        f"{shown} was added",
    )
