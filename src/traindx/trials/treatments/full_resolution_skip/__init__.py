"""The output as an x0 head behind an analytic skip from x_t."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="full-resolution-skip",
        does="the network's output becomes an x0 head behind an analytic skip from x_t",
        case="full_resolution_skip.case:full_resolution_skip",
        not_in_scripts="it needs to know the noise schedule: describe the model in a case",
    ),
)
