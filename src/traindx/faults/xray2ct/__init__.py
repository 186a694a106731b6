"""Faults of the X-ray-to-CT recipes (postmortems xray-to-ct-diffusion and progressive-cascade), one file a group."""

from __future__ import annotations

from traindx.faults.base import Fault, together
from traindx.faults.xray2ct import (
    cascade,
    head,
    lifting,
    normalisation,
    physics,
    regression,
    regression_losses,
    sampler,
    suspects,
)

_SINGLE = (
    *head.FAULTS,
    *sampler.FAULTS,
    *lifting.FAULTS,
    *physics.FAULTS,
    *normalisation.FAULTS,
    *suspects.FAULTS,
)

_PATIENT = ("token-bottleneck", "ddim-epsilon", "raw-time", "x0-clamp")

FAULTS: tuple[Fault, ...] = (
    *_SINGLE,
    Fault(
        name="postmortem",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title=f"the patient as the document describes it: {', '.join(_PATIENT)}",
        apply=together(fault for name in _PATIENT for fault in _SINGLE if fault.name == name),
        expected_rule="M210",
        documented_diagnosis="wrong",
        claim="the sampler's formula is the root cause; all fixes together give 35 to 43 dB",
        truth="the bottlenecked head is; the documented fixes leave noise, and one of them was masking it",
    ),
    *regression.FAULTS,
    *regression_losses.FAULTS,
    *cascade.FAULTS,
)
