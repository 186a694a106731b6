"""``reference-prediction``: in validation the network says something that no model made.

Two versions of a script that score the same fixed outputs differently do not have the same metric.
"""

from __future__ import annotations

from typing import Any

from traindx.watch.interventions.treatments.base import RuntimeTreatment

KINDS = ("zeros", "ones", "noise")


class ReferencePrediction(RuntimeTreatment):
    """``kind``: ``zeros``, ``ones`` or ``noise`` (standard normal, the same in every run)."""

    effect = "the output of the network is replaced by zeros, ones or noise, to see what the figure says of it"

    def install(self) -> None:
        """Stand behind outermost calls without gradients."""
        self._number = 0
        self.arm.leaving.append(self.safe(self._leave))

    def _leave(self, network: Any, output: Any) -> Any:
        if not self.arm.evaluating:
            return None
        self._number += 1
        self.evaluations += 1
        return self._fixed(output)

    def _fixed(self, output: Any) -> Any:  # noqa: PLR0911  (one return a kind of output)
        torch = self.arm.torch
        if isinstance(output, torch.Tensor):
            if not output.is_floating_point():
                return output
            if self.fields["kind"] == "noise":
                generator = torch.Generator().manual_seed(self._number)
                return torch.randn(output.shape, generator=generator).to(output)
            return torch.full_like(output, 1.0 if self.fields["kind"] == "ones" else 0.0)
        if isinstance(output, dict):
            changed = {key: self._fixed(item) for key, item in output.items()}
            return type(output)(**changed) if hasattr(output, "to_tuple") else type(output)(changed)
        if isinstance(output, tuple) and hasattr(output, "_fields"):
            return type(output)(*(self._fixed(item) for item in output))
        if isinstance(output, list | tuple):
            return type(output)(self._fixed(item) for item in output)
        return output
