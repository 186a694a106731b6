"""Batches of any structure: their tensors, their rows, their parts, and the device they lie on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def rows_of(value: Any, rows: slice | list[int], size: int) -> Any:
    """The chosen samples of a batch: every tensor, list and tuple of ``size`` entries is cut, the rest is kept."""
    import torch

    if isinstance(value, torch.Tensor):
        return value[rows] if value.ndim and value.shape[0] == size else value
    if isinstance(value, Mapping):
        return {key: rows_of(item, rows, size) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if len(value) == size and not any(isinstance(item, torch.Tensor) for item in value):
            return value[rows] if isinstance(rows, slice) else type(value)(value[row] for row in rows)
        parts = [rows_of(item, rows, size) for item in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def tensors_in(value: Any) -> list[Tensor]:
    """All floating-point tensors in a nested structure, in order."""
    import torch

    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, Mapping):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []


def part_of(batch: Any, key: str) -> Any:
    """A part of a batch by its key; numbers name parts of tuples and lists. None where there is no such part."""
    if isinstance(batch, Mapping):
        return batch.get(key)
    if isinstance(batch, list | tuple) and str(key).isdigit() and int(key) < len(batch):
        return batch[int(key)]
    return getattr(batch, str(key), None)


def with_part(batch: Any, key: str, value: Any) -> Any:
    """A shallow copy of a batch with one part replaced."""
    if isinstance(batch, Mapping):
        return {**batch, key: value}
    if isinstance(batch, list | tuple):
        parts = [value if str(i) == str(key) else item for i, item in enumerate(batch)]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    changed = copy.copy(batch)
    setattr(changed, str(key), value)
    return changed


def flat(tensors: list[Tensor]) -> Tensor:
    """All values of some tensors in one vector of 32-bit floats."""
    import torch

    return torch.cat([tensor.detach().float().flatten() for tensor in tensors])


def to_device(batch: Any, device: str) -> Any:
    """Move every tensor in nested mappings, lists and tuples to a device."""
    import torch

    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        moved = [to_device(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch
