"""Scores of a segmentation against its reference, by class, with intervals over patients.

Dice, normalised surface Dice, 95th percentile Hausdorff and mean surface distance come from MONAI; this module decides
what an absent class means, leaves unlabelled voxels out and puts intervals on means.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from traindx.finding import Frozen
from traindx.recipes.kit.estimate import Estimate, mean_of
from traindx.recipes.segmentation.labels import IGNORE

NSD_TOLERANCE_MM = 1.0
"""Tolerance of the normalised surface Dice: 1 mm, as the Decathlon uses for the hippocampus."""


class ClassScores(Frozen):
    """Scores of one class in one case. NaN where a score is undefined.

    Attributes:
        dice: 2|A∩B| / (|A|+|B|); NaN where neither has the class, 0 where only one does.
        nsd: Share of both surfaces within the tolerance of the other; NaN and 0 as above.
        hd95_mm: 95th percentile Hausdorff distance, the larger of both directions; NaN where one surface is missing.
        surface_mm: Mean surface distance over both directions; NaN as above.
        volume_error: (predicted - reference) / reference; NaN where the reference has none.
        predicted_ml: Predicted volume.
        reference_ml: Reference volume.
    """

    dice: float
    nsd: float
    hd95_mm: float
    surface_mm: float
    volume_error: float
    predicted_ml: float
    reference_ml: float


class CaseScores(Frozen):
    """Scores of one case.

    Attributes:
        name: Case name.
        classes: Scores by class name; classes that were not looked for are absent.
        foreground_ratio: Share of the labelled voxels predicted as any class.
        reference_ratio: The same in the reference.
        output_spread: Standard deviation over those voxels of p(foreground); near 0 in every case means collapse.
        seconds: Time to predict it.
    """

    name: str
    classes: dict[str, ClassScores] = Field(default_factory=dict)
    foreground_ratio: float = float("nan")
    reference_ratio: float = float("nan")
    output_spread: float = float("nan")
    seconds: float = float("nan")

    @property
    def dice(self) -> float:
        """Mean Dice over classes; NaN where no class has one."""
        values = [scores.dice for scores in self.classes.values() if np.isfinite(scores.dice)]
        return float(np.mean(values)) if values else float("nan")


def score_class(
    predicted: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Sequence[float], tolerance: float
) -> ClassScores:
    """Scores of one class.

    Args:
        predicted: Mask ``(D, H, W)``.
        reference: Mask of the same shape.
        spacing: Voxel size in mm.
        tolerance: Tolerance of the surface Dice in mm.
    """
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

    a, b = int(predicted.sum()), int(reference.sum())
    voxel_ml = float(np.prod(spacing)) / 1000
    nan = float("nan")
    volumes = {"predicted_ml": a * voxel_ml, "reference_ml": b * voxel_ml, "volume_error": (a - b) / b if b else nan}
    if not a and not b:
        return ClassScores(dice=nan, nsd=nan, hd95_mm=nan, surface_mm=nan, **volumes)
    if not a or not b:
        return ClassScores(dice=0.0, nsd=0.0, hd95_mm=nan, surface_mm=nan, **volumes)
    # MONAI's area table counts neighbourhoods of 2x2x2: give it a margin so that no surface lies on the border
    one, two = (torch.from_numpy(np.pad(mask, 1))[None, None].float() for mask in (predicted, reference))
    mm = [float(s) for s in spacing]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nsd = compute_surface_dice(one, two, [tolerance], include_background=True, spacing=mm, use_subvoxels=True)
        hd95 = compute_hausdorff_distance(one, two, include_background=True, percentile=95, spacing=mm)
        surface = compute_average_surface_distance(one, two, include_background=True, symmetric=True, spacing=mm)
    return ClassScores(
        dice=2 * int((predicted & reference).sum()) / (a + b),
        nsd=float(nsd),
        hd95_mm=float(hd95),
        surface_mm=float(surface),
        **volumes,
    )


def score_case(
    name: str,
    predicted: NDArray[np.integer[Any]],
    reference: NDArray[np.integer[Any]],
    *,
    names: Sequence[str],
    spacing: Sequence[float],
    labelled: Sequence[bool] | None = None,
    foreground: NDArray[np.floating[Any]] | None = None,
    tolerance: float = NSD_TOLERANCE_MM,
    seconds: float = float("nan"),
) -> CaseScores:
    """Scores of one case.

    Args:
        name: Case name.
        predicted: Class indices ``(D, H, W)``.
        reference: Class indices with -1 where not labelled. There the prediction is taken to be right for every
            class: it can neither gain nor lose, and no false surface appears at the edge of the labelled region.
        names: Class names, index 1 first.
        spacing: Voxel size in mm.
        labelled: For each class, whether it was looked for; default: all.
        foreground: Probability of any class ``(D, H, W)``, for the output spread.
        tolerance: Tolerance of the surface Dice in mm.
        seconds: Time to predict it.
    """
    seen = reference != IGNORE
    scores = {
        class_name: score_class((predicted == index) & seen, (reference == index) & seen, spacing, tolerance)
        for index, class_name in enumerate(names, start=1)
        if labelled is None or labelled[index - 1]
    }
    return CaseScores(
        name=name,
        classes=scores,
        foreground_ratio=float((predicted[seen] > 0).mean()) if seen.any() else float("nan"),
        reference_ratio=float((reference[seen] > 0).mean()) if seen.any() else float("nan"),
        output_spread=float(foreground[seen].std()) if foreground is not None and seen.any() else float("nan"),
        seconds=seconds,
    )


def summarise(cases: Sequence[CaseScores], names: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """Intervals of every score, by class and for the mean over classes (``"mean"``)."""
    fields = ("dice", "nsd", "hd95_mm", "surface_mm", "volume_error")
    table = {
        name: {
            field: mean_of([getattr(case.classes[name], field) for case in cases if name in case.classes])
            for field in fields
        }
        for name in names
    }
    table["mean"] = {
        field: mean_of([_mean_of(case, field) for case in cases]) for field in ("dice", "nsd", "hd95_mm", "surface_mm")
    }
    return table


def _mean_of(case: CaseScores, field: str) -> float:
    values = [getattr(scores, field) for scores in case.classes.values()]
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
