"""Resampling, crops, patches and turns: constants stay, scale 1 changes nothing, the middle is the middle."""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.functions.common import as_tensor, words
from traindx.watch.probes.textbook.base import NotApplicableError, Trial, entry
from traindx.watch.probes.textbook.forms import draws, in_form, inside, learns, numbers_in, ramp

LEVEL = 7.0
UNLESS = {
    "pos", "position", "embed", "embedding", "embeddings", "pe", "abs", "rel", "relative", "kernel", "weights",
    "weight", "bias", "token", "tokenizer", "vocab", "conv", "normalize", "normalise", "preprocess", "block", "layer",
    "random", "rand", "bbox", "box", "boxes", "points", "keypoints", "label", "labels", "param", "params", "state",
    "lr", "gradient", "grads", "loss", "data", "dataset", "signal", "balance", "class", "minority", "bootstrap",
    "smote", "latent", "latents", "spherical", "slerp", "timesteps", "schedule", "convert", "pixel", "shuffle",
    "resnet", "flow", "disp", "and", "frames", "sample", "samples", "intensity", "noise", "betas", "rescale",
}  # fmt: skip


def _picture(trial: Trial) -> tuple[str, Any]:
    """The only array that is an image or a volume.

    Raises:
        NotApplicableError: There are others.
    """
    images = {name: one for name, one in trial.arrays.items() if one.dim() >= 2 and one.numel() >= 64}
    trial.require(len(images) == 1 and not learns(trial) and not draws(trial))
    name, given = next(iter(images.items()))
    trial.require(not given.dtype.is_complex and max(given.shape) >= 8)
    return name, given


def _made(trial: Trial, **changes: Any) -> Any:
    made = trial.again(**changes)
    if isinstance(made, tuple) and made:
        made = made[0]
    found = as_tensor(trial.torch, made)
    if found is None:
        raise NotApplicableError
    return found.double()


def _long(given: Any, least: int = 6) -> list[int]:
    return [axis for axis in range(given.dim()) if given.shape[axis] >= least]


def _may_be_field(given: Any) -> bool:
    """As many channels, first or last, as there are axes besides those of samples and channels."""
    axes = {given.dim() - 2, given.dim() - 1} & {2, 3}
    return bool(axes & {int(given.shape[0]), int(given.shape[1]), int(given.shape[-1])})


@entry(
    "constant-stays-constant",
    "data",
    "resampling",
    "leaves a constant image constant, with the same value",
    names={
        "resample", "resize", "zoom", "interpolate", "resamplevolume", "resizevolume", "resampleimage", "resizeimage",
        "upsample", "downsample", "resize3d", "resampletospacing", "resizeimg", "resample3d", "resamplevol",
        "trilinearresize", "bilinearresize", "resizearray", "resamplearray", "isotropic", "scaleimage", "upscale",
        "downscale", "imresize", "trilinearinterpolation", "bilinearinterpolation", "resizetensor",
    },
    unless=UNLESS,
    remedy="Weights of an interpolation sum to 1 at every place.",
    source="scipy.ndimage.zoom",
)  # fmt: skip
def constant(trial: Trial) -> None:
    """One image or volume; the middle of what comes out is looked at, since the outside may be padded."""
    torch = trial.torch
    name, given = _picture(trial)
    trial.require(given.dtype != torch.bool)
    level = LEVEL if given.dtype.is_floating_point and float(given.double().abs().max()) > 1 else 1.0
    made = _made(trial, **{name: torch.full(given.shape, level, dtype=torch.float64)})
    trial.require(made.dim() == given.dim())
    middle = inside(made, _long(made), 0.4)
    low, high = float(middle.min()), float(middle.max())
    worst = low if abs(low - level) > abs(high - level) else high
    if _may_be_field(given):  # displacements in voxels become as many times longer as there are more voxels
        sizes = [
            (made.shape[axis] / given.shape[axis]) for axis in _long(given) if given.shape[axis] != made.shape[axis]
        ]
        trial.require(all(abs(worst - level * size) > 0.05 * level * size for size in sizes))
    trial.expect(
        abs(worst - level) < 0.01 * level,
        f"an image that is {level:g} everywhere",
        f"{worst:.4g} came out in the middle",
    )


@entry(
    "scale-of-one",
    "data",
    "resampling to the size that an image has",
    "gives the image back",
    names={
        "resample", "resize", "zoom", "interpolate", "resamplevolume", "resizevolume", "resampleimage", "resizeimage",
        "resize3d", "resampletospacing", "resizeimg", "resample3d", "resamplevol", "resizearray", "resamplearray",
        "imresize", "resizetensor",
    },
    unless={*UNLESS, "pad", "crop", "letterbox", "blur", "antialias"},
    remedy="Corners (or centres) of both grids coincide; the factor is new / old along each axis.",
    source="scipy.ndimage.zoom",
)  # fmt: skip
def scale_of_one(trial: Trial) -> None:
    """One image or volume; spacings that are equal, a factor of 1, or a size that is the image's own."""
    torch = trial.torch
    name, given = _picture(trial)
    trial.require(given.dtype.is_floating_point)
    changes: dict[str, Any] = {}
    spacings = [
        one for one, value in trial.call.args.items()
        if {"spacing", "spacings", "pixdim", "zooms"} & set(words(one)) and numbers_in(trial, value) is not None
    ]  # fmt: skip
    if len(spacings) == 2:
        sizes_of = [getattr(numbers_in(trial, trial.call.args[one]), "shape", None) for one in spacings]
        trial.require(sizes_of[0] == sizes_of[1])
        changes[spacings[1]] = trial.call.args[spacings[0]]
        asked = "equal spacings"
    else:
        trial.require(not spacings)
        factors = [one for one in trial.numbers if {"factor", "scale", "zoom", "ratio"} & set(words(one))]
        sizes = [
            one for one, value in trial.call.args.items()
            if {"size", "shape", "dim", "dims", "hw"} & set(words(one))
            and isinstance(value, tuple | list) and numbers_in(trial, value) is not None
        ]  # fmt: skip
        trial.require(len(factors) + len(sizes) == 1)
        if factors:
            changes[factors[0]] = 1.0
            asked = "a factor of 1"
        else:
            count = len(trial.call.args[sizes[0]])
            shape = list(given.shape)
            spots = [shape[start : start + count] for start in range(len(shape) - count + 1)]
            own = [one for one in spots if len(set(one)) == 1 and one[0] >= 6]
            size = own[-1] if own else (shape if count == len(shape) else None)
            if size is None:
                fitting = shape[-count:] if given.dim() > count and given.shape[-1] > 4 else shape[:count]
                size = fitting
            changes[sizes[0]] = type(trial.call.args[sizes[0]])(size)
            asked = "the size that the image has"
    noise = torch.rand(given.shape, generator=trial.generator(), dtype=torch.float64) + 1
    made = _made(trial, **{name: noise}, **changes)
    if made.shape != given.shape:
        trial.require(len(spacings) == 2)
        trial.expect(False, asked, f"{_size(given)} became {_size(made)}")
    middle = [inside(one, _long(one), 0.2) for one in (made, noise)]
    off = float((middle[0] - middle[1]).abs().max())
    trial.expect(off < 0.02, asked, f"the image is off by up to {off:.3g} of its range of 1")


def _size(tensor: Any) -> str:
    return " x ".join(str(size) for size in tensor.shape)


@entry(
    "spacing-of-each-axis",
    "data",
    "resampling to another spacing",
    "gives an axis as many voxels more as its new spacing is less",
    names={
        "resample", "resampletospacing", "resamplevolume", "resampleimage", "resample3d", "isotropic", "resamplevol",
        "resamplearray", "resampleisotropic", "resampletoisotropic", "resamplescan",
    },
    unless=UNLESS,
    remedy="new size = size * old spacing / new spacing.",
    source="monai.transforms.Spacing",
)  # fmt: skip
def spacing(trial: Trial) -> None:
    """A volume, its spacing and a new one, as tuples of three; either order of the axes."""
    torch = trial.torch
    name, given = _picture(trial)
    names = {one: set(words(one)) for one in trial.call.args}
    found = [one for one, parts in names.items() if {"spacing", "spacings", "pixdim"} & parts]
    new = [one for one in found if {"new", "target", "out", "output", "desired", "resampled", "to", "tgt"} & names[one]]
    trial.require(len(found) == 2 and len(new) == 1)
    old = next(one for one in found if one != new[0])
    forms = [numbers_in(trial, trial.call.args[one]) for one in (old, new[0])]
    trial.require(all(one is not None and one.numel() == 3 for one in forms))
    trial.require(given.dim() >= 3 and all(size >= 8 for size in given.shape[-3:]))
    volume = torch.full(given.shape, 1.0, dtype=torch.float64)
    changes = {
        old: in_form(trial, torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64), trial.call.args[old]),
        new[0]: in_form(trial, torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64), trial.call.args[new[0]]),
    }
    made = _made(trial, **{name: volume}, **changes)
    trial.require(made.dim() == given.dim())
    ratios = [made.shape[axis] / given.shape[axis] for axis in range(given.dim() - 3, given.dim())]
    fits = any(
        all(abs(one - other) < 0.2 for one, other in zip(ratios, order, strict=True))
        for order in ((2, 1, 1), (1, 1, 2))
    )
    trial.expect(
        fits, "spacings of 2, 1, 1 and new ones of 1, 1, 1", f"a volume of {_size(given)} became one of {_size(made)}"
    )


@entry(
    "central-crop",
    "data",
    "central crop",
    "takes the middle of the image",
    names={
        "centercrop", "centrecrop", "cropcenter", "cropcentre", "centralcrop", "centercrop3d", "centercropto",
        "cropcenter3d", "centercroptensor", "croptocenter", "centercrop2d",
    },
    unless={"random", "rand", "resize", "box", "boxes", "pad", "points", "around"},
    remedy="start = (size - new) // 2 along each axis.",
    source="torchvision.transforms.functional.center_crop",
)  # fmt: skip
def central_crop(trial: Trial) -> None:
    """One image or volume, of which some axes become shorter."""
    name, given = _picture(trial)
    trial.require(all(size < 256 for size in given.shape) or given.dtype.is_floating_point)
    first = _made(trial)
    trial.require(first.dim() == given.dim())
    cut = [axis for axis in range(given.dim()) if first.shape[axis] < given.shape[axis]]
    trial.require(bool(cut))
    for axis in cut:
        made = _made(trial, **{name: ramp(trial, given.shape, axis)})
        steps = made.diff(dim=axis)
        trial.require(bool((steps == 1).all()))
        centre = float(made.mean())
        middle = (given.shape[axis] - 1) / 2
        trial.expect(
            abs(centre - middle) <= 1.01,
            f"an image of {_size(given)}",
            f"{made.shape[axis]} of {given.shape[axis]} are taken along axis {axis}, about {centre:g}, not {middle:g}",
        )


@entry(
    "turned-by-nothing",
    "data",
    "rotation",
    "gives the image back for an angle of 0",
    names={"rotate", "rotateimage", "rotatevolume", "rotate2d", "rotate3d", "rotateimg", "rotation", "rotatetensor"},
    unless={
        "half", "every", "queries", "keys", "rotary", "random", "rand", "matrix", "pos", "points", "point", "box",
        "boxes", "bbox", "vector", "augment", "log", "logs", "qk", "loss", "prediction", "pred", "keypoints",
    },
    remedy="affine_grid and grid_sample with the same align_corners, and a matrix that is the identity for 0.",
    source="scipy.ndimage.rotate",
)  # fmt: skip
def turned_by_nothing(trial: Trial) -> None:
    """One image or volume and one angle by name."""
    torch = trial.torch
    images = {name: one for name, one in trial.arrays.items() if one.dim() >= 2 and one.numel() >= 64}
    trial.require(len(images) == 1 and not learns(trial) and not draws(trial))
    name, given = next(iter(images.items()))
    trial.require(given.dtype.is_floating_point and sum(size >= 8 for size in given.shape) >= 2)
    angle = {"angle", "angles", "theta", "degrees", "degree", "deg", "rad", "radians", "alpha"}
    turns = [one for one in trial.call.args if angle & set(words(one)) and one != name]
    trial.require(bool(turns))
    changes: dict[str, Any] = {}
    for one in turns:
        value = trial.call.args[one]
        known = as_tensor(torch, value)
        trial.require(known is not None or isinstance(value, int | float))
        changes[one] = torch.zeros_like(known) if known is not None else type(value)(0)
    noise = torch.rand(given.shape, generator=trial.generator(), dtype=torch.float64) + 1
    made = _made(trial, **{name: noise}, **changes)
    trial.require(made.shape == noise.shape)
    middle = [inside(one, _long(one), 0.2) for one in (made, noise)]
    off = float((middle[0] - middle[1]).abs().max())
    trial.expect(off < 0.02, "an angle of 0", f"the image is off by up to {off:.3g} of its range of 1")


@entry(
    "flipped-twice",
    "data",
    "flip",
    "gives the image back when it is done twice, and changes it when it is done once",
    names={
        "flip", "hflip", "vflip", "horizontalflip", "verticalflip", "fliplr", "flipud", "flipimage", "flipvolume",
        "flipimg", "fliptensor", "mirrorimage", "flip3d", "flip2d", "fliphorizontal", "flipvertical",
    },
    unless={
        "random", "rand", "augment", "bit", "loss", "box", "boxes", "bbox", "points", "keypoints", "labels", "label",
        "coords", "byte", "back", "sign", "pairs", "test", "tta", "gradient", "rot", "joints", "perm", "maybe",
    },
    remedy="image.flip(axis).",
    source="numpy.flip",
)  # fmt: skip
def flipped_twice(trial: Trial) -> None:
    """One image or volume."""
    torch = trial.torch
    name, given = _picture(trial)
    trial.require(given.dtype.is_floating_point and len(trial.arrays) == 1)
    noise = torch.rand(given.shape, generator=trial.generator(), dtype=torch.float64)
    once = _made(trial, **{name: noise})
    trial.require(once.shape == noise.shape)
    twice = _made(trial, **{name: once})
    off = float((twice - noise).abs().max())
    moved = float((once - noise).abs().max())
    trial.require(moved > 1e-3)  # a probability of 0, or no axis at all
    trial.expect(off < 1e-5, "an image that is flipped twice", f"it is off by up to {off:.3g} of its range of 1")


@entry(
    "inference-in-windows",
    "model",
    "inference in overlapping windows",
    "gives a constant where the network gives a constant",
    names={
        "slidingwindowinference", "slidingwindow", "predictsliding", "slidingwindowpredict", "tiledinference",
        "predictpatches", "slideinference", "testsinglecase", "predictwithwindows", "slidinginference",
        "predicttiled", "tiledpredict", "patchinference", "slidingwindowprediction", "patchwiseinference",
        "predictbypatches",
    },
    unless={"attention", "loss", "mask", "cache", "size", "params"},
    remedy="Sum the windows and their weights, and divide; the last window of an axis ends where the image ends.",
    source="monai.inferers.sliding_window_inference",
)  # fmt: skip
def inference_in_windows(trial: Trial) -> None:
    """One image or volume, and a network or a function by name."""
    torch = trial.torch
    images = {name: one for name, one in trial.arrays.items() if one.dim() >= 2 and one.numel() >= 64}
    trial.require(len(images) == 1 and not draws(trial))
    known = {"model", "net", "network", "predictor", "unet", "module", "fn", "infer", "forward"}
    models = [
        one for one, value in trial.call.args.items()
        if callable(value) and (known & set(words(one)) or isinstance(value, torch.nn.Module)) and one != "self"
    ]  # fmt: skip
    trial.require(len(models) == 1)
    inner = trial.call.args[models[0]]

    class Constant(torch.nn.Module):  # type: ignore[name-defined,misc]
        """Gives ones in the shape that the network gives."""

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            made = inner(*args, **kwargs)
            if isinstance(made, tuple | list):
                return type(made)(torch.ones_like(one) for one in made)
            return torch.ones_like(made)

    name, given = next(iter(images.items()))
    with torch.no_grad():
        made = _made(trial, **{models[0]: Constant(), name: given.double()})
    trial.require(made.numel() >= 64)
    long = _long(made)
    trial.require(len(long) >= 2)
    gaps = int((~made.isfinite()).sum())
    trial.expect(not gaps, "a network that gives ones", f"{gaps} numbers are not finite: no window reaches them")
    flat = made - made.mean(dim=long, keepdim=True)
    off = float(flat.abs().max())
    trial.expect(off < 1e-2 * float(made.abs().max() + 1e-9), "a network that gives ones",
                 f"{float(made.min()):.4g} to {float(made.max()):.4g} came out")  # fmt: skip
