"""Running statistics of a teacher or an average, copied from the network that it follows."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="copy-statistics",
        does="a copy of the network (a teacher, an average) takes its running statistics before it is called",
        title=lambda fields: "running statistics copied with the weights",
        script="copy_statistics.script:CopyStatistics",
        placed=False,
    ),
)
