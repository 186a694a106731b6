"""Clamps of every kind while a loss is computed: what lies beyond them, and how much of the gradient stops there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from traindx.core.frames import user_location

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.finding import Location

CLAMPS = frozenset({"clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_max", "clamp_min_", "clamp_max_"})
HARD = frozenset({"hardtanh", "hardtanh_", "relu6"})
CHOICES = frozenset({"where", "masked_fill", "masked_fill_"})
EXTREMES = frozenset({"minimum", "maximum", "min", "max"})
COMPARING = frozenset(
    {"gt", "lt", "ge", "le", "greater", "less", "__gt__", "__lt__", "__ge__", "__le__", "greater_equal", "less_equal"}
)
LOGIC = frozenset({"logical_and", "logical_or", "logical_not", "__and__", "__or__", "__invert__", "bitwise_and",
                   "bitwise_or", "bitwise_not"})  # fmt: skip


@dataclass(eq=False)
class Clamped:
    """One call of a clamp.

    Attributes:
        operation: Its name.
        low: Lower bound, or the smallest value that passed a choice.
        high: Upper bound, or the largest.
        line: The user's line.
        elements: Values that came in.
        outside: Share of them beyond the bounds.
        input_low: Smallest value that came in.
        input_high: Largest.
        with_gradient: True if what came in required a gradient.
        hidden: True if a learned layer follows.
        arrived: Sum of squares of the gradient that arrived.
        stopped: Sum of squares of the part that did not pass.
        hits: How often a gradient arrived.
    """

    operation: str
    low: float
    high: float
    line: Location | None
    elements: int
    outside: float
    input_low: float
    input_high: float
    with_gradient: bool
    hidden: bool = False
    arrived: float = 0.0
    stopped: float = 0.0
    hits: int = 0


@dataclass(frozen=True)
class Pending:
    """A clamp that is about to be computed, and which values it stops."""

    clamped: Clamped
    beyond: Tensor


class ClampWatch:
    """Collects clamps; :meth:`before` and :meth:`after` are called around every torch operation."""

    def __init__(self) -> None:
        self._clamps: list[Clamped] = []
        self._judged: dict[int, int] = {}  # result of a comparison -> the tensor that was compared

    def seen(self) -> list[Clamped]:
        """All clamps, but for activation functions that learned layers follow: those are the network's own."""
        return [clamp for clamp in self._clamps if not (clamp.hidden and clamp.operation in HARD)]

    def compared(self, name: str, inputs: list[Tensor], result: Tensor) -> None:
        """Remember which tensor a condition was computed from."""
        if name in COMPARING and inputs:
            self._judged[id(result)] = id(inputs[0])
        elif name in LOGIC:
            known = {self._judged[id(tensor)] for tensor in inputs if id(tensor) in self._judged}
            if len(known) == 1:
                self._judged[id(result)] = known.pop()

    def before(self, name: str, args: Any, kwargs: Any) -> Pending | None:
        """What an operation will stop; None if it is no clamp."""
        if name in CLAMPS or name in HARD:
            return _of_clamp(name, args, kwargs)
        if name in EXTREMES:
            return _of_extreme(name, args)
        return self._of_choice(name, args, kwargs) if name in CHOICES else None

    def after(self, pending: Pending, output: Tensor) -> None:
        """Listen to the gradient that arrives at the output of a clamp."""
        clamped, beyond = pending.clamped, pending.beyond
        self._clamps.append(clamped)
        if not output.requires_grad or beyond.shape != output.shape:
            return

        def arriving(gradient: Tensor) -> None:
            squared = gradient.detach().double().square()
            clamped.hits += 1
            clamped.arrived += float(squared.sum())
            clamped.stopped += float(squared[beyond].sum())

        output.register_hook(arriving)  # type: ignore[no-untyped-call]

    def _of_choice(self, name: str, args: Any, kwargs: Any) -> Pending | None:
        """``where(x > 1, 1, x)`` and ``x.masked_fill(x > 1, 1)``: clamps by other names.

        A mask that was made from anything but the values themselves leaves something out, and is no clamp.
        """
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        condition = next((value for value in tensors if value.dtype == torch.bool), None)
        carriers = [value for value in tensors if value.requires_grad]
        if condition is None or len(carriers) != 1 or (name == "where" and len(args) != 3):
            return None
        value = carriers[0]
        taken = name == "where" and next(item for item in args if item is not condition) is value
        beyond = ~condition if taken else condition
        if self._judged.get(id(condition)) != id(value) or beyond.shape != value.shape:
            return None
        inside = value.detach()[~beyond]
        low, high = (float(inside.min()), float(inside.max())) if inside.numel() else (math.nan, math.nan)
        return _pending(name, value, beyond.detach().clone(), low, high)


def _of_extreme(name: str, args: Any) -> Pending | None:
    """``minimum(x, one)`` and its kin."""
    if len(args) != 2 or not all(isinstance(value, torch.Tensor) for value in args):
        return None
    value, bound = args if args[0].requires_grad else (args[1], args[0])
    if bound.requires_grad or bound.numel() != 1 or not value.is_floating_point():
        return None
    level = float(bound)
    low, high = (-math.inf, level) if name in ("minimum", "min") else (level, math.inf)
    return _pending(name, value, (value.detach() > high) | (value.detach() < low), low, high)


def _of_clamp(name: str, args: Any, kwargs: Any) -> Pending | None:
    value = args[0] if args else kwargs.get("input")
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.numel() == 0:
        return None
    low, high = limits(name, args, kwargs)
    known = value.detach()
    return _pending(name, value, (known < low) | (known > high), low, high)


def _pending(name: str, value: Tensor, beyond: Tensor, low: float, high: float) -> Pending:
    known = value.detach()
    clamped = Clamped(
        operation=name.rstrip("_"),
        low=low,
        high=high,
        line=user_location(),
        elements=known.numel(),
        outside=float(beyond.float().mean()),
        input_low=float(known.min()),
        input_high=float(known.max()),
        with_gradient=torch.is_grad_enabled() and value.requires_grad,
    )
    return Pending(clamped, beyond)


def limits(name: str, args: Any, kwargs: Any) -> tuple[float, float]:
    """Bounds of a clamp from its arguments; a tensor of bounds counts by its extremes."""
    given = list(args[1:3])
    low: Any = None
    high: Any = None
    if name == "relu6":
        return 0.0, 6.0
    if name.startswith("hardtanh"):
        low = kwargs.get("min_val", given[0] if given else -1.0)
        high = kwargs.get("max_val", given[1] if len(given) > 1 else 1.0)
    elif name.startswith("clamp_min"):
        low = kwargs.get("min", given[0] if given else None)
    elif name.startswith("clamp_max"):
        high = kwargs.get("max", given[0] if given else None)
    else:
        low = kwargs.get("min", given[0] if given else None)
        high = kwargs.get("max", given[1] if len(given) > 1 else None)
    return (
        -math.inf if low is None else float(torch.as_tensor(low).detach().min()),
        math.inf if high is None else float(torch.as_tensor(high).detach().max()),
    )
