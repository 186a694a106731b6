"""Temperatures of the prototypes' contrast: the one that was blamed, and the fix that makes prototypes alike."""

from __future__ import annotations

from traindx import Case
from traindx.faults.base import Fault
from traindx.recipes.concepts.case import rebuilt
from traindx.recipes.concepts.prototypes import similarities


def temperature_low(case: Case) -> Case:
    """Temperature .1, as before the document's fix."""
    return rebuilt(case, temperature=0.1)


def temperature_raised(case: Case) -> Case:
    """The document's fix against collapse: temperature .5, and a monitor of the mean over all pairs.

    Nothing keeps the prototypes of a concept apart, as there.
    """
    raised = rebuilt(case, temperature=0.5, separation=0.0)
    return raised.replace(prototypes__monitored=lambda vectors: similarities(vectors.float()).overall)


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="temperature-0.1",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="the prototypes' contrast has temperature .1",
        apply=temperature_low,
        documented_diagnosis="placebo",
        claim="too low: training is unstable and prototypes collapse; .3 is better",
        truth="prototypes of a concept stay apart at .1; it is the higher temperature that makes them alike",
    ),
    Fault(
        name="temperature-raised",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="the temperature is raised to .5 against collapse, and the monitor averages over all pairs",
        apply=temperature_raised,
        expected_rule="R1001",
        documented_diagnosis="harm",
        claim="if prototypes collapse, increase the temperature to 0.5",
        truth="the similarity within concepts rises while the mean over all pairs stays near 0",
    ),
)
