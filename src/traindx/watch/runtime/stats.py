"""Small, fixed-cost statistics of tensors of any size: strided samples, no copy of the whole, no random numbers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from traindx.core import compat

SAMPLE = 4096
PROBED = 256


def has_values(tensor: Any) -> bool:
    """False for what can only be read by running somebody's own code, or not at all.

    That is: subclasses that do their own dispatching (wrappers, fake and distributed tensors), nested tensors, and
    tensors of the meta device. Subclasses that only keep notes (``MetaTensor``) are read as plain tensors.
    """
    import torch

    return not (compat.dispatches_itself(torch, tensor) or tensor.is_nested or tensor.device.type == "meta")


def plain(tensor: Any) -> Any:
    """A tensor's values as a plain strided tensor without a gradient; of sparse ones, the values that are there.

    To be called where function modes and subclasses are disabled (:meth:`Watch.ours`). Nothing is copied, so the cost
    does not depend on the class. What has no values that could be read counts as empty.
    """
    import torch

    if not has_values(tensor):
        return torch.empty(0)
    flat = tensor.detach()
    if flat.layout is torch.strided:
        return flat
    if flat.layout is torch.sparse_coo:
        return flat._values()
    if flat.layout in (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc):
        return flat.values()
    return torch.empty(0)


def sample(tensor: Any, count: int = SAMPLE) -> Any:
    """At most about ``count`` elements as a flat float32 CPU tensor, taken with a regular stride.

    Waits for the device that the tensor lies on.
    """
    return thinned(tensor, count).cpu()


def thinned(tensor: Any, count: int = SAMPLE) -> Any:
    """At most about ``count`` elements as a flat float32 tensor where they lie, for which nothing has to wait.

    Works on strided and non-contiguous tensors without materialising them. The stride is odd, so that it does not
    keep falling on the same column of an image whose width is a power of two.
    """
    flat = plain(tensor)
    total = flat.numel()
    if total > count:
        if flat.is_contiguous():
            flat = flat.view(-1)[:: (total // count) | 1]
        else:
            surplus = total / count
            for dim in sorted(range(flat.dim()), key=lambda d: -flat.shape[d]):
                if surplus <= 1:
                    break
                step = max(1, min(flat.shape[dim], math.ceil(surplus)))
                flat = flat[(slice(None),) * dim + (slice(None, None, step),)]
                surplus /= step
    flat = flat.reshape(-1)
    if flat.is_quantized:
        flat = flat.dequantize()
    if flat.is_complex():
        flat = flat.abs()
    return flat.float()


class Range(NamedTuple):
    """Range of a tensor, from a sample."""

    low: float
    high: float
    least: float
    greatest: float
    nonfinite: int
    values: tuple[float, ...]
    shares: tuple[float, ...]


def value_range(tensor: Any, count: int = SAMPLE, max_values: int = 16) -> Range:
    """1st and 99th percentile, extremes, and the distinct values where they are few whole numbers."""
    data = sample(tensor, count).numpy()
    return array_range(data, max_values)


def array_range(data: Any, max_values: int = 16) -> Range:
    """:func:`value_range` of a flat numpy array."""
    import numpy as np

    finite = data[np.isfinite(data)]
    nonfinite = int(data.size - finite.size)
    if not finite.size:
        return Range(math.nan, math.nan, math.nan, math.nan, nonfinite, (), ())
    low, high = np.percentile(finite, (1, 99))
    values: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    if finite.size and np.array_equal(finite[:64], np.rint(finite[:64])):
        unique, counts = np.unique(finite, return_counts=True)
        if unique.size <= max_values and np.array_equal(unique, np.rint(unique)):
            values = tuple(float(value) for value in unique)
            shares = tuple(float(part) for part in counts / finite.size)
    return Range(float(low), float(high), float(finite.min()), float(finite.max()), nonfinite, values, shares)


def finite(tensor: Any) -> bool:
    """True if a sample of a tensor is finite."""
    return bool(sample(tensor, 1024).isfinite().all())


def norm(tensor: Any) -> float:
    """Euclidean norm in float32 as a Python number (one synchronisation)."""
    return float(tensor.detach().float().norm())


def probe(tensor: Any, count: int = PROBED) -> Any:
    """A small copy of a parameter's values, to see later whether it moved."""
    return sample(tensor, count).clone()


def thin(values: list[Any], most: int) -> list[Any]:
    """At most ``most`` of a list's items, evenly, the first and the last kept."""
    if len(values) <= most:
        return list(values)
    last = len(values) - 1
    return [values[round(index * last / (most - 1))] for index in range(most)]
