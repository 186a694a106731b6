"""Faults of the concept and prototype classifier (postmortems/concepts-and-prototypes.md), one file a group."""

from __future__ import annotations

from traindx.faults.base import Fault, together
from traindx.faults.concepts import data, losses, prototypes, training

_SINGLE = (*losses.FAULTS, *training.FAULTS, *prototypes.FAULTS, *data.FAULTS)

_PATIENT = ("low-learning-rates", "partial-load", "box-loss-no-margin", "unflipped-boxes")

FAULTS: tuple[Fault, ...] = (
    *_SINGLE,
    Fault(
        name="concepts-postmortem",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title=f"the patient as it was: {', '.join(_PATIENT)}",
        apply=together(fault for name in _PATIENT for fault in _SINGLE if fault.name == name),
        expected_rule="C1102",
        documented_diagnosis="wrong",
        claim="the backward box loss accounts for 80 % of it",
        truth="the box loss has the right sign; no pretrained tensor arrived, and flipped images kept their boxes",
    ),
)
