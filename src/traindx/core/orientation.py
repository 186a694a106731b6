"""Which way round an image lies: its turns, and how well two images fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

TURNS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "mirrored left to right": lambda image: image.flip(-1),
        "upside down": lambda image: image.flip(-2),
        "turned by 180 degrees": lambda image: image.flip(-1, -2),
        "transposed": lambda image: image.transpose(-1, -2),
    }
)
"""Turns of an image ``(..., rows, columns)`` that a reader or an augmentation may leave behind."""


def correlation(one: Tensor, other: Tensor) -> float:
    """Pearson correlation of two images; -1 where the shapes differ, 0 where one is constant."""
    if one.shape != other.shape:
        return -1.0
    a, b = one.double() - one.double().mean(), other.double() - other.double().mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12))
