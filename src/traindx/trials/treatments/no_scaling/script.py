"""``no-scaling``: every ``GradScaler`` is made with ``enabled=False``, and its ``step`` is the optimiser's own."""

from __future__ import annotations

from typing import Any

from traindx.watch.interventions.treatment import RuntimeTreatment


class NoScaling(RuntimeTreatment):
    """Tells whether steps that a scaler leaves out are missing; in half precision small gradients may be lost."""

    def install(self) -> None:
        """Stand around the constructor; the scaler of ``torch.cuda.amp`` calls that of ``torch.amp``."""
        self.arm.patches.wrap(self.arm.torch.amp.GradScaler, "__init__", self._make)

    def _make(self, original: Any) -> Any:
        def init(scaler: Any, *args: Any, **kwargs: Any) -> None:
            original(scaler, *args, **kwargs)
            if self.arm.ours and scaler.is_enabled():
                original(scaler, *args[:5], **{**kwargs, "enabled": False})
                self.hits += 1

        return init

    def finish(self) -> None:
        """Nothing was scaled."""
        if not self.hits:
            self.refuse("no gradient scaler was switched on")
