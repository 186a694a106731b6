"""``zero-gradients``: gradients are cleared before the backward pass."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from traindx.watch.interventions.treatment import RuntimeTreatment
from traindx.watch.runtime.call_sites import CallSite


class ZeroGradients(RuntimeTreatment):
    """``optimizer.zero_grad()`` before the backward pass at a line, once after every step."""

    def install(self) -> None:
        """Count steps, and stand before backward passes."""
        self._stepped: list[Any] = []
        import_module("torch.optim.optimizer").register_optimizer_step_post_hook(self._after_step)
        self.arm.before_backward.append(self.safe(self._before))

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self.arm.ours and not any(known is optimizer for known in self._stepped):
            self._stepped.append(optimizer)

    def _before(self, root: Any, site: CallSite | None) -> None:
        if not self.place.holds(site):
            return
        for optimizer in self._stepped:
            optimizer.zero_grad()
            self.hits += 1
        self._stepped = []
