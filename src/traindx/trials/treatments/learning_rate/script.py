"""``learning-rate``: the rate of an optimiser, or of one of its groups, times a factor, in every step.

The script and its schedules keep seeing their own value: it is multiplied before the step and put back after it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from traindx.watch.interventions.treatment import RuntimeTreatment


class LearningRate(RuntimeTreatment):
    """``factor``; ``group``: number of the parameter group, all by default."""

    def install(self) -> None:
        """Hooks around every step."""
        self._kept: list[tuple[Any, Any]] = []
        hooks = import_module("torch.optim.optimizer")
        hooks.register_optimizer_step_pre_hook(self._before)
        hooks.register_optimizer_step_post_hook(self._after)

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self.arm.ours or not self.place.holds(self.arm.makers.of(optimizer)):
            return
        wanted = self.fields.get("group")
        for index, group in enumerate(optimizer.param_groups):
            if wanted is None or int(wanted) == index:
                self._kept.append((group, group["lr"]))
                group["lr"] = group["lr"] * float(self.fields["factor"])
                self.hits += 1

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        while self._kept:
            group, lr = self._kept.pop()
            group["lr"] = lr
