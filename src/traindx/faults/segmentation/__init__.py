"""Faults of the segmentation with unlabelled voxels (postmortems/surface-segmentation.md), one file a group."""

from __future__ import annotations

from traindx.faults.base import Fault, together
from traindx.faults.segmentation import inference, labels, losses, metrics, training

_SINGLE = (*inference.FAULTS, *labels.FAULTS, *losses.FAULTS, *training.FAULTS, *metrics.FAULTS)

_PATIENT = ("ignore-as-foreground", "variance-term", "double-sigmoid")

FAULTS: tuple[Fault, ...] = (
    *_SINGLE,
    Fault(
        name="surface-postmortem",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title=f"the patient as the document describes it: {', '.join(_PATIENT)}",
        apply=together(fault for name in _PATIENT for fault in _SINGLE if fault.name == name),
        expected_rule="E810",
        documented_diagnosis="wrong",
        claim="the model is a constant function because of the variance term",
        truth="a second sigmoid makes the reported figures; behind it, unlabelled voxels are taught as foreground",
    ),
)
