"""Figures of one fused image: what the field reports, and what is asked of each region.

All on the fixed display range in [0, 1]. Every figure is returned under the same name by every predictor, so a
checkpoint can be selected by any of them; :data:`NAMES` lists what exists.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from traindx.errors import InputError
from traindx.recipes.fusion import metrics
from traindx.recipes.fusion.lesion import dice_of
from traindx.recipes.fusion.normalisation import to_network
from traindx.recipes.fusion.roi import region_ssim
from traindx.recipes.kit.estimate import Score

DATA_RANGE = 1.0

CLASSIC = ("EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM")
REGIONAL = ("brain_ssim", "bone_ssim", "bone_psnr", "lesion_contrast", "lesion_dice")
NAMES = (*CLASSIC, *REGIONAL)

SELECTION = ("Qabf", "SSIM", "brain_ssim", "bone_ssim", "bone_psnr")
"""What a fused image is asked for together: edges and structure of both, MR in soft tissue, CT in bone."""

_CEILING_DB = 60.0  # of PSNR: beyond it lies the rounding of 8-bit pictures, and a copy would be infinite


def psnr(image: Tensor, reference: Tensor, region: Tensor) -> float:
    """PSNR within a region with data range 1, at most 60 dB; NaN where the region is empty."""
    if not bool(region.any()):
        return math.nan
    error = float(((image - reference).square() * region).sum() / region.sum())
    return min(_CEILING_DB, 10 * math.log10(DATA_RANGE**2 / max(error, 1e-12)))


def lesion_contrast(image: Tensor, lesion: Tensor, soft: Tensor) -> float:
    """Contrast of the lesion against a rim of soft tissue around it, in standard deviations of that rim.

    ``|mean(lesion) - mean(rim)| / sd(rim)``; NaN without a lesion or a rim. Shapes ``(H, W)``.
    """
    from scipy import ndimage

    inside = lesion.numpy() > 0
    rim = ndimage.binary_dilation(inside, iterations=5) & ~ndimage.binary_dilation(inside) & (soft.numpy() > 0)
    if inside.sum() < 4 or rim.sum() < 4:
        return math.nan
    values = image.numpy()
    return float(abs(values[inside].mean() - values[rim].mean()) / max(values[rim].std(), 1e-3))


def ssim(a: Tensor, b: Tensor, fused: Tensor) -> float:
    """Mean of SSIM(F, A) and SSIM(F, B), data range 1, shapes ``(1, 1, H, W)``."""
    both = [structural_similarity_index_measure(fused, source, data_range=DATA_RANGE) for source in (a, b)]
    return float(sum(both)) / 2


def figures(fused: Tensor, batch: Mapping[str, Any], index: int, head: nn.Module | None = None) -> dict[str, float]:
    """All figures of one fused slice; blocks are measured slice by slice and averaged.

    Args:
        fused: On the display range, shape ``(1, H, W)`` or ``(1, D, H, W)``.
        batch: The batch it belongs to.
        index: Which sample of the batch.
        head: Frozen lesion head; ``lesion_dice`` is NaN without one.
    """
    names = ("ct_display", "mr_display", "soft", "bone", "lesion")
    stacks = {name: batch[name][index] for name in names}
    slices = [(fused, stacks)]
    if fused.dim() == 4:
        slices = [(fused[:, z], {name: stack[:, z] for name, stack in stacks.items()}) for z in range(fused.shape[1])]
    found = [_slice(image, parts) for image, parts in slices]
    table = {name: _mean([row[name] for row in found]) for name in found[0]}
    overlap = [] if head is None else dice_of(head, to_network(fused[None]), stacks["lesion"][None])
    return {**table, "lesion_dice": overlap[0] if overlap else math.nan}


def _slice(image: Tensor, parts: Mapping[str, Tensor]) -> dict[str, float]:
    f, ct, mr = (value[None].cpu().float() for value in (image, parts["ct_display"], parts["mr_display"]))
    soft, bone, lesion = (parts[name][None].cpu() for name in ("soft", "bone", "lesion"))

    def similarity(reference: Tensor, region: Tensor) -> float:
        return float(region_ssim(f, reference, region, DATA_RANGE)) if bool(region.any()) else math.nan

    return {
        "EN": metrics.entropy(f),
        "SD": metrics.standard_deviation(f),
        "SF": metrics.spatial_frequency(f),
        "AG": metrics.average_gradient(f),
        "MI": metrics.mutual_information(ct, mr, f),
        "SCD": metrics.sum_of_correlations_of_differences(ct, mr, f),
        "VIF": metrics.visual_information_fidelity(ct, mr, f),
        "Qabf": metrics.edge_preservation(ct, mr, f),
        "SSIM": ssim(ct, mr, f),
        "brain_ssim": similarity(mr, soft),
        "bone_ssim": similarity(ct, bone),
        "bone_psnr": psnr(f, ct, bone),
        "lesion_contrast": lesion_contrast(f[0, 0], lesion[0, 0], soft[0, 0]),
    }


def by_patient(rows: Sequence[tuple[str, Mapping[str, float]]]) -> dict[str, Score]:
    """Slices of (patient, figures) to a figure a patient."""
    patients = sorted({patient for patient, _ in rows})
    return {
        name: Score(tuple(_mean([row[name] for who, row in rows if who == patient]) for patient in patients))
        for name in NAMES
    }


def mean_rank(table: Mapping[str, Mapping[str, Score]], names: Sequence[str] = SELECTION) -> dict[str, float]:
    """Mean rank of every predictor over some figures, 1 for the best; predictors that tie share the better rank."""
    means = {who: {name: row[name].mean for name in names} for who, row in table.items()}
    return {
        who: sum(1 + sum(other[name] > mine[name] + 5e-4 for other in means.values()) for name in names) / len(names)
        for who, mine in means.items()
    }


def selected(name: str) -> str:
    """A figure that a checkpoint can be selected by.

    Raises:
        InputError: No such figure is produced.
    """
    if name not in (*NAMES, "fusion_score"):
        raise InputError(f"no figure is called {name!r}", expected=", ".join((*NAMES, "fusion_score")))
    return name


def fusion_score(row: Mapping[str, float]) -> float:
    """One number for selection: the mean of Qabf, SSIM and the ROI figures, PSNR as a share of its ceiling."""
    parts = [row[name] / (_CEILING_DB if name == "bone_psnr" else 1) for name in SELECTION]
    return _mean(parts)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
