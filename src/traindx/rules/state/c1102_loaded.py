"""C1102 partial-load, counted in the network after loading."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.training_state import LoadedWeights
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "C1102",
    "partial-load",
    Severity.CRITICAL,
    needs=(LoadedWeights,),
    looked_at=requires(
        LoadedWeights,
        lambda record, limits: record.offered > 0 and not record.refused,
        otherwise="no weights were loaded",
    ),
    loaded=Threshold(0.3, "of the offered tensors are in the network; an exchanged head leaves over 0.8"),
)
def weights_did_not_arrive(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The case's own loading function takes weights without complaint, and they are not in the network afterwards.

    Tensors of the network that equal an offered one are counted after loading, whatever their names. ``demonstrated``
    where fewer than ``loaded`` of the offered tensors are found and the function did not refuse them.
    """
    for record in evidence.of(LoadedWeights):
        if record.refused or not record.offered or record.arrived >= limits.loaded * record.offered:
            continue
        yield Found(
            message=f"{record.offered} tensors were handed to the loading function, and {record.arrived} of the "
            f"{record.tensors} tensors of {record.network} hold one of them afterwards: the weights did not arrive, "
            "and nothing said so.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"arrived": record.arrived, "offered": record.offered, "changed": record.changed},
            remedy="Compare the names in the file with the network's, count what arrived, and refuse too little.",
        )
