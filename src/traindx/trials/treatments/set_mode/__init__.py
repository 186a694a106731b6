"""A network called in the right mode."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared, at

TREATMENTS = (
    Declared(
        name="set-mode",
        does="a network is called in training or evaluation mode",
        title=lambda fields: f"network called{at(fields)} in {fields.get('mode')} mode",
        script="set_mode.script:SetMode",
    ),
)
