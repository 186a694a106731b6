"""C1102 partial-load, where loaded weights are written over before the training begins."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import WeightsLoaded
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "C1102",
    "partial-load",
    Severity.CRITICAL,
    needs=(WeightsLoaded,),
    looked_at=requires(WeightsLoaded, lambda load, limits: load.weights > 0, thing="weights loaded before a training"),
    undone=Threshold(0.5, "of the loaded weights; a new head, or one layer that is widened, is far below"),
    fewest=Threshold(3, "weights; fewer are a head or a table, not a network"),
)
def loaded_weights_are_written_over(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Weights are loaded, and something writes over them before the first backward pass that follows.

    Parameters that a load filled are read again right before the next backward pass. `demonstrated` where `undone` of
    them, `fewest` at least, have other values by then, no other load came in between, and no coarser number format
    explains it: an initialisation that runs after the load, or a network that is reset.
    """
    for load in evidence.of(WeightsLoaded):
        if load.weights < limits.fewest or load.undone < limits.undone * load.weights or load.undone < limits.fewest:
            continue
        yield Found(
            variant="undone",
            message=f"{load.undone} of the {load.weights} weights of {load.network} that are loaded here have other "
            "values before the first backward pass: something writes over them, an initialisation as a rule.",
            standing=Standing.DEMONSTRATED,
            location=load.where,
            numbers={"weights": load.weights, "undone": load.undone},
            remedy="Load the weights last: after init functions, reset_parameters() and apply().",
        )
