"""What the numbers of a tensor are: probabilities, logarithms of them, zeros and ones. All read small parts only."""

from __future__ import annotations

from typing import Any

from traindx.watch.runtime.stats import plain, sample

MOST = 65536  # values of a part
WHOLE = 1e-3  # by which a sum of single-precision probabilities may be off one
ROUND_OFF = 1e-3  # above zero; logarithms of probabilities are not


def extremes(tensor: Any) -> tuple[float, float]:
    """Least and greatest of a sample; (0, 0) of nothing."""
    values = sample(tensor)
    values = values[values.isfinite()]
    return (float(values.min()), float(values.max())) if values.numel() else (0.0, 0.0)


def thinned_but(tensor: Any, axis: int) -> Any:
    """A part of a tensor with all of one axis, as float64 on the CPU; the other axes are thinned."""
    part = plain(tensor)
    if part.dim() < 1 or not part.numel():
        return part
    for other in sorted(range(part.dim()), key=lambda one: -part.shape[one]):
        surplus = part.numel() / MOST
        if other != axis and surplus > 1:
            step = min(part.shape[other], int(surplus) + 1)
            part = part[(slice(None),) * other + (slice(None, None, step),)]
    return part.double().cpu()


def sums_to_one(tensor: Any) -> int:
    """The axis, two or longer, over which a tensor sums to one everywhere; -1 if there is none."""
    slack = WHOLE if tensor.dtype.itemsize >= 4 else 2e-2
    for axis in sorted(range(tensor.dim()), key=lambda one: one != 1):  # the usual axis of classes first
        if 2 <= tensor.shape[axis] <= MOST:
            sums = thinned_but(tensor, axis).sum(axis)
            if sums.numel() and bool(((sums - 1).abs() <= slack * max(1.0, tensor.shape[axis] / 64)).all()):
                return int(axis)
    return -1


def few_values(tensor: Any, most: int = 4) -> tuple[float, ...]:
    """The different values of a sample, if there are few; else nothing."""
    values = sample(tensor).unique()
    return tuple(float(one) for one in values) if values.numel() <= most else ()
