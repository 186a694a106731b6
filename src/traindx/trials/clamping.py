"""Standing between the user's code and torch's clamps, without touching the source."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from torch import Tensor

CLAMPS = frozenset({"clamp", "clip", "clamp_", "clip_", "clamp_min", "clamp_min_", "clamp_max", "clamp_max_"})
HARDTANHS = frozenset({"hardtanh", "hardtanh_", "relu6"})


class ClampMode(TorchFunctionMode):
    """Calls ``decide`` at every clamp, clip and hardtanh; what it returns takes the place of the result.

    Args:
        decide: ``(x, low, high, clamp) -> replacement`` or None to let the call be; ``clamp(x, low, high)`` clamps.
    """

    def __init__(self, decide: Callable[[Tensor, Any, Any], Tensor | None]) -> None:
        super().__init__()
        self._decide = decide

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name not in CLAMPS and name not in HARDTANHS:
            return func(*args, **kwargs)
        x, low, high = bounds_of(name, args, kwargs)
        new = self._decide(x, low, high) if isinstance(x, torch.Tensor) else None
        if new is None:
            return func(*args, **kwargs)
        if kwargs.get("out") is not None:
            return kwargs["out"].copy_(new)
        if name.endswith("_") or kwargs.get("inplace"):
            # only the difference is written, so that the gradient is that of the replacement
            return x if new is x else x.add_(new - x)
        return new


def bounds_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
    """What is clamped, the lower bound and the upper bound of a clamp call; None for a bound that is not there."""
    values = list(args)
    x = values[0] if values else kwargs.get("input", kwargs.get("self"))
    rest = values[1:]
    if name == "relu6":
        return x, 0.0, 6.0
    if name in HARDTANHS:
        low = rest[0] if rest else kwargs.get("min_val", -1.0)
        return x, low, rest[1] if len(rest) > 1 else kwargs.get("max_val", 1.0)
    if name.startswith("clamp_min"):
        return x, rest[0] if rest else kwargs.get("min"), None
    if name.startswith("clamp_max"):
        return x, None, rest[0] if rest else kwargs.get("max")
    low = rest[0] if rest else kwargs.get("min")
    return x, low, rest[1] if len(rest) > 1 else kwargs.get("max")


def straight_through(x: Tensor, low: Any, high: Any) -> Tensor:
    """Clamped values with the gradient of the identity (Bengio et al. 2013, *straight-through estimator*)."""
    return x + (torch.clamp(x, low, high) - x).detach()
