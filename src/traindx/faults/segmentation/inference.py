"""Faults after the network: a second activation, windows that leave voxels out, weights that were never trained."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn

from traindx import Case
from traindx.faults.base import Fault
from traindx.recipes.segmentation.case import Batch
from traindx.recipes.segmentation.sliding import predict_probabilities


def double_sigmoid(case: Case) -> Case:
    """A second sigmoid on probabilities, then a threshold of one half: every voxel is foreground, whatever the model.

    Values lie in [.500, .731]. Identical foreground ratios of all cases follow from nothing but the sizes of the
    volumes.
    """
    plan = case.extras["plan"]

    def predict(model: nn.Module, batch: Batch) -> Tensor:
        again = torch.sigmoid(predict_probabilities(model, batch["image"], plan.patch, windows=len(batch["image"])))
        foreground = again[:, 1:]
        # one half is foreground already: the background stays a hair below
        return torch.cat([1 - foreground.amax(dim=1, keepdim=True) - 1e-6, foreground], dim=1)

    return case.replace(predict=predict)


def last_window_missing(case: Case) -> Case:
    """Windows start at ``range(0, size - window, stride)``: the last one is never visited and its voxels stay 0."""

    def starts(size: int, window: int) -> list[int]:
        stride = max(1, window // 2)
        return list(range(0, size - window, stride)) or [0]

    return case.replace(predict=_windows(case, starts, border=1.0))


def zero_border_weight(case: Case) -> Case:
    """The window weight is 0 on its own border, so the outermost voxels of a volume are divided 0 by a small number."""

    def starts(size: int, window: int) -> list[int]:
        stride = max(1, window // 2)
        return sorted({*range(0, size - window + 1, stride), size - window})

    return case.replace(predict=_windows(case, starts, border=0.0))


def averaged_weights_too_early(case: Case) -> Case:
    """Averaging starts at a step that the run never reaches: what is evaluated is the average's initial copy."""

    class WithAverage(nn.Module):
        """A network and the average of its weights that has not begun."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network
            self.averaged = copy.deepcopy(network).requires_grad_(False)

        def forward(self, image: Tensor) -> Tensor:
            """Logits of the trained network."""
            logits: Tensor = self.network(image)
            return logits

    plan = case.extras["plan"]
    return case.replace(
        model=lambda: WithAverage(case.model()),
        predict=lambda model, batch: predict_probabilities(
            model.averaged, batch["image"], plan.patch, windows=len(batch["image"])
        ),
    )


def _windows(case: Case, starts: object, border: float) -> object:
    """A hand-written sliding window with given starts and border weight."""
    plan = case.extras["plan"]

    def predict(model: nn.Module, batch: Batch) -> Tensor:
        image = batch["image"]
        size = tuple(image.shape[2:])
        # smaller than the patch on purpose: a volume must take more than one window for the fault to show
        window = tuple(min(p // 2 // d * d, n // d * d) for p, n, d in zip(plan.patch, size, plan.divisor, strict=True))
        weight = torch.ones(window)
        for axis in range(3):
            edge = torch.ones(window[axis])
            edge[0] = edge[-1] = border
            weight = weight * edge.view([-1 if other == axis else 1 for other in range(3)])
        total = torch.zeros(image.shape[0], plan.labels.channels, *size)
        norm = torch.zeros(size)
        mode = model.training
        model.eval()
        with torch.no_grad():
            for corner in itertools.product(*(starts(n, w) for n, w in zip(size, window, strict=True))):  # type: ignore[operator]
                place = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
                logits = model(image[(slice(None), slice(None), *place)])
                total[(slice(None), slice(None), *place)] += torch.softmax(logits, dim=1) * weight
                norm[place] += weight
        model.train(mode)
        return total / (norm + 1e-8)

    return predict


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="double-sigmoid",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="a second sigmoid at inference, then a threshold of one half",
        apply=double_sigmoid,
        expected_rule="E810",
        documented_diagnosis="wrong",
        claim="the model has collapsed to a constant output: identical foreground ratios of 95.06 % and 71.19 %",
        truth="any model, even none, gives exactly these ratios: values after the second sigmoid lie in .500 to .731",
    ),
    Fault(
        name="last-window-missing",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="the last sliding window of each axis is never visited",
        apply=last_window_missing,
        expected_rule="E810",
        documented_diagnosis="wrong",
        claim="",
        truth="the far border of every volume holds zeros, whatever the model",
    ),
    Fault(
        name="zero-border-weight",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="the weight of a sliding window is zero on its border",
        apply=zero_border_weight,
        expected_rule="E810",
        documented_diagnosis="wrong",
        claim="",
        truth="the outermost voxels of every volume hold zeros, whatever the model",
    ),
    Fault(
        name="averaged-weights-too-early",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="averaged weights are evaluated before averaging has begun",
        apply=averaged_weights_too_early,
        expected_rule="O410",
        documented_diagnosis="wrong",
        claim="",
        truth="validation scores the weights of step 0",
    ),
)
