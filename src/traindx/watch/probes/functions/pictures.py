"""Pictures with one bright spot, in the form of what a function was given: where does the spot lie afterwards?"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from traindx.watch.probes.functions.common import as_tensor

LEAST = 16  # pixels of a side
CLEAR = 6.0  # times the spread elsewhere that a spot stands out
FEW = 8  # values of a mask


class Place(NamedTuple):
    """Where a spot lies, in pixels from the top left corner."""

    row: float
    column: float

    def distance(self, other: Place) -> float:
        """In pixels."""
        return float(((self.row - other.row) ** 2 + (self.column - other.column) ** 2) ** 0.5)


def is_picture(torch: Any, value: Any) -> bool:
    """An array, a tensor or a picture of PIL's with two spatial axes of some size."""
    array = array_of(torch, value)
    return array is not None and min(_spatial(array.shape)[1]) >= LEAST


def array_of(torch: Any, value: Any) -> Any | None:
    """The numbers of a picture as an array; None for anything else."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if type(value).__module__.startswith("PIL.") and hasattr(value, "getbands"):
        return numpy.asarray(value)
    tensor = as_tensor(torch, value)
    if tensor is None or tensor.is_complex() or not 2 <= tensor.dim() <= 5:
        return None
    return tensor.cpu().numpy()


def _spatial(shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The two spatial axes, and their lengths: the last two, or the first two before a few channels."""
    if len(shape) == 3 and shape[2] <= 4 < min(shape[0], shape[1]):
        return (0, 1), (shape[0], shape[1])
    return (len(shape) - 2, len(shape) - 1), (shape[-2], shape[-1])


def size_of(torch: Any, value: Any) -> tuple[int, int]:
    """Height and width."""
    array = array_of(torch, value)
    return _spatial(array.shape)[1] if array is not None else (0, 0)


def is_mask(torch: Any, value: Any) -> bool:
    """A picture of very few different values."""
    import numpy as np

    array = array_of(torch, value)
    return array is not None and len(np.unique(array.reshape(-1)[: 1 << 18])) <= FEW


def spot_like(torch: Any, value: Any, place: Place, *, square: bool = False) -> Any:
    """A picture in the form of another one, of its darkest value with a spot of its brightest.

    Args:
        torch: The script's torch.
        value: The picture whose form it has.
        place: Where the spot lies.
        square: Sharp, as in a mask; else it fades.
    """
    import numpy as np

    array = array_of(torch, value)
    assert array is not None
    axes, (height, width) = _spatial(array.shape)
    radius = max(2.0, 0.06 * min(height, width))
    away = (np.arange(height)[:, None] - place.row) ** 2 + (np.arange(width)[None, :] - place.column) ** 2
    spot = (away <= radius**2).astype(float) if square else np.exp(-away / (2 * radius**2))
    low, high = float(array.min()), float(array.max())
    if array.dtype == bool:
        low, high = 0.0, 1.0
    drawn = low + (high - low if high > low else 1.0) * spot
    drawn = drawn[:, :, None] if axes == (0, 1) and array.ndim == 3 else drawn
    full = np.broadcast_to(drawn, array.shape)
    full = np.rint(full) if array.dtype.kind in "iub" else full
    made = np.ascontiguousarray(full.astype(array.dtype))
    if type(value).__module__.startswith("PIL."):
        picture = sys.modules["PIL.Image"].fromarray(made)
        return picture if picture.mode == value.mode else picture.convert(value.mode)
    if isinstance(value, torch.Tensor):  # a copy of it, so that what a class of its own keeps stays with it
        kept = value.detach().clone()
        kept.copy_(torch.from_numpy(made))
        return kept
    return made


def spot_in(torch: Any, value: Any) -> Place | None:
    """Where the one spot of a picture lies; None where none stands out."""
    import numpy as np

    array = array_of(torch, value)
    if array is None:
        return None
    axes, _ = _spatial(array.shape)
    others = tuple(axis for axis in range(array.ndim) if axis not in axes)
    flat = array.astype(float)
    flat = flat.mean(axis=others) if others else flat
    if not np.isfinite(flat).all():
        return None
    off = np.abs(flat - np.median(flat))
    top = float(off.max())
    if not top > 0 or top < CLEAR * float(np.median(off)) or float((off > top / 2).mean()) > 0.25:
        return None
    rows, columns = np.nonzero(off > top / 2)
    weight = off[rows, columns]
    spread = float(np.hypot(rows.std(), columns.std()))
    if spread > 0.25 * min(flat.shape):  # several, far from each other
        return None
    return Place(float((rows * weight).sum() / weight.sum()), float((columns * weight).sum() / weight.sum()))
