"""Weights that do not fit by name, loaded by shape and order."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared, at

TREATMENTS = (
    Declared(
        name="remap-keys",
        does="weights that fit no name are loaded under the names that agree but for a prefix, or in shape and order",
        title=lambda fields: f"weights loaded{at(fields)} under other names",
        script="remap_keys.script:RemapKeys",
    ),
)
