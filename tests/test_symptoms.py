"""Symptoms: a loss that is that of a guess, and one that is far worse in evaluation than in training."""

from __future__ import annotations

import math

import pytest

from traindx.evidence import Evidence
from traindx.evidence.observed import IterationsSeen
from traindx.evidence.observed_loss import LossCall
from traindx.host.symptoms import symptoms


def evidence(*calls, iterations=300):
    log = Evidence()
    log.add(IterationsSeen(iterations=iterations, watched=20, seconds=1.0, driven_by="optimiser"))
    for one in calls:
        log.add(one)
    return log


def call(end, *, phase="training", function="cross_entropy", classes=4, **more):
    return LossCall(function=function, phase=phase, classes=classes, values=tuple([1.5] * 20 + [end] * 5), **more)


def test_a_loss_that_stays_that_of_a_guess():
    (said,) = symptoms(evidence(call(math.log(4))))
    assert "a guess among 4 classes has 1.39" in said
    assert symptoms(evidence(call(1.2))) == ()
    assert symptoms(evidence(call(math.log(4)), iterations=40)) == ()  # it has only begun
    assert symptoms(evidence(call(math.log(4), weighted=True))) == ()  # what a guess would have is not known


@pytest.mark.parametrize(("share", "end", "said"), [(0.1, 0.325, 1), (0.1, 0.29, 0), (0.5, 0.6931, 1)])
def test_a_guess_at_one_class_is_the_entropy_of_its_share(share, end, said):
    one = call(
        end, function="binary_cross_entropy_with_logits", classes=0, target_values=(0.0, 1.0),
        target_share=(1 - share, share),
    )  # fmt: skip
    assert len(symptoms(evidence(one))) == said


def test_an_evaluation_that_is_far_worse_than_a_guess_while_training_fits():
    (said,) = symptoms(evidence(call(0.1), call(3.0, phase="evaluation")))
    assert "ends at 3 in evaluation" in said
    assert symptoms(evidence(call(0.1), call(1.6, phase="evaluation"))) == ()  # no better than a guess: overfitting
    assert symptoms(evidence(call(1.0), call(3.0, phase="evaluation"))) == ()  # does not fit the training either
