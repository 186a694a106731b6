"""C1102 partial-load, for a network that is used right after: part of it is still random."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import WeightsLoaded
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "C1102",
    "partial-load",
    Severity.CRITICAL,
    needs=(WeightsLoaded,),
    looked_at=requires(
        WeightsLoaded, lambda load, limits: not load.strict and not load.trained, thing="weights loaded for use"
    ),
    drawn_share=Threshold(0.25, "of the network's tensors; a head that features are taken before is less"),
    trained_before=Threshold(20, "iterations before the load: a training has ended, and what it made is loaded"),
)
def used_as_drawn(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A network that is only used after a load with `strict=False`, and whose other weights come from nowhere.

    After at least `trained_before` iterations weights are loaded into a network that the script has constructed and
    does not train; `drawn_share` of its tensors are weights that the load leaves out, that no other load has filled,
    and that no optimiser holds. `suspected`: a constructor may set them itself. A checkpoint that was written of the
    trainable weights alone is the usual cause.
    """
    for load in evidence.of(WeightsLoaded):
        if load.strict or load.trained or not load.made_here or load.iteration < limits.trained_before:
            continue
        if not load.matched or load.unexpected or load.as_drawn < max(1.0, limits.drawn_share * load.tensors):
            continue
        name = load.examples_missing[0] if load.examples_missing else ""
        yield Found(
            variant="used-as-drawn",
            message=f"load_state_dict(strict=False) leaves out {load.as_drawn} weights of {load.network} ({name} and "
            "others), no other load and no training fills them, and the network is used: they are as they were drawn.",
            location=load.where,
            numbers={"as_drawn": load.as_drawn, "tensors": load.tensors, "matched": load.matched},
            remedy="Save the whole state_dict(), frozen weights and buffers included, and load it with strict=True.",
        )
