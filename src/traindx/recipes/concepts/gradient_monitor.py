"""Watches gradient norms by part of the network: vanished, exploded, and, before anything else, not a number.

``norm < 1e-7`` and ``norm > 100`` are both false for NaN: a monitor that only compares is blind to the worst case.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import nn

VANISHED, EXPLODED = 1e-7, 100.0


def norms_by_part(parameters: Iterable[nn.Parameter]) -> dict[str, float]:
    """Gradient norm of each part that has gradients."""
    squares: dict[str, torch.Tensor] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            part = getattr(parameter, "part", "other")
            square = parameter.grad.detach().float().square().sum()
            squares[part] = squares[part] + square if part in squares else square
    return {part: float(value.sqrt()) for part, value in squares.items()}


def flags(norms: Mapping[str, float]) -> list[str]:
    """What is wrong with the gradient norms, one sentence each; empty where nothing is."""
    found = []
    for part, norm in norms.items():
        if not math.isfinite(norm):
            found.append(f"the gradient of {part} is {norm}")
        elif norm < VANISHED:
            found.append(f"the gradient of {part} has vanished: norm {norm:.1e}")
        elif norm > EXPLODED:
            found.append(f"the gradient of {part} explodes: norm {norm:.1e}")
    return found
