"""``constant-rate``: every step at the rate that the optimiser was given."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from traindx.watch.interventions.treatment import RuntimeTreatment


class ConstantRate(RuntimeTreatment):
    """Every step is taken at the rate that the optimiser was given; schedules keep seeing their own value."""

    def install(self) -> None:
        """Hooks around every step."""
        self._first: dict[int, float] = {}
        self._kept: list[tuple[Any, Any]] = []
        hooks = import_module("torch.optim.optimizer")
        hooks.register_optimizer_step_pre_hook(self._before)
        hooks.register_optimizer_step_post_hook(self._after)

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self.arm.ours or not self.place.holds(self.arm.makers.of(optimizer)):
            return
        for group in optimizer.param_groups:
            given = self._first.setdefault(id(group), float(group.get("initial_lr", group["lr"])))
            if float(group["lr"]) != given:
                self._kept.append((group, group["lr"]))
                group["lr"] = given
                self.hits += 1

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        while self._kept:
            group, rate = self._kept.pop()
            group["lr"] = rate
