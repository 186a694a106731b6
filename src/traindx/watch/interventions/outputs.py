"""What the networks say without gradients: a fingerprint of it, and a figure of ours where the script has none.

A target is a tensor of the batch that the data loader gave last and that the network was not called with, where the
network was called with another tensor of that batch or the batch was read without gradients. The figure
does not depend on how the script trains, so that it is on one scale in every arm:

* class indices for an output with a class axis: accuracy;
* a target of zeros and ones of the output's shape: area under the ROC curve, which no monotone activation changes;
* another target of the output's shape: mean absolute error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from traindx.watch.interventions.digests import Digest

if TYPE_CHECKING:
    from traindx.watch.interventions.arm import Arm

MOST_PAIRED = 1 << 20  # values kept of one pass for the area under the curve
ACCURACY, AREA, ERROR = "accuracy", "area under the ROC curve", "mean absolute error"


class Outputs:
    """Follows outermost calls without gradients."""

    def __init__(self, arm: Arm) -> None:
        self.arm = arm
        self.digest = Digest()
        self.captured: list[dict[str, Any]] = []
        self._batch: list[Any] = []
        self._for_validation = False  # the batch was read without gradients
        self._called_with: set[int] = set()
        self._sums: dict[str, list[float]] = {}
        self._pairs: list[tuple[Any, Any]] = []
        self._pass = -1

    def install(self) -> None:
        """Listen to data loaders and networks."""
        torch = self.arm.torch

        def make_next(original: Any) -> Any:
            def next_(loader: Any) -> Any:
                batch = original(loader)
                if self.arm.ours:
                    self._batch = list(tensors_in(batch, torch.Tensor))
                    self._for_validation = not torch.is_grad_enabled()
                return batch

            return next_

        self.arm.patches.wrap(torch.utils.data.dataloader._BaseDataLoaderIter, "__next__", make_next)
        self.arm.entering.append(self._entering)
        self.arm.leaving.append(self._leaving)

    def _entering(self, network: Any, args: tuple[Any, ...]) -> None:
        self._called_with = {item.data_ptr() for item in tensors_in(args, self.arm.torch.Tensor) if item.numel()}

    def _leaving(self, network: Any, output: Any) -> None:
        arm = self.arm
        if not arm.evaluating:
            return
        logits = getattr(output, "logits", None)
        found = [logits] if logits is not None else list(tensors_in(output, arm.torch.Tensor))
        arm.inside = True
        try:
            with arm.torch.no_grad():
                for tensor in found[:8]:
                    self.digest.add(tensor)
                if found:
                    self._compare(found[0])
        finally:
            arm.inside = False

    def _compare(self, output: Any) -> None:
        if self._pass != self.arm.iteration:
            self._end_pass()
            self._pass = self.arm.iteration
        given = any(item.data_ptr() in self._called_with for item in self._batch if item.numel())
        if not given and not self._for_validation:
            return  # a batch of training that happens to have the shape
        for target in self._batch:
            if not target.numel() or target.data_ptr() in self._called_with:
                continue
            if self._take(output, target):
                return

    def _take(self, output: Any, target: Any) -> bool:
        """Add one batch to the present pass; False where the two cannot be compared."""
        if output.dim() >= 2 and not target.is_floating_point():
            classes = target.reshape(target.shape[0], *target.shape[2:]) if target.dim() == output.dim() else target
            if output.shape[1] > 1 and classes.shape == (output.shape[0], *output.shape[2:]):
                self._add(ACCURACY, (output.argmax(1) == classes.to(output.device)).double().sum(), classes.numel())
                return True
        if output.shape != target.shape or not output.is_floating_point() or target.is_complex():
            return False
        truth = target.to(output.device)
        if bool(((truth == 0) | (truth == 1)).all()):
            self._pairs.append((output.detach().float().reshape(-1).cpu(), truth.reshape(-1).bool().cpu()))
        else:
            self._add(ERROR, (output.double() - truth.double()).abs().sum(), truth.numel())
        return True

    def _add(self, name: str, total: Any, count: int) -> None:
        sums = self._sums.setdefault(name, [0.0, 0.0])
        sums[0] += float(total)
        sums[1] += count

    def _end_pass(self) -> None:
        for name, (total, count) in self._sums.items():
            self._read(name, total / count)
        if self._pairs:
            torch = self.arm.torch
            area = area_under_curve(torch, *(torch.cat(part) for part in zip(*self._pairs, strict=True)))
            if area is not None:
                self._read(AREA, area)
        self._sums, self._pairs = {}, []

    def _read(self, name: str, value: float) -> None:
        self.captured.append({"name": name, "iteration": self._pass, "value": value})

    def finish(self) -> None:
        """The last pass ends."""
        self._end_pass()
        self._batch = []


def area_under_curve(torch: Any, scores: Any, truth: Any) -> float | None:
    """Probability that a positive scores higher than a negative, ties half (Mann and Whitney 1947); None of one class.

    Args:
        torch: The torch module.
        scores: ``(N,)`` floats; the order alone counts.
        truth: ``(N,)`` booleans.
    """
    stride = scores.numel() // MOST_PAIRED + 1
    scores, truth = scores[::stride], truth[::stride]
    positives = int(truth.sum())
    negatives = truth.numel() - positives
    if not positives or not negatives or not bool(torch.isfinite(scores).all()):
        return None
    _, inverse, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    ranks = (last - (counts.double() - 1) / 2)[inverse]  # mean rank of ties, from 1
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def tensors_in(value: Any, kind: type, depth: int = 3) -> list[Any]:
    """Tensors in a nest of tuples, lists and mappings."""
    if isinstance(value, kind):
        return [value]
    if depth and isinstance(value, dict):
        return [item for one in value.values() for item in tensors_in(one, kind, depth - 1)]
    if depth and isinstance(value, list | tuple):
        return [item for one in value for item in tensors_in(one, kind, depth - 1)]
    return []
