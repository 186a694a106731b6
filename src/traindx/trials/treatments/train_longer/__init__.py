"""More optimiser steps."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared

TREATMENTS = (
    Declared(
        name="train-longer",
        does="more optimiser steps, with the schedule of the learning rate stretched to them",
        case="train_longer.case:train_longer",
        not_in_scripts="a script says itself how long it trains",
    ),
)
