"""Faults of what the network is shown: scales that differ, a window without bone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from traindx.faults.base import Fault
from traindx.recipes.fusion.case import changed, system_of
from traindx.recipes.fusion.normalisation import NORMALISATIONS, Normalisation

if TYPE_CHECKING:
    from traindx.case import Case

DOCUMENT = "mri-ct-fusion"


class DocumentScale(Normalisation):
    """CT as the document had it: clipped to [-1000, 3000] HU and divided by 4000, beside an MR that is z-scored."""


DOCUMENT_SCALE = DocumentScale("document", -1000, 3000, -1000, 4000, True, "nothing; CT is the weaker condition")


def with_scale_mismatch(case: Case) -> Case:
    """Show CT in [0, 1] and MR z-scored. The fused image keeps its range, so no scoring metric moves."""
    return changed(case, data=system_of(case).data.seen_as(DOCUMENT_SCALE))


def with_soft_tissue_window(case: Case) -> Case:
    """Show CT through a soft-tissue window."""
    return changed(case, data=system_of(case).data.seen_as(NORMALISATIONS["soft-tissue-window"]))


FAULTS = (
    Fault(
        name="scale-mismatch",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="CT is scaled to [0, 1] while MR is z-scored",
        apply=with_scale_mismatch,
        expected_rule="D101",
        documented_diagnosis="right",
        claim="critical: the root cause; the model ignores CT, bone PSNR is negative",
        truth="by itself its fix changes nothing, because the conditions do not reach the image at all; once "
        "everything else is fixed it is worth much, for the recipe's head blends both images in their own units",
    ),
    Fault(
        name="window-kills-bone",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="the network sees CT through a soft-tissue window",
        apply=with_soft_tissue_window,
        expected_rule="D102",
        documented_diagnosis="harm",
        claim="",
        truth="99 % of bone is one constant, so there is nothing of bone left to fuse",
    ),
)
