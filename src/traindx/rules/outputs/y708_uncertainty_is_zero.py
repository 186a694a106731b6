"""Y708 uncertainty-is-zero."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model_in_use import UncertaintySeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "Y708",
    "uncertainty-is-zero",
    Severity.MAJOR,
    needs=(UncertaintySeen,),
    largest=Threshold(0.0, "repeated draws that differ in anything have a spread above 0"),
)
def uncertainty_is_zero(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The uncertainty that is reported is exactly zero everywhere.

    What it finds:
        Repeated predictions that are one: dropout in a network that has none or is in evaluation mode, or sampling
        that starts from the same noise every time.
    Why it stops learning:
        It does not; but a map that is zero says that the model is sure of everything.
    Evidence it needs:
        UncertaintySeen (check *uncertainty*): ``Case.deployment.uncertainty``.
    How it decides:
        The case's own method is applied to one batch, with an untrained network whose gates are reinitialised. A map
        that is nowhere above `largest`: `demonstrated`.
    Remedy:
        Draw other noise for each sample, or keep the stochastic layers of the network active.
    Trial it proposes:
        None; it concerns no training.
    Known false positives:
        A network that is deterministic on purpose should report no uncertainty at all.
    References:
        Gal and Ghahramani, Dropout as a Bayesian approximation, 2016.
    """
    for seen in evidence.of(UncertaintySeen):
        if seen.largest > limits.largest:
            continue
        yield Found(
            message=f"The uncertainty is exactly 0 in all of {seen.pixels} pixels: the repeated predictions are one "
            "and the same.",
            standing=Standing.DEMONSTRATED,
            location=seen.where,
            numbers={"largest": seen.largest, "pixels": seen.pixels},
            remedy="Draw new noise for every sample; do not reset the seed between them.",
        )
