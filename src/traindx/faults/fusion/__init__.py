"""Faults of the CT-MR fusion (postmortems/mri-ct-fusion.md), one file a group."""

from __future__ import annotations

from traindx.faults.base import Fault, together
from traindx.faults.fusion import data, deployment, metrics, network, objective, sampler

_SINGLE = (
    *data.FAULTS,
    *network.FAULTS,
    *sampler.FAULTS,
    *objective.FAULTS,
    *metrics.FAULTS,
    *deployment.FAULTS,
)

_PATIENT = ("scale-mismatch", "pooled-condition-half-resolution", "strided-sampler")

FAULTS: tuple[Fault, ...] = (
    *_SINGLE,
    Fault(
        name="fusion-postmortem",
        recipe="fusion",
        postmortem="mri-ct-fusion",
        title=f"the patient as the document describes it: {', '.join(_PATIENT)}",
        apply=together(fault for name in _PATIENT for fault in _SINGLE if fault.name == name),
        expected_rule="M210",
        documented_diagnosis="wrong",
        claim="the scale of CT is the root cause, the clamp the second; 70 to 85 % SSIM after both fixes",
        truth="the head cannot express its target, the conditions are not seen, and the sampler is no DDIM",
    ),
)
