"""No scaling of gradients."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="no-scaling",
        does="gradient scalers are made switched off, so that no step is left out",
        title=lambda fields: "gradients not scaled",
        script="no_scaling.script:NoScaling",
        placed=False,
    ),
)
