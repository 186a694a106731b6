"""``reference-prediction``: in validation the network says something that no model made.

Two versions of a script that score the same fixed outputs differently do not have the same metric; a figure that is the
same for all of them does not look at the network's output; and the one that a perfect prediction makes higher is better
when it is higher.
"""

from __future__ import annotations

from typing import Any

from traindx.watch.interventions.treatment import RuntimeTreatment

FIXED = ("noise", "zeros", "ones")  # know nothing of the data
ORDERED = ("perfect", "shuffled")  # the target itself, and that of another item
KINDS = (*FIXED, *ORDERED)
SURE = 10.0  # a logit that leaves no doubt


class ReferencePrediction(RuntimeTreatment):
    """``kinds``: what is said in the first, the second, ... validation pass, of :data:`KINDS`; the last one goes on.

    ``noise`` is standard normal, the same in every run. A pass ends with an iteration. Single numbers among what a
    network says stay as they are: a model that returns its loss has computed it from its own prediction, and noise in
    its place would say nothing of how it is computed.
    """

    def install(self) -> None:
        """Stand behind outermost calls without gradients."""
        self._kinds = [str(kind) for kind in self.fields.get("kinds") or [self.fields["kind"]]]
        self._number = 0
        self.passes: list[tuple[int, str]] = []
        self._left = 0
        self.arm.leaving.append(self.safe(self._leave))

    def _leave(self, network: Any, output: Any) -> Any:
        if not self.arm.evaluating:
            return None
        if not self.passes or self.passes[-1][0] != self.arm.iteration:
            kind = self._kinds[min(len(self.passes), len(self._kinds) - 1)]
            self.passes.append((self.arm.iteration, kind))
            self._number = 0
        self._number += 1
        self.evaluations += 1
        kind = self.passes[-1][1]
        if kind in ORDERED:
            made = self._from_target(output, kind)
            if made is None:
                self.passes[-1] = (self.arm.iteration, "")  # says nothing
            return made
        return self._fixed(output, kind)

    def _from_target(self, output: Any, kind: str) -> Any:
        """What a perfect model, or one that takes another item for this one, would say; None where it is not known."""
        torch = self.arm.torch
        logits = getattr(output, "logits", None)
        if logits is not None or not isinstance(output, torch.Tensor):
            return None
        target = self.arm.outputs.target_of(output)
        if target is None:
            return None
        with torch.no_grad():
            if kind == "shuffled":
                target = target.roll(1, 0) if target.shape[0] > 1 else target.flip(-1)
            return prediction_from(torch, output.detach(), target.to(output.device))

    def _fixed(self, output: Any, kind: str) -> Any:  # noqa: PLR0911  (one return a kind of output)
        torch = self.arm.torch
        if isinstance(output, torch.Tensor):
            if not output.is_floating_point():
                return output
            if output.dim() == 0:
                self._left += 1
                return output
            if kind == "noise":
                generator = torch.Generator().manual_seed(self._number)
                return torch.randn(output.shape, generator=generator).to(output)
            return torch.full_like(output, 1.0 if kind == "ones" else 0.0)
        if isinstance(output, dict):
            changed = {key: self._fixed(item, kind) for key, item in output.items()}
            return type(output)(**changed) if hasattr(output, "to_tuple") else type(output)(changed)
        if isinstance(output, tuple) and hasattr(output, "_fields"):
            return type(output)(*(self._fixed(item, kind) for item in output))
        if isinstance(output, list | tuple):
            return type(output)(self._fixed(item, kind) for item in output)
        return output

    def report(self) -> dict[str, Any]:
        """As JSON, with iteration and kind of every pass, and how many single numbers were left as they were."""
        return {**super().report(), "passes": self.passes, "left": self._left}


def prediction_from(torch: Any, output: Any, target: Any) -> Any:
    """A target in the form in which a network says it: values, probabilities, log-probabilities or logits.

    Args:
        torch: The torch module.
        output: What the network said, which tells the form; ``(B, C, ...)`` for classes.
        target: Classes ``(B, ...)``, or values of the output's shape.
    """
    from traindx.watch.interventions.outputs import kind_of

    kind = kind_of(output, target)
    probable = bool((output >= 0).all()) and bool((output <= 1).all())
    if kind == "classes":
        classes = target.reshape(output.shape[0], *output.shape[2:]).long().clamp(0, output.shape[1] - 1)
        one_hot = torch.nn.functional.one_hot(classes, output.shape[1]).movedim(-1, 1).to(output)
        if probable and torch.allclose(output.sum(1), torch.ones_like(output.sum(1)), atol=1e-3):
            return one_hot
        return SURE * (one_hot - 1)  # right as logits and as logarithms of probabilities
    if kind == "mask":
        return target.to(output) if probable else SURE * (2 * target.to(output) - 1)
    return target.to(output)
