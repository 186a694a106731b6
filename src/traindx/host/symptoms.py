"""Symptoms of a watched training: figures that a sound one does not have. They name no cause, and no line is accused.

They are there so that *nothing found* does not sound like health: a training whose loss is that of a guess has a fault
that no rule saw, or has only begun.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from traindx.evidence import Evidence
from traindx.evidence.observed import IterationsSeen
from traindx.evidence.observed_loss import LossCall

GUESS = 0.97  # of the loss of a guess; after a few hundred steps a network that learns is below
WORSE = 1.5  # times the loss of a guess: the network is sure, and wrong
FITS = 0.5  # of the loss of a guess, on what was trained on
MIN_STEPS = 100
MIN_CALLS = 5
BINARY = (0.0, 1.0)


def symptoms(evidence: Evidence) -> tuple[str, ...]:
    """Each as a clause without a full stop, most telling first."""
    seen = evidence.last(IterationsSeen)
    if seen is None or seen.iterations < MIN_STEPS:
        return ()
    return tuple(dict.fromkeys((*_at_chance(evidence), *_unlike_training(evidence))))


def _at_chance(evidence: Evidence) -> Iterator[str]:
    for call in evidence.of(LossCall):
        guess = loss_of_a_guess(call)
        if call.phase != "training" or guess is None or len(call.values) < MIN_CALLS:
            continue
        last = _end(call.values)
        if last >= GUESS * guess:
            yield (
                f"the {call.function} at {call.where} ends at {last:.3g}, and {_whose(call)} has {guess:.3g}: "
                "nothing was learned from it so far"
            )


def _unlike_training(evidence: Evidence) -> Iterator[str]:
    calls = [one for one in evidence.of(LossCall) if loss_of_a_guess(one) is not None and one.values]
    for call in calls:
        guess = loss_of_a_guess(call)
        if call.phase != "evaluation" or guess is None or _end(call.values) < WORSE * guess:
            continue
        fits = [
            one
            for one in calls
            if one.phase == "training" and one.classes == call.classes and one.function == call.function
            and len(one.values) >= MIN_CALLS and _end(one.values) < FITS * guess
        ]  # fmt: skip
        if fits:
            yield (
                f"the {call.function} at {call.where} ends at {_end(call.values):.3g} in evaluation, where "
                f"{_whose(call)} has {guess:.3g}, and at {_end(fits[0].values):.3g} in training"
            )


def loss_of_a_guess(call: LossCall) -> float | None:
    """The loss of an answer that looks at no input; None where it is not known in advance."""
    if call.reduction != "mean" or call.weighted:
        return None
    if call.function in ("cross_entropy", "nll_loss") and call.classes > 1:
        return math.log(call.classes)
    if call.function.startswith("binary_cross_entropy") and tuple(call.target_values) == BINARY and call.target_share:
        share = call.target_share[1]
        return -share * math.log(share) - (1 - share) * math.log(1 - share) if 0 < share < 1 else None
    return None


def _whose(call: LossCall) -> str:
    if call.classes > 1:
        return f"a guess among {call.classes} classes"
    return "an answer that is always the share of positives"


def _end(values: Sequence[float]) -> float:
    """Mean of the last fifth."""
    return fmean(values[-max(1, len(values) // 5) :])
