"""Generic treatments: they need nothing from the author of the case but its description. One subject a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from traindx.trials.treatments.clip_to_data import clip_to_data
from traindx.trials.treatments.full_resolution_skip import full_resolution_skip
from traindx.trials.treatments.learning_rate import learning_rate
from traindx.trials.treatments.prediction_type import prediction_type
from traindx.trials.treatments.reference_sampler import reference_sampler
from traindx.trials.treatments.reference_schedule import reference_schedule
from traindx.trials.treatments.sampling_time import time_as_in_training
from traindx.trials.treatments.terms import drop_term, flip_term, reweight_term
from traindx.trials.treatments.train_longer import train_longer
from traindx.trials.treatments.unclamp import unclamp

if TYPE_CHECKING:
    from traindx.case import Case
    from traindx.trials.treatment import Treatment

GENERIC: Mapping[str, Callable[[Mapping[str, Any], Case], Treatment]] = {
    "reference-sampler": reference_sampler,
    "time-as-in-training": time_as_in_training,
    "full-resolution-skip": full_resolution_skip,
    "unclamp": unclamp,
    "learning-rate": learning_rate,
    "train-longer": train_longer,
    "drop-term": drop_term,
    "flip-term": flip_term,
    "reweight-term": reweight_term,
    "clip-to-data": clip_to_data,
    "reference-schedule": reference_schedule,
    "prediction-type": prediction_type,
}
