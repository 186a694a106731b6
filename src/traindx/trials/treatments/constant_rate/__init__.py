"""The learning rate kept where it was set."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="constant-rate",
        does="every step is taken at the rate that the optimiser was given, whatever schedules say",
        title=lambda fields: "constant learning rate",
        script="constant_rate.script:ConstantRate",
    ),
)
