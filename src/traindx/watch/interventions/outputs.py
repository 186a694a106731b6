"""What the networks say without gradients: a fingerprint of it, and a figure of ours where the script has none.

A target is a tensor of the batch that the data loader gave last and that the network was not called with, where the
network was called with another tensor of that batch or the batch was read without gradients. The figure
does not depend on how the script trains, so that it is on one scale in every arm:

* class indices for an output with a class axis: accuracy, and for images of classes Dice, the mean over the classes
  but the first that occur;
* a target of zeros and ones of the output's shape: area under the ROC curve, which no monotone activation changes, and
  for images Dice, above one half where all outputs of a pass lie within 0 and 1, else above zero;
* another target of the output's shape: mean absolute error, and for images the peak signal-to-noise ratio by the
  range of the targets of that pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from traindx.watch.interventions.digests import Digest

if TYPE_CHECKING:
    from traindx.watch.interventions.arm import Arm

MOST_PAIRED = 1 << 20  # values kept of one pass for the area under the curve
ACCURACY, AREA, ERROR = "accuracy", "area under the ROC curve", "mean absolute error"
DICE, PSNR = "Dice", "peak signal-to-noise ratio"
IMAGE = 3  # axes of a batch of images at least, without that of the channels
MOST_CLASSES = 256


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
        self._overlaps: dict[str, Any] = {}  # of masks at one half, of masks at zero, of classes: (3, K) counts
        self._extent = [math.inf, -math.inf]  # of the outputs of masks
        self._range = [math.inf, -math.inf]  # of the targets
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
        target = self.target_of(output)
        if target is not None:
            self._take(output, target)

    def target_of(self, output: Any) -> Any:
        """The target of the call that returned this, where the batch that was read last holds one; else None."""
        given = any(item.data_ptr() in self._called_with for item in self._batch if item.numel())
        if not given and not self._for_validation:
            return None  # a batch of training that happens to have the shape
        for target in self._batch:
            if target.numel() and target.data_ptr() not in self._called_with and kind_of(output, target):
                return target
        return None

    def _take(self, output: Any, target: Any) -> None:
        """Add one batch to the present pass."""
        kind = kind_of(output, target)
        truth = target.to(output.device)
        if kind == "classes":
            truth = truth.reshape(output.shape[0], *output.shape[2:])
            said = output.argmax(1)
            self._add(ACCURACY, (said == truth).double().sum(), truth.numel())
            if truth.dim() >= IMAGE and output.shape[1] <= MOST_CLASSES:
                self._overlap("classes", _counts(self.arm.torch, said, truth, output.shape[1]))
            return
        if kind == "mask":
            self._pairs.append((output.detach().float().reshape(-1).cpu(), truth.reshape(-1).bool().cpu()))
            if truth.dim() > IMAGE or (truth.dim() == IMAGE and min(truth.shape[1:]) > 1):
                wanted = truth.bool().reshape(-1).long()
                for name, limit in (("half", 0.5), ("zero", 0.0)):
                    self._overlap(name, _counts(self.arm.torch, (output > limit).reshape(-1).long(), wanted, 2))
                self._extent = [min(self._extent[0], float(output.min())), max(self._extent[1], float(output.max()))]
            return
        error = output.double() - truth.double()
        self._add(ERROR, error.abs().sum(), truth.numel())
        if truth.dim() >= IMAGE:
            self._add(PSNR, (error**2).sum(), truth.numel())
            self._range = [min(self._range[0], float(truth.min())), max(self._range[1], float(truth.max()))]

    def _overlap(self, name: str, counts: Any) -> None:
        known = self._overlaps.get(name)
        self._overlaps[name] = counts if known is None or known.shape != counts.shape else known + counts

    def _add(self, name: str, total: Any, count: int) -> None:
        sums = self._sums.setdefault(name, [0.0, 0.0])
        sums[0] += float(total)
        sums[1] += count

    def _end_pass(self) -> None:
        torch = self.arm.torch
        for name, (total, count) in self._sums.items():
            if name != PSNR:
                self._read(name, total / count)
            elif total > 0 and self._range[1] > self._range[0]:
                self._read(name, 10 * math.log10((self._range[1] - self._range[0]) ** 2 * count / total))
        if self._pairs:
            area = area_under_curve(torch, *(torch.cat(part) for part in zip(*self._pairs, strict=True)))
            if area is not None:
                self._read(AREA, area)
        probable = self._extent[0] >= 0 and self._extent[1] <= 1
        counts = self._overlaps.get("classes", self._overlaps.get("half" if probable else "zero"))
        if counts is not None:
            both, said, wanted = (counts[row, 1:] for row in range(3))
            there = (said + wanted) > 0
            if bool(there.any()):
                self._read(DICE, float((2 * both[there] / (said + wanted)[there]).mean()))
        self._sums, self._pairs, self._overlaps = {}, [], {}
        self._extent, self._range = [math.inf, -math.inf], [math.inf, -math.inf]

    def _read(self, name: str, value: float) -> None:
        self.captured.append({"name": name, "iteration": self._pass, "value": value})

    def finish(self) -> None:
        """The last pass ends."""
        self._end_pass()
        self._batch = []


def kind_of(output: Any, target: Any) -> str:
    """How a target may be compared with an output: ``classes``, ``mask`` or ``values``; empty where it cannot."""
    if output.dim() >= 2 and not target.is_floating_point() and output.shape[1] > 1:
        whole = target.shape[:1] + target.shape[2:] if target.dim() == output.dim() and target.shape[1] == 1 else None
        if output.shape[:1] + output.shape[2:] in (whole, target.shape):
            return "classes"
    if output.shape != target.shape or not output.is_floating_point() or target.is_complex():
        return ""
    return "mask" if bool(((target == 0) | (target == 1)).all()) else "values"


def _counts(torch: Any, said: Any, truth: Any, classes: int) -> Any:
    """Elements of each class in both, in the prediction and in the truth: ``(3, classes)``, float64."""
    said, truth = said.reshape(-1).cpu(), truth.reshape(-1).cpu()
    known = (truth >= 0) & (truth < classes)
    said, truth = said[known].long(), truth[known].long()
    each = (said[said == truth], said, truth)
    return torch.stack([torch.bincount(values, minlength=classes)[:classes].double() for values in each])


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
