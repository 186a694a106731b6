"""Faults of the terms of the regression's loss: saturated, comparing sums, over the wrong frequencies, swallowed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from traindx.faults.base import Chapter, Fault
from traindx.recipes.xray2ct.cascade.case import changed
from traindx.recipes.xray2ct.cascade.system import terms_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from traindx.case import Case
    from traindx.recipes.xray2ct.cascade.cascade import Cascade
    from traindx.recipes.xray2ct.cascade.system import CascadeSystem

    Extra = Callable[[Tensor, Tensor], Tensor]

RECIPE, DOCUMENT = "xray2ct_regression", "progressive-cascade"
WEIGHT = 0.15  # of the document's edge term
LOW = 0.5  # of the half-width: where the document's mask ends


def with_extra_term(
    system: CascadeSystem, cascade: Cascade, batch: Mapping[str, Any], *, name: str, extra: Extra
) -> dict[str, Tensor]:
    """The recipe's terms and another one of prediction and target."""
    terms = terms_of(system, cascade, batch)
    prediction = cascade(system.radiographs(batch))
    terms[name] = WEIGHT * extra(prediction, batch["ct"])
    return terms


def saturated_edges(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared differences of edges, summed over the volume and clamped to [0, 100]."""
    difference = prediction - target
    edges = sum(difference.diff(dim=axis).square().sum() for axis in (2, 3, 4))
    assert isinstance(edges, Tensor)
    return torch.clamp(edges, 0, 100)


def total_variation(volume: Tensor) -> Tensor:
    """Mean size of a step between neighbours, over the three axes: one number."""
    return torch.stack([volume.diff(dim=axis).abs().mean() for axis in (2, 3, 4)]).mean()


def difference_of_total_variations(prediction: Tensor, target: Tensor) -> Tensor:
    """The total variation of the prediction against that of the target: two scalars."""
    return (total_variation(prediction) - total_variation(target)).abs()


def frequencies_by_centred_mask(prediction: Tensor, target: Tensor) -> Tensor:
    """Error of the Fourier coefficients beyond a ball about the middle of the array, which are not shifted there."""
    fft_pred = torch.fft.fftn(prediction, dim=(2, 3, 4), norm="ortho")
    fft_target = torch.fft.fftn(target, dim=(2, 3, 4), norm="ortho")
    axes = [torch.arange(size) - size // 2 for size in prediction.shape[2:]]
    squared = sum(grid.square() for grid in torch.meshgrid(*axes, indexing="ij"))
    assert isinstance(squared, Tensor)
    high_freq_mask = (squared > (LOW * prediction.shape[2] / 2) ** 2).to(prediction)
    difference = torch.view_as_real((fft_pred - fft_target) * high_freq_mask)
    return (difference.square().sum(dim=-1) + 1e-12).sqrt().mean()


def perceptual_or_constant(prediction: Tensor, target: Tensor) -> Tensor:
    """Features of slices by a first layer that wants three channels; what it raises is swallowed."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 3, 3, 3, generator=generator).to(prediction)
    try:
        slices = (volume.transpose(1, 2).flatten(0, 1) for volume in (prediction, target))
        features = [F.relu(F.conv2d(images, weight, padding=1)) for images in slices]
        return F.l1_loss(features[0], features[1])
    except Exception:  # as in the document's code
        return torch.tensor(0.1, device=prediction.device)


def _with(name: str, extra: Extra, case: Case) -> Case:
    return changed(case, terms=partial(with_extra_term, name=name, extra=extra))


_CHAPTER = Chapter(RECIPE, DOCUMENT)


def _fault(
    name: str,
    title: str,
    term: str,
    extra: Extra,
    rule: str,
    claim: str,
    truth: str,
    diagnosed: Literal["wrong", "harm"] = "wrong",
) -> Fault:
    return _CHAPTER.fault(name, title, partial(_with, term, extra), rule, diagnosed, claim, truth)


FAULTS = (
    _fault(
        "saturated-edge-term",
        "the edge term is summed over the volume and clamped to [0, 100], where it always is at 100",
        "edges",
        saturated_edges,
        "L306",
        "an edge term sharpens the second stage",
        "its gradient is exactly zero at every step, and its value does not move either",
    ),
    _fault(
        "total-variation-of-scalars",
        "the total variation of the prediction is compared with that of the target, a number with a number",
        "variation",
        difference_of_total_variations,
        "L304",
        "a total-variation term keeps edges sharp",
        "it is 0 for the truth upside down: it asks how much there is of edges, never where",
    ),
    _fault(
        "frequency-mask-unshifted",
        "the mask for high frequencies is round about the middle of coefficients that were not shifted there",
        "frequency",
        frequencies_by_centred_mask,
        "L316",
        "a frequency-aware loss draws fine detail at the last stage",
        "low and high are exchanged: the term leaves the finest frequencies out and weights the coarse ones",
    ),
    _fault(
        "perceptual-term-swallowed",
        "the perceptual term raises at every step, and an except returns a constant",
        "perceptual",
        perceptual_or_constant,
        "L311",
        "features of VGG preserve texture; natural images may not be the best teachers",
        "the features were never computed: the term is 0.1 at every step",
    ),
)
