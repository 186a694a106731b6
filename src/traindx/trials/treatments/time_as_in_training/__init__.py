"""Sampling with the time coding of training."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="time-as-in-training",
        does="in sampling the network is given time in the coding it had in training",
        case="time_as_in_training.case:time_as_in_training",
        not_in_scripts="it needs to know the network's time argument: describe the sampler in a case",
    ),
)
