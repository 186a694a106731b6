"""How CT and MR become numbers: one fixed display range for what is fused and measured, presets for what is seen.

Two things are kept apart on purpose. The *fused image*, its target and every metric live on one fixed display range in
[0, 1] that no option moves, so two trainings are always compared by the same scoring metric. The *conditions*, CT and
MR as the network sees them, follow a preset; :func:`destroyed` measures what each one destroys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from traindx.errors import InputError

DISPLAY_HU = (-250.0, 1250.0)
"""Hounsfield window of the display range, a bone window (level 500, width 1500): fat at 0.10, muscle at 0.20 and the
trabeculae and cortices of limbs (300 to 1250 HU) from 0.37 to 1."""

MR_WHITE = 0.7
"""Display value of the brightest tissue in MR (its reference intensity, usually fat on T1). Were it 1, marrow and
subcutaneous fat would be as white as cortical bone, and bone could not be told from fat in a fused image."""

MR_PERCENTILE = 99.5
"""Percentile of MR intensities in the body that is the reference intensity: above it are coils and flow, not tissue."""

BONE_HU = (300.0, 1250.0)
SOFT_TISSUE_HU = (-150.0, 150.0)
TISSUES: Mapping[str, tuple[float, float]] = {"bone": BONE_HU, "soft tissue": SOFT_TISSUE_HU}
"""Hounsfield ranges that the task needs (Hofer, *CT Teaching Manual*, 2021)."""


def ct_display(hu: Tensor) -> Tensor:
    """HU to the display range."""
    low, high = DISPLAY_HU
    return ((hu - low) / (high - low)).clamp(0, 1)


def mr_display(mr: Tensor, reference: float) -> Tensor:
    """MR intensities to the display range; ``reference`` is the volume's reference intensity."""
    return (MR_WHITE * mr / reference).clamp(0, 1)


def to_network(display: Tensor) -> Tensor:
    """[0, 1] to [-1, 1], the range of the diffusion process."""
    return 2 * display - 1


def to_display(network: Tensor) -> Tensor:
    """[-1, 1] to [0, 1], clipped: what is shown, stored and measured."""
    return ((network + 1) / 2).clamp(0, 1)


@dataclass(frozen=True)
class Normalisation:
    """How the network sees CT and MR.

    Attributes:
        name: As on the command line.
        ct_low: HU below are one constant.
        ct_high: HU above are one constant.
        ct_mean: HU that becomes 0.
        ct_scale: HU that make one unit.
        mr_zscore: MR is z-scored over the body (mean and deviation of the volume) instead of scaled like the display.
        destroys: What is lost, in words; :func:`destroyed` measures it.
    """

    name: str
    ct_low: float
    ct_high: float
    ct_mean: float
    ct_scale: float
    mr_zscore: bool
    destroys: str

    def ct(self, hu: Tensor) -> Tensor:
        """HU to network values."""
        return (hu.clamp(self.ct_low, self.ct_high) - self.ct_mean) / self.ct_scale

    def hu(self, values: Tensor) -> Tensor:
        """Network values to HU."""
        return values * self.ct_scale + self.ct_mean

    def mr(self, mr: Tensor, reference: float, mean: float, deviation: float) -> Tensor:
        """MR intensities to network values.

        Args:
            mr: Intensities as stored.
            reference: The volume's reference intensity.
            mean: Mean over its body.
            deviation: Standard deviation over its body.
        """
        return (mr - mean) / deviation if self.mr_zscore else to_network(mr_display(mr, reference))


def _window(name: str, low: float, high: float, destroys: str) -> Normalisation:
    return Normalisation(name, low, high, (low + high) / 2, (high - low) / 2, False, destroys)


NORMALISATIONS: Mapping[str, Normalisation] = {
    made.name: made
    for made in (
        _window(
            "joint", *DISPLAY_HU, "CT below -250 HU (lung, bowel gas) is as black as air; metal is as white as bone"
        ),
        # 400 HU is about the standard deviation of CT over limbs with their bones, 50 HU about the mean
        Normalisation(
            "zscore", -1000, 3000, 50, 400, True, "nothing is clipped, but MR units change from volume to volume"
        ),
        _window("bone-window", -500, 1300, "fat and muscle are 0.08 of the range apart"),
        _window("soft-tissue-window", -160, 240, "bone is one constant: its marrow, trabeculae and cortex are gone"),
    )
}
"""Presets of what the network sees, by name."""


def normalisation(name: str) -> Normalisation:
    """A preset by name.

    Raises:
        InputError: There is none of that name.
    """
    if name not in NORMALISATIONS:
        raise InputError(f"normalisation {name!r} is unknown", expected=", ".join(NORMALISATIONS))
    return NORMALISATIONS[name]


def destroyed(preset: Normalisation, hu: Tensor) -> dict[str, tuple[float, int]]:
    """What a preset leaves of each tissue of a CT.

    Args:
        preset: The normalisation.
        hu: Raw CT.

    Returns:
        For each tissue the share of its voxels that are one of two constants, and the distinct values left of them.
    """
    found = {}
    for tissue, (low, high) in TISSUES.items():
        inside = hu[(hu >= low) & (hu <= high)]
        clipped = (inside <= preset.ct_low) | (inside >= preset.ct_high)
        share = float(clipped.float().mean()) if inside.numel() else 0.0
        found[tissue] = (share, int(torch.unique(preset.ct(inside)).numel()))
    return found
