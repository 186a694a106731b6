"""The noise schedule recomputed."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="reference-schedule",
        does="the noise schedule is recomputed from its betas and rescaled to zero terminal SNR",
        case="reference_schedule.case:reference_schedule",
        not_in_scripts="it needs to know the noise schedule: describe the sampler in a case",
    ),
)
