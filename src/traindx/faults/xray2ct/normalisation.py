"""What was said of the Hounsfield window: the wide one accused, and the narrow one proposed as a fix."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from traindx.faults.base import Fault
from traindx.recipes.xray2ct.case import with_window
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow

if TYPE_CHECKING:
    from traindx.case import Case


class FullRange(HounsfieldWindow):
    """The normalisation that the document calls wrong."""

    def encode(self, volume: Tensor) -> Tensor:
        """HU to [-1, 1]."""
        volume = torch.clamp(volume, -1000, 3000)
        return (volume + 1000) / 4000 * 2 - 1


class SoftTissueWindow(HounsfieldWindow):
    """The normalisation that the document calls better."""

    def encode(self, volume: Tensor) -> Tensor:
        """HU to [-1, 1]."""
        volume = torch.clamp(volume, -200, 200)  # Soft tissue window
        return (volume + 200) / 400 * 2 - 1


FULL_RANGE = FullRange(-1000.0, 3000.0)
SOFT_TISSUE = SoftTissueWindow(-200.0, 200.0)


def _under(window: HounsfieldWindow, case: Case) -> Case:
    return with_window(case, window)


FAULTS = (
    Fault(
        name="window-full",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title="the target is normalised over [-1000, 3000] HU",
        apply=partial(_under, FULL_RANGE),
        documented_diagnosis="placebo",
        claim="soft tissue is compressed to 0.03 of the range; a narrow window is worth +4 dB",
        truth="nothing is lost, and the network learns from that range too",
    ),
    Fault(
        name="window-soft-tissue",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title="the fix for the window clips the target to [-200, 200] HU",
        apply=partial(_under, SOFT_TISSUE),
        expected_rule="D102",
        documented_diagnosis="harm",
        claim="16 times the contrast in soft tissue, +4 dB",
        truth="lung and bone become constants that the radiographs still show",
    ),
)
