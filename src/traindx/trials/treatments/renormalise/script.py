"""``renormalise``: one channel of what a network is called with becomes ``scale * x + offset``."""

from __future__ import annotations

from typing import Any

from traindx.watch.interventions.treatment import RuntimeTreatment


class Renormalise(RuntimeTreatment):
    """``network``: class name; ``argument``: position; ``channel``; ``scale`` (or ``factor``); ``offset``.

    It acts on every outermost call of that class, in training and in validation: an input that is normalised is
    normalised everywhere.
    """

    def install(self) -> None:
        """Stand before outermost calls."""
        self.arm.entering.append(self.safe(self._enter))

    def _enter(self, network: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        fields = self.fields
        position, channel = int(fields.get("argument", 0) or 0), int(fields["channel"])
        if type(network).__name__ != fields.get("network", type(network).__name__) or len(args) <= position:
            return None
        x = args[position]
        torch = self.arm.torch
        if not isinstance(x, torch.Tensor) or x.dim() < 4 or x.shape[1] <= channel or not x.is_floating_point():
            return None
        scale = float(fields.get("scale", fields.get("factor", 1.0)))
        changed = x.clone()
        changed[:, channel] = changed[:, channel] * scale + float(fields.get("offset", 0.0))
        self.acted(x, changed)
        return (*args[:position], changed, *args[position + 1 :])
