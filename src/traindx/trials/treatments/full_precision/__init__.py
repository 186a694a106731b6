"""Mixed precision switched off."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="full-precision",
        does="regions of mixed precision compute in the precision of their tensors",
        title=lambda fields: "float32 instead of mixed precision",
        script="full_precision.script:FullPrecision",
    ),
)
