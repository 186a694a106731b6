"""``unclamp``: a clamp at a line becomes the identity, or keeps its values and loses its hold on the gradient."""

from __future__ import annotations

from typing import Any

from traindx.watch.collectors.clamps import bounds_of
from traindx.watch.collectors.torch_calls import argument, named_functions
from traindx.watch.interventions.treatment import RuntimeTreatment


class Unclamp(RuntimeTreatment):
    """``mode``: ``identity``, or ``soft`` (clamped values, gradient of the identity; Bengio et al. 2013)."""

    def install(self) -> None:
        """Subscribe."""
        names = ("clamp", "clip", "hardtanh", "clamp_min", "clamp_max")
        self.arm.modes.on(self, named_functions(self.arm.torch, names), self._replace)

    def _replace(self, name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        torch = self.arm.torch
        x = argument(args, kwargs, 0, "input")
        if not isinstance(x, torch.Tensor) or not x.is_floating_point() or not self.here:
            return NotImplemented
        low, _ = bounds_of(name, args, kwargs)
        if low is None and not any(isinstance(value, torch.Tensor) for value in (*args[1:], *kwargs.values())):
            return NotImplemented
        if not torch.is_grad_enabled():
            inplace = getattr(function, "__name__", "").endswith("_") or kwargs.get("inplace")
            before = x.clone() if inplace else x
            kept = function(*args, **kwargs)
            if self.fields.get("mode") == "soft":
                return kept
            self.acted(before, kept)
            return x.copy_(before) if inplace else before
        self.acted()
        if self.fields.get("mode") != "soft":
            return x
        clamped = function(x.clone(), *args[1:], **{key: item for key, item in kwargs.items() if key != "input"})
        moved = (clamped - x).detach()
        inplace = getattr(function, "__name__", "").endswith("_") or kwargs.get("inplace")
        return x.add_(moved) if inplace else x + moved
