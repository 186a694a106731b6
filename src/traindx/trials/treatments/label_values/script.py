"""``ignore-label`` and ``rescale-label``: a target value that a loss cannot mean is left out, or brought to 1."""

from __future__ import annotations

from typing import Any

from traindx.watch.collectors.torch_calls import argument
from traindx.watch.interventions.treatment import RuntimeTreatment

CLASSES = {"cross_entropy": 3, "nll_loss": 3}  # position of ignore_index, after input, target, weight and size_average
ELEMENTWISE = {
    "binary_cross_entropy": ("weight",),
    "binary_cross_entropy_with_logits": ("weight", "pos_weight"),
    "mse_loss": ("weight",),
    "l1_loss": ("weight",),
    "smooth_l1_loss": (),
    "huber_loss": ("weight",),
}
_POSITIONS = {"binary_cross_entropy": (2,), "binary_cross_entropy_with_logits": (2, 6)}


class IgnoreLabel(RuntimeTreatment):
    """``value``: elements whose target has it take no part in the loss at that line, while training.

    In ``cross_entropy`` and ``nll_loss`` they get the ignored index; in losses that go element by element they are
    taken out of prediction and target before the call. Where a weight is given for every element, or the loss is
    written by hand (Dice), there is no such call to change, and the treatment says so.
    """

    def install(self) -> None:
        """Subscribe."""
        functional = self.arm.torch.nn.functional
        names = (*CLASSES, *ELEMENTWISE)
        self.arm.modes.on(self, {getattr(functional, name): name for name in names}, self._replace)

    def _replace(self, name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: PLR0911
        torch = self.arm.torch
        x, target = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "target")
        if not isinstance(x, torch.Tensor) or not isinstance(target, torch.Tensor):
            return NotImplemented
        if not torch.is_grad_enabled() or not self.here:
            return NotImplemented
        unwanted = target == float(self.fields["value"])
        given = {**kwargs}
        given.pop("input", None), given.pop("target", None)
        if name in CLASSES:
            if target.is_floating_point():
                self.refuse(f"{name} is given probabilities, not class indices")
                return NotImplemented
            ignored = int(argument(args, kwargs, 4, "ignore_index", -100))
            self.acted()
            return function(x, torch.where(unwanted, ignored, target), *args[2:], **given)
        weights = [
            argument(args, kwargs, at, key) for at, key in zip(_positions(name), ELEMENTWISE[name], strict=False)
        ]
        if any(isinstance(weight, torch.Tensor) and weight.numel() > 1 for weight in weights):
            self.refuse(f"{name} has a weight for every element, which would have to be cut as well")
            return NotImplemented
        if x.shape != target.shape or argument(args, kwargs, 5, "reduction", "mean") == "none":
            self.refuse(f"{name} keeps its elements apart here; what becomes of them cannot be seen")
            return NotImplemented
        self.acted()
        return function(x[~unwanted], target[~unwanted], *args[2:], **given)


def _positions(name: str) -> tuple[int, ...]:
    return _POSITIONS.get(name, ())


class RescaleLabel(RuntimeTreatment):
    """``value``: target tensors of a training batch that hold only 0 and this value are divided by it.

    For masks saved as 0 and 255. Tensors are changed as they come out of a data loader, so that every use of them in
    the step agrees; a script that validates with a comparison (``mask > 0``) validates as before.
    """

    def install(self) -> None:
        """Stand behind data loaders."""
        base = self.arm.torch.utils.data.dataloader._BaseDataLoaderIter
        self.arm.patches.wrap(base, "__next__", self._make)

    def _make(self, original: Any) -> Any:
        def next_(loader: Any) -> Any:
            batch = original(loader)
            return self._rescaled(batch) if self.arm.ours else batch

        return next_

    def _rescaled(self, value: Any) -> Any:
        torch = self.arm.torch
        if isinstance(value, torch.Tensor):
            label = float(self.fields["value"])
            found = value == label
            if not value.is_floating_point() or not bool(found.any()) or not bool((found | (value == 0)).all()):
                return value
            self.hits += 1
            return value / label
        if isinstance(value, dict):
            return type(value)({key: self._rescaled(item) for key, item in value.items()})
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(self._rescaled(item) for item in value))
        if isinstance(value, list | tuple):
            return type(value)(self._rescaled(item) for item in value)
        return value
