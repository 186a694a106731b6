"""``drop-activation``: a sigmoid or softmax at a line becomes the identity."""

from __future__ import annotations

from typing import Any

from traindx.watch.collectors.provenance import ACTIVATIONS
from traindx.watch.collectors.torch_calls import argument, named_functions
from traindx.watch.interventions.treatment import RuntimeTreatment


class DropActivation(RuntimeTreatment):
    """``phase``: ``training`` acts with gradients only, ``evaluation`` without only, else both.

    What a loss applies itself has to go from the training path alone; at inference it is still wanted.
    """

    def install(self) -> None:
        """Subscribe."""
        self.arm.modes.on(self, named_functions(self.arm.torch, ACTIVATIONS), self._replace)

    def _replace(self, name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        torch = self.arm.torch
        x = argument(args, kwargs, 0, "input")
        if not isinstance(x, torch.Tensor) or not x.is_floating_point() or not self.here:
            return NotImplemented
        phase, grad = self.fields.get("phase", ""), torch.is_grad_enabled()
        if (phase == "training" and not grad) or (phase == "evaluation" and grad):
            return NotImplemented
        self.acted()
        return x
