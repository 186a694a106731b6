"""Another value for an argument, or for a key of a configuration file that is among the arguments."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="set-argument",
        does="an argument, or a key of a configuration file, gets the value that the user names",
        title=lambda fields: f"{fields.get('name', 'a setting')} set to {fields.get('value', '')}",
        script="set_argument.script:SetArgument",
    ),
)
