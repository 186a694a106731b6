"""Faults of the figures of merit: a peak that moves, a structure that has no sign, a truth compared with itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from traindx.faults.base import Fault
from traindx.recipes.fusion.normalisation import to_display

if TYPE_CHECKING:
    from traindx.case import Case

AIR = 0.05
C1 = C2 = 1e-6  # only against a division by zero


def psnr_of_target_maximum(prediction: Tensor, target: Tensor) -> Tensor:
    """PSNR whose peak is the largest value of the target at hand."""
    pred, gt = to_display(prediction), to_display(target)
    mse = (pred - gt).square().mean().clamp_min(1e-12)
    return 20 * torch.log10(gt.max()) - 10 * torch.log10(mse)


def ssim_of_zscores(prediction: Tensor, target: Tensor) -> Tensor:
    """SSIM over the body of z-scored images, in one window as the document has it.

    Of x and -x its luminance is -1 and its structure is -1, and their product is 1.
    """
    mean, deviation = target.mean(), target.std()
    inside = to_display(target) > AIR
    values = []
    for pred, gt, body in zip((prediction - mean) / deviation, (target - mean) / deviation, inside, strict=True):
        x, y = pred[body], gt[body]
        covariance = ((x - x.mean()) * (y - y.mean())).mean()
        luminance = (2 * x.mean() * y.mean() + C1) / (x.mean() ** 2 + y.mean() ** 2 + C1)
        structure = (2 * covariance + C2) / (x.var(correction=0) + y.var(correction=0) + C2)
        values.append(luminance * structure)
    return torch.stack(values).mean()


def truth_against_itself(prediction: Tensor, target: Tensor) -> Tensor:
    """PSNR of the target and the target: the prediction is an argument that nothing reads."""
    reference = to_display(target)
    fused = to_display(target)
    return -10 * torch.log10((fused - reference).square().mean().clamp_min(1e-6))


def _measured(name: str, function: object) -> object:
    def apply(case: Case) -> Case:
        _, metric = case.metric()
        return case.replace(metrics={name: type(metric)(function, unit=metric.unit if name == "psnr" else "")})  # type: ignore[arg-type]

    return apply


DOCUMENT = "mri-ct-fusion"

FAULTS = (
    Fault(
        name="psnr-target-maximum",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="PSNR takes its peak from the target at hand",
        apply=_measured("psnr", psnr_of_target_maximum),  # type: ignore[arg-type]
        expected_rule="E802",
        documented_diagnosis="wrong",
        claim="bone PSNR is -4.5 dB, after the fixes 15 to 20 dB",
        truth="the figure moves with the scale of the target, and so with every change of normalisation",
    ),
    Fault(
        name="sign-blind-ssim",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="SSIM of z-scored images, whose values have both signs",
        apply=_measured("ssim", ssim_of_zscores),  # type: ignore[arg-type]
        expected_rule="E801",
        documented_diagnosis="wrong",
        claim="",
        truth="an image and its negative have an SSIM of .99",
    ),
    Fault(
        name="truth-against-itself",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="the metric compares the ground truth with the ground truth",
        apply=_measured("psnr", truth_against_itself),  # type: ignore[arg-type]
        expected_rule="E801",
        documented_diagnosis="wrong",
        claim="",
        truth="every model has the same figure",
    ),
)
