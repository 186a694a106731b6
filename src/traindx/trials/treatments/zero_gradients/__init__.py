"""Gradients cleared before the backward pass."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared, at

TREATMENTS = (
    Declared(
        name="zero-gradients",
        does="gradients are cleared before the backward pass, once after every step",
        title=lambda fields: f"gradients cleared before backward{at(fields)}",
        script="zero_gradients.script:ZeroGradients",
    ),
)
