"""Options of layers, grids and optimisers."""

from __future__ import annotations

from typing import Any

from traindx.watch.contracts.base import IN_ORDER, Broken, Check, Given, Said

KERAS = 0.9  # momentum from which it is that of another library; 1 is statistics taken anew
LARGE_EPS = 0.1  # added to variances, which are about one
NEARLY_ALL = 0.88  # probability of dropout; published ones end at 0.8
LEAST_SIDE = 16  # pixels


def momentum(given: Given) -> Said:
    """The weight of the new batch."""
    value = getattr(given.module, "momentum", None)
    if not isinstance(value, float) or not given.module.training or not given.module.track_running_stats:
        return None
    return Broken(f"momentum={value:g}") if KERAS <= value < 1 else IN_ORDER


def eps(given: Given) -> Said:
    """A tiny number."""
    value = getattr(given.module, "eps", None)
    if not isinstance(value, float) or not given.module.training:
        return None
    return Broken(f"eps={value:g}") if value >= LARGE_EPS else IN_ORDER


def dropped(given: Given) -> Said:
    """The probability to be zeroed."""
    value = getattr(given.module, "p", None)
    if not isinstance(value, float) or not given.module.training:
        return None
    return Broken(f"p={value:g}") if NEARLY_ALL <= value < 1 else IN_ORDER


def betas(values: Any) -> Said:
    """The decay of the mean, then that of the square."""
    if not isinstance(values, list | tuple) or len(values) != 2:
        return None
    first, second = float(values[0]), float(values[1])
    return Broken(f"betas=({first:g}, {second:g})") if first > second else IN_ORDER


def grid_made(given: Given) -> Said:
    """Note how a grid was made."""
    if given.notes is not None and isinstance(given.out, given.torch.Tensor):
        given.notes[given.out] = ("grid", bool(given.named.get("align_corners")))
    return None


def grid_read(given: Given) -> Said:
    """It is read as it was made."""
    grid = given.named.get("grid")
    note = given.notes.get(grid) if isinstance(grid, given.torch.Tensor) and given.notes is not None else None
    if not isinstance(note, tuple) or note[0] != "grid":
        return None
    aligned = bool(given.named.get("align_corners"))
    if note[1] == aligned:
        return IN_ORDER
    return Broken(f"a grid that was made with align_corners={note[1]} and align_corners={aligned}")


def whole_image(given: Given) -> Said:
    """All axes of an image are resized."""
    image, out = given.tensor("input"), given.out
    if image is None or image.dim() not in (3, 4, 5) or not isinstance(out, given.torch.Tensor):
        return None
    if image.dim() > 3:
        return IN_ORDER
    channels, rows, columns = image.shape
    if given.items == channels or channels not in (1, 3) or rows != columns or rows < LEAST_SIDE:
        return None
    if out.shape[2] == rows:
        return None
    return Broken(f"an image {tuple(image.shape)} without a batch axis, of which it makes {tuple(out.shape)}")


_N, _F = "torch.nn.", "torch.nn.functional."
MODULES = (
    Check(
        "momentum-of-another-library",
        tuple(_N + f"BatchNorm{n}d" for n in (1, 2, 3)),
        ("input",),
        momentum,
        at_construction=True,
    ),
    Check(
        "momentum-given-as-eps", tuple(_N + f"BatchNorm{n}d" for n in (1, 2, 3)), ("input",), eps, at_construction=True
    ),
    Check(
        "keep-probability-for-dropout",
        tuple(_N + name for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d")),
        ("input",),
        dropped,
        at_construction=True,
    ),
)
FUNCTIONS = (
    Check("corners-of-another-grid", (_F + "affine_grid",), ("theta", "size", "align_corners"), grid_made, after=True),
    Check(
        "corners-of-another-grid",
        (_F + "grid_sample",),
        ("input", "grid", "mode", "padding_mode", "align_corners"),
        grid_read,
    ),
    Check(
        "image-without-batch-resized",
        (_F + "interpolate",),
        ("input", "size", "scale_factor", "mode", "align_corners"),
        whole_image,
        after=True,
    ),
)
