"""In validation the network says something that no model made."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="reference-prediction",
        does="the output of the network is replaced by zeros, ones or noise, to see what the figure says of it",
        title=lambda fields: f"outputs replaced by {fields.get('kind')}",
        script="reference_prediction.script:ReferencePrediction",
        placed=False,
        internal=True,
    ),
)
