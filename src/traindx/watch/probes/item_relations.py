"""What image, mask, boxes and landmarks of one item must be to each other, as functions of arrays.

Everything here takes and gives plain arrays, so that batches in the script's process and single items in a child are
judged by the same functions.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from traindx.core.later import Later

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")


FEW = 8  # values that make an array a mask
LEAST = 256  # values of an image
MOST = 65536  # values of an image that are looked at


# -- boxes ---------------------------------------------------------------------------------------------------------


def extents(boxes: Any) -> tuple[Any, Any] | None:
    """Widths and heights of what may be boxes by their corners, negative where the corners are in the wrong order."""
    if boxes.ndim != 2 or boxes.shape[1] < 4 or not len(boxes):
        return None
    rows = boxes[:, :4].astype(np.float64)
    if not np.isfinite(rows).all():
        return None
    return rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1]


class CornersSwapped:
    """Asked line by line: is there an array of boxes with the sizes of an earlier one and another order of corners?"""

    def __init__(self) -> None:
        self._sizes: set[tuple[float, ...]] = set()

    def __call__(self, arrays: dict[str, Any]) -> bool | None:
        """After one line."""
        found: bool | None = None
        for array in arrays.values():
            if array.ndim != 2 or array.shape[1] != 4 or (sizes := extents(array)) is None:
                continue
            key = tuple(sorted(np.round(np.abs(np.concatenate(sizes)), 2).tolist()))
            if min(sizes[0].min(), sizes[1].min()) >= 0:
                self._sizes.add(key)
                found = bool(found)
            elif key in self._sizes:
                found = True
        return found


# -- landmarks ---------------------------------------------------------------------------------------------------------


def peaks(heat: Any) -> Any | None:
    """Positions (x, y) of the highest value of every channel of shape (K, H, W); None if a channel has no peak."""
    flat = heat.reshape(len(heat), -1)
    best = flat.argmax(1)
    clear = flat[np.arange(len(flat)), best] > 4 * np.abs(flat).mean(1)
    if not clear.all():
        return None
    return np.stack([best % heat.shape[2], best // heat.shape[2]], 1).astype(np.float64)


def turns(points: Any) -> Any:
    """For every three landmarks, whether they run clockwise (1), the other way (-1) or nearly in line (0).

    A rotation, a shift or a scale keeps all of them; a mirror image reverses all of them.
    """
    count = min(len(points), 10)
    triples = np.array(list(itertools.combinations(range(count), 3)))
    a, b, c = (points[triples[:, index]] for index in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    scale = max(float(np.ptp(points[:, 0]) * np.ptp(points[:, 1])), 1e-9)
    return np.where(np.abs(area) > 0.02 * scale, np.sign(area), 0)


def partners(points: Any) -> list[int] | None:
    """For landmarks of a figure that is its own mirror image, the partner of each; None for any other figure."""
    centred = points - points.mean(0)
    size = float(np.sqrt((centred**2).sum(1).mean()))
    for axis in (0, 1):
        mirrored = centred.copy()
        mirrored[:, axis] *= -1
        distance = np.sqrt(((mirrored[:, None] - centred[None]) ** 2).sum(-1))
        best = distance.argmin(1).tolist()
        mutual = sorted(best) == list(range(len(best))) and all(best[best[i]] == i for i in range(len(best)))
        if mutual and best != list(range(len(best))) and distance.min(1).max() < 0.25 * size:
            return [int(one) for one in best]
    return None


class SidesMixed:
    """Asked line by line: does an array of landmarks run the other way than an earlier one?"""

    def __init__(self, usual: Any) -> None:
        self.usual = usual

    def __call__(self, arrays: dict[str, Any]) -> bool | None:
        """After one line."""
        ways = [
            agreement(turns(array.astype(np.float64)), self.usual)
            for array in arrays.values()
            if array.ndim == 2 and array.shape[1] == 2 and len(array) > 3 and np.isfinite(array).all()
        ]
        if any(way < -0.9 for way in ways):
            return True
        return False if any(way > 0.9 for way in ways) else None


def agreement(one: Any, usual: Any) -> float:
    """1 if all turns agree, -1 if all are reversed."""
    known = (usual != 0) & (one != 0) if len(one) == len(usual) else np.zeros(0, bool)
    return float((one[known] * usual[known]).mean()) if known.any() else 0.0


# -- masks -------------------------------------------------------------------------------------------------------------


def explained(image: Any, mask: Any) -> float | None:
    """Share of the variance of an image's intensities that the regions of a mask explain (0 to 1).

    Args:
        image: Shape ``(C, *spatial)`` or ``spatial``; the channel that is explained best counts.
        mask: Shape ``spatial``, of few values.
    """
    flat = mask.reshape(-1)
    channels = image.reshape(-1, flat.size)[:4].astype(np.float64)
    step = max(1, flat.size // MOST)
    flat, channels = flat[::step], channels[:, ::step]
    values, inverse = np.unique(flat, return_inverse=True)
    counts = np.bincount(inverse)
    if not 2 <= len(values) <= FEW or counts.max() > 0.995 * flat.size:
        return None
    best = 0.0
    for channel in channels:
        total = channel.var()
        if total <= 0 or not np.isfinite(total):
            continue
        means = np.bincount(inverse, weights=channel) / counts
        best = max(best, float((counts * (means - channel.mean()) ** 2).sum() / flat.size / total))
    return best


def turned(mask: Any) -> list[Any]:
    """The same mask flipped and, where it is square, turned: every way but its own."""
    found = [mask[..., ::-1], mask[..., ::-1, :], mask[..., ::-1, ::-1]]
    if mask.shape[-1] == mask.shape[-2]:
        across = np.swapaxes(mask, -1, -2)
        found += [across, across[..., ::-1], across[..., ::-1, :], across[..., ::-1, ::-1]]
    return found


class MaskLeft:
    """Asked line by line: is there an image with a mask of its shape that no longer lies on it, as an earlier one did?

    Args:
        usual: Share of the variance that a mask explains where it lies on its image.
    """

    def __init__(self, usual: float) -> None:
        self.usual = usual

    def __call__(self, arrays: dict[str, Any]) -> bool | None:
        """After one line."""
        masks = {name: one for name, one in arrays.items() if one.size >= LEAST and len(np.unique(one)) <= FEW}
        if len(masks) != 1:
            return None
        (mask,) = masks.values()
        mask = np.squeeze(mask)
        values = []
        for image in (one for name, one in arrays.items() if name not in masks and one.size >= mask.size):
            shape = np.squeeze(image).shape
            if shape == mask.shape or shape[1:] == mask.shape:
                values.append(explained(np.squeeze(image), mask))
        known = [one for one in values if one is not None]
        if len(known) != 1 or 0.25 * self.usual <= known[0] <= 0.5 * self.usual:
            return None
        return known[0] < 0.25 * self.usual
