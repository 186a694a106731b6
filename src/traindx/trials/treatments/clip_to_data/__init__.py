"""The sampler clips x0 to the range of the data."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="clip-to-data",
        does="the sampler clips x0 to the range of the data",
        case="clip_to_data.case:clip_to_data",
        not_in_scripts="it needs to know the sampler: describe it in a case",
    ),
)
