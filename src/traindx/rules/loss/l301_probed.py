"""L301 loss-prefers-worse, from what the loss of a running script makes of better and worse outputs."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import OrderProbed
from traindx.finding import Location, Severity, Standing
from traindx.rules.base import Found, Limits, Nothing, Threshold, rule


def too_few_orders(evidence: Evidence, limits: Limits) -> Nothing | None:
    """No line at which enough passes could be judged."""
    if any(_judged(records, limits) for records in _by_place(evidence).values()):
        return None
    return Nothing("no loss could be given a perfect and a wrong output in several passes of a single optimiser")


@rule(
    "L301",
    "loss-prefers-worse",
    Severity.CRITICAL,
    needs=(OrderProbed,),
    looked_at=too_few_orders,
    order_looks=Threshold(2, "backward passes that agree"),
    order_margin=Threshold(1e-3, "of the larger of the two losses; round-off is below 1e-5"),
)
def loss_prefers_another_sample(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The loss of a running script is lower for another sample's target than for the right one.

    The output of the network is replaced by one that says exactly what the target says, and by one that says what
    another sample's target says, and the script's own operations give the loss of each. If the right one costs more
    than the network's own output and more than the wrong one, by `order_margin`, in all of at least `order_looks`
    passes, it is `demonstrated`. Losses weighted by signed tensors (advantages) and scripts with several optimisers
    (adversaries) are not judged.
    """
    for (where, function), records in _by_place(evidence).items():
        if not _judged(records, limits) or not all(_worse(one, limits.order_margin) for one in records):
            continue
        one = records[-1]
        yield Found(
            variant="prefers-another-sample",
            message=f"The loss prefers worse: for an output that says what the target says it is {one.perfect:.3g}, "
            f"for one that says what another sample's target says {one.shuffled:.3g} (the network's own: "
            f"{one.actual:.3g}).",
            standing=Standing.DEMONSTRATED,
            location=where,
            numbers={"perfect": one.perfect, "shuffled": one.shuffled, "actual": one.actual, "function": function},
            remedy="Look for a wrong sign (a similarity that is minimised, 1 + dice), and for targets that were put in "
            "another order than the inputs.",
        )


def _by_place(evidence: Evidence) -> dict[tuple[Location | None, str], list[OrderProbed]]:
    places: dict[tuple[Location | None, str], list[OrderProbed]] = {}
    for record in evidence.of(OrderProbed):
        places.setdefault((record.where, record.function), []).append(record)
    return places


def _judged(records: list[OrderProbed], limits: Limits) -> bool:
    return len(records) >= limits.order_looks and not any(one.signed or not one.alone for one in records)


def _worse(one: OrderProbed, margin: float) -> bool:
    larger = max(abs(one.perfect), abs(one.shuffled))
    return one.perfect - one.shuffled > margin * larger and one.perfect > one.actual
