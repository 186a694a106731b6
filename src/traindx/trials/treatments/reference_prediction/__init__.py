"""In validation the network says something that no model made."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="reference-prediction",
        does="the network says noise, zeros, ones or a target in validation, to see what the figure says of it",
        title=lambda fields: "fixed outputs in validation",
        script="reference_prediction.script:ReferencePrediction",
        placed=False,
        internal=True,
    ),
)
