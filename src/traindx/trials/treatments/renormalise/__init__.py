"""One channel of an input in the range of another one."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="renormalise",
        does="one channel of a network's input is brought to the range that another one was seen to have",
        title=lambda fields: f"channel {fields.get('channel')} brought to the range of the others",
        script="renormalise.script:Renormalise",
        fields="renormalise.host:fields",
        placed=False,
    ),
)
