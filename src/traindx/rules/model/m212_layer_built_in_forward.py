"""M212 layer-built-in-forward."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import LayerBuiltInCall
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "M212",
    "layer-built-in-forward",
    Severity.CRITICAL,
    needs=(LayerBuiltInCall,),
    thing="layers that are built while a network is called",
    looked_at=requires(
        LayerBuiltInCall,
        lambda one, limits: min(one.calls, one.iterations) >= limits.built_calls,
        thing="layers that are built while a network is called",
    ),
    built_calls=Threshold(2, "calls that each made a layer of their own; one may be a layer that is built late"),
)
def layer_built_in_forward(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A layer is constructed in `forward`, with new random weights at every call.

    What it finds:
        ``nn.Conv2d(...)(x)`` in `forward`: a layer that no module keeps, so that no optimiser holds it, no checkpoint
        stores it, and every call draws it anew.
    Why it stops learning:
        The layers behind it get other features at every step; validation gets others again.
    Evidence it needs:
        LayerBuiltInCall (a watched script).
    How it decides:
        A module with parameters is constructed and called during a call of a network that does not own it afterwards,
        in at least `built_calls` calls. `demonstrated`.
    Remedy:
        Construct it in `__init__` and assign it to `self`.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A generated network whose weights are overwritten right after it was built (hypernetworks).
    References:
        PyTorch documentation of `torch.nn.Module`.
    """
    for record in evidence.of(LayerBuiltInCall):
        if record.calls < limits.built_calls or record.iterations < limits.built_calls:
            continue
        yield Found(
            variant="built-in-forward",
            message=f"{record.network} constructs a {record.layer} while it is called ({record.calls} times so "
            "far): every call draws new random weights, and no optimiser or checkpoint holds them.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"calls": record.calls, "iterations": record.iterations},
            remedy=f"Construct the {record.layer} in __init__ and assign it to self.",
        )
