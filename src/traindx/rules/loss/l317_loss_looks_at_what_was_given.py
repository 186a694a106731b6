"""L317 loss-looks-at-what-was-given."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import GivenProbed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L317",
    "loss-looks-at-what-was-given",
    Severity.CRITICAL,
    needs=(GivenProbed,),
    thing="losses that leave out parts of an output",
    looked_at=requires(
        GivenProbed, lambda one, limits: one.ignored > 0, thing="losses that leave out parts of an output", least=2
    ),
    given_looks=Threshold(2, "backward passes that agree"),
    repeated=Threshold(1e-3, "of the loss: what is left of it if the output repeats the input"),
)
def loss_looks_at_what_was_given(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Parts of the input are hidden, and the loss asks only for the parts that were not.

    What it finds:
        Masked pre-training or inpainting whose loss is multiplied by the mask of the visible region instead of the
        hidden one (a mask that means "keep" in one place and "drop" in the other).
    Why it stops learning:
        Repeating the input gives a loss of zero; nothing has to be found out.
    Evidence it needs:
        GivenProbed (a watched script that reads its batches from a loader).
    How it decides:
        In at least `given_looks` backward passes the gradient at the output is zero exactly where the input was
        replaced by one single value, the loader's batch holds other values there, and an output that repeats the input
        costs less than `repeated` of the loss. A region that the batch itself brings as a mask (a brain, a field of
        view) is left alone. `demonstrated`.
    Remedy:
        Multiply by the other mask: the loss belongs where the input was hidden.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A background that the script itself blanks by a rule and does not want to be predicted.
    References:
        He et al., Masked autoencoders are scalable vision learners, CVPR 2022, section 3: the loss is computed on
        masked patches only.
    """
    by_network: dict[str, list[GivenProbed]] = {}
    for record in evidence.of(GivenProbed):
        by_network.setdefault(record.network, []).append(record)
    for network, records in by_network.items():
        given = [
            one
            for one in records
            if one.blanked and one.known and not one.told and one.identity <= limits.repeated * abs(one.actual)
        ]
        if len(given) < limits.given_looks or len(given) < len(records):
            continue
        one = given[-1]
        yield Found(
            variant="visible-instead-of-hidden",
            message=f"The loss asks {network} only for what it was given: {100 * one.blanked:.0f} % of the input are "
            "hidden, and exactly there the loss has no gradient. Repeating the input would cost "
            f"{one.identity:.2g} instead of {one.actual:.3g}.",
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"hidden": one.blanked, "loss": one.actual, "loss_of_repeating": one.identity},
            remedy="Use the mask of the hidden region in the loss.",
        )
