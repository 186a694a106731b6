"""Parameters that no optimiser holds join one."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="add-parameters",
        does="parameters with a gradient that no optimiser holds join the one of their network",
        title=lambda fields: "missing parameters given to the optimiser",
        script="add_parameters.script:AddParameters",
        placed=False,
    ),
)
