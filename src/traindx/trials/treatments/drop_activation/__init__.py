"""A sigmoid or softmax at a line becomes the identity."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared, at

TREATMENTS = (
    Declared(
        name="drop-activation",
        does="a sigmoid or softmax is left out; where a loss applies it anyway, in training only",
        title=lambda fields: f"activation{at(fields)} taken out",
        script="drop_activation.script:DropActivation",
    ),
)
