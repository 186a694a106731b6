"""A network as a program that runs without traindx: what goes in, what comes out, and what stays with the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Port:
    """An input or an output of a program, float32.

    Attributes:
        name: As the program calls it.
        axes: Name of each axis; the first is the batch.
        sizes: Size of each axis but the batch.
        unit: Unit of the values, such as ``HU``.
        range: Values that occur; for an output its whole span, which the agreement is measured against.
        meaning: What it holds, in one sentence.
        normal: Values are drawn from a standard normal distribution, ``range`` is ignored for an input.
    """

    name: str
    axes: tuple[str, ...]
    sizes: tuple[int, ...]
    unit: str
    range: tuple[float, float]
    meaning: str
    normal: bool = False

    def example(self, batch: int, draw: torch.Generator) -> Tensor:
        """Values that could occur, shape ``(batch, *sizes)``."""
        shape = (batch, *self.sizes)
        if self.normal:
            return torch.randn(shape, generator=draw)
        low, high = self.range
        return low + (high - low) * torch.rand(shape, generator=draw)

    def described(self, batch: str) -> dict[str, Any]:
        """Plain values for the sidecar."""
        values: Any = "standard normal" if self.normal else list(self.range)
        return {
            "name": self.name,
            "axes": list(self.axes),
            "shape": [batch, *self.sizes],
            "dtype": "float32",
            "unit": self.unit,
            "range": values,
            "meaning": self.meaning,
        }


@dataclass(frozen=True)
class Program:
    """A network with everything that ``traindx predict`` does to the values before and after it.

    Attributes:
        recipe: Name of the recipe.
        module: Tensors in the order of ``inputs`` to a tuple in the order of ``outputs``.
        inputs: What goes in.
        outputs: What comes out.
        before: What the caller must do first, in this order.
        after: What the caller must do with the outputs, in this order.
        facts: Everything else that must be known: spacing, axes, geometry, labels, thresholds.
        differs: How ``traindx predict`` differs from this program; empty where it does not.
    """

    recipe: str
    module: nn.Module
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    differs: tuple[str, ...] = ()

    def example(self, batch: int, seed: int) -> tuple[Tensor, ...]:
        """Inputs that could occur."""
        draw = torch.Generator().manual_seed(seed)
        return tuple(port.example(batch, draw) for port in self.inputs)

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What PyTorch makes of some inputs."""
        with torch.no_grad():
            outputs: tuple[Tensor, ...] = self.module(*inputs)
        return outputs

    def apart(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
        """Largest difference of two results, each output over its own span; infinite where one is not finite."""
        worst = 0.0
        for port, one, other in zip(self.outputs, found, wanted, strict=True):
            if one.shape != other.shape:
                return float("inf")
            difference = (one.double() - other.double()).abs().max() / (port.range[1] - port.range[0])
            worst = max(worst, float(difference) if bool(torch.isfinite(difference)) else float("inf"))
        return worst
