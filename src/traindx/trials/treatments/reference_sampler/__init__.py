"""Sampling by a reference."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="reference-sampler",
        does="a reference sampler takes the place of the one in use",
        case="reference_sampler.case:reference_sampler",
        not_in_scripts="it needs to know the noise schedule: describe the sampler in a case",
    ),
)
