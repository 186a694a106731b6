"""Gradients measured and not clipped."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared, at

TREATMENTS = (
    Declared(
        name="no-clipping",
        does="gradient clipping measures the norm and changes nothing",
        title=lambda fields: f"no gradient clipping{at(fields)}",
        script="no_clipping.script:NoClipping",
    ),
)
