"""What the experiments on functions have in common: arrays and tensors alike, and names in words."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any


def words(name: str) -> list[str]:
    """``unNormalizeImage2d`` and ``un_normalize_image_2d`` in words, in lower case."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return [word for word in re.split(r"[_\W]+", spaced.lower()) if word]


def as_tensor(torch: Any, value: Any) -> Any | None:
    """A plain tensor with the numbers of a tensor or an array; None for anything else."""
    numpy = sys.modules.get("numpy")
    if isinstance(value, torch.Tensor):
        return value.detach().as_subclass(torch.Tensor)
    if numpy is not None and isinstance(value, numpy.ndarray) and value.dtype.kind in "buifc":
        if value.dtype.kind == "u" and value.dtype.itemsize > 1:
            value = value.astype("int64")
        whole = numpy.ascontiguousarray(value)
        return torch.from_numpy(whole if whole.flags.writeable else whole.copy())  # torch warns of what is read-only
    return None


def like(torch: Any, tensor: Any, given: Any) -> Any:
    """A tensor in the form that something has: an array of numpy where that is one."""
    if isinstance(given, torch.Tensor):
        return tensor.to(given.dtype)
    return tensor.numpy().astype(given.dtype)


def number(torch: Any, value: Any) -> float | None:
    """A single number; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    tensor = as_tensor(torch, value)
    if tensor is not None and tensor.numel() == 1 and not tensor.is_complex():
        return float(tensor)
    return None


def parts_of(result: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Everything in a result by a path, two levels of containers deep."""
    if depth < 2 and isinstance(result, dict):
        for key, value in list(result.items())[:32]:
            for path, one in parts_of(value, depth + 1):
                yield f"[{key!r}]{path}", one
    elif depth < 2 and type(result) in (list, tuple):
        for index, value in enumerate(result[:32]):
            for path, one in parts_of(value, depth + 1):
                yield f"[{index}]{path}", one
    else:
        yield "", result


def spread(tensor: Any) -> float:
    """Root mean square distance from the mean."""
    return float((tensor - tensor.mean()).abs().square().mean().sqrt())
