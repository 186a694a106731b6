"""``no-clipping``: gradients are measured and not clipped."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from traindx.watch.interventions.treatment import RuntimeTreatment
from traindx.watch.runtime.call_sites import here


class NoClipping(RuntimeTreatment):
    """Clipping of gradients at a line measures the norm as before and changes nothing."""

    def install(self) -> None:
        """Patch the clipping functions where loops take them from."""
        torch = self.arm.torch
        module = import_module("torch.nn.utils.clip_grad")
        for owner in (module, torch.nn.utils):
            self.arm.patches.wrap(owner, "clip_grad_norm_", self._make_norm)
            self.arm.patches.wrap(owner, "clip_grad_value_", self._make_value)

    def _make_norm(self, original: Any) -> Any:
        def clip_grad_norm_(parameters: Any, max_norm: Any, *args: Any, **kwargs: Any) -> Any:
            if self.arm.ours and self.place.holds(here()):
                self.hits += 1
                max_norm = float("inf")  # the factor is then exactly one
            return original(parameters, max_norm, *args, **kwargs)

        return clip_grad_norm_

    def _make_value(self, original: Any) -> Any:
        def clip_grad_value_(parameters: Any, clip_value: Any, *args: Any, **kwargs: Any) -> Any:
            if self.arm.ours and self.place.holds(here()):
                self.hits += 1
                return None
            return original(parameters, clip_value, *args, **kwargs)

        return clip_grad_value_
