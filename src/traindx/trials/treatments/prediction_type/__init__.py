"""The sampler reads the output as what it is trained to be."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="prediction-type",
        does="the sampler reads the network's output as what it is trained to predict",
        case="prediction_type.case:prediction_type",
        not_in_scripts="it needs to know the noise schedule: describe the sampler in a case",
    ),
)
