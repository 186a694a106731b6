"""``full-precision``: regions of mixed precision switched off."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from traindx.core import compat
from traindx.watch.interventions.treatment import RuntimeTreatment


class FullPrecision(RuntimeTreatment):
    """Regions of mixed precision compute in the precision of their tensors, and a scaler scales by one."""

    def install(self) -> None:
        """Switch regions and scalers off where they are made."""
        torch = self.arm.torch
        self.arm.patches.wrap(torch.amp.autocast_mode.autocast, "__init__", self._make_region)
        self.arm.patches.wrap(import_module("torch.amp.grad_scaler").GradScaler, "__init__", self._make_scaler)

    def _make_region(self, original: Any) -> Any:
        def init(region: Any, *args: Any, **kwargs: Any) -> None:
            original(region, *args, **kwargs)
            if self.arm.ours and compat.switch_off(region):
                self.hits += 1

        return init

    def _make_scaler(self, original: Any) -> Any:
        def init(scaler: Any, *args: Any, **kwargs: Any) -> None:
            original(scaler, *args, **kwargs)
            if self.arm.ours and compat.switch_off(scaler):
                self.hits += 1

        return init
