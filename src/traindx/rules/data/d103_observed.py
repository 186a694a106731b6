"""D103 not-finite, seen in the batches and inputs of a watched script."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import InputSeen, LossSeries
from traindx.evidence.observed_state import LoaderSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("D103", "not-finite", Severity.CRITICAL, needs=(InputSeen,))
def batches_not_finite(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A batch holds NaN or infinity when it leaves the data loader, or when a network gets it.

    Placed at the ``__getitem__`` of the data set, if that is the user's own, else at the network's call. Where every
    loss is finite and no network is given such a value, the script leaves it out: NaN for a finding that nobody looked
    for is what label files of chest radiographs hold.
    """
    places: set[str] = set()
    losses, inputs = evidence.of(LossSeries), evidence.of(InputSeen)
    left_out = (
        bool(losses and inputs)
        and all(one.first_nonfinite < 0 for one in losses)
        and not any(one.nonfinite for one in inputs)
    )
    for loader in evidence.of(LoaderSeen) if not left_out else ():
        place = str(loader.item or loader.where)
        if loader.nonfinite and place not in places:
            places.add(place)
            yield Found(
                message=f"{loader.nonfinite} of {loader.looked_at} batches of {loader.dataset} that were looked at "
                f"hold values that are not finite ({loader.nonfinite_key}).",
                standing=Standing.DEMONSTRATED,
                location=loader.item or loader.where,
                numbers={"batches": loader.nonfinite, "looked_at": loader.looked_at, "key": loader.nonfinite_key},
                remedy="Look for a division by a standard deviation of 0, a logarithm of 0, or gaps in the files.",
            )
    for seen in inputs:
        if seen.nonfinite and not places:
            places.add(str(seen.where))
            yield Found(
                message=f"{seen.network} gets an input (argument {seen.argument}) with values that are not finite.",
                standing=Standing.DEMONSTRATED,
                location=seen.where,
                numbers={"values": seen.nonfinite, "argument": seen.argument},
                remedy="Look for a division by a standard deviation of 0, a logarithm of 0, or gaps in the files.",
            )
