"""D113 label-values-undeclared, for a case that says what its label values mean."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.labels import BatchLabels, UnlabelledGradient
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D113",
    "label-values-undeclared",
    Severity.CRITICAL,
    needs=(BatchLabels,),
    leak=Threshold(
        0.01,
        "of the gradient of a labelled voxel; a masked loss has exactly 0, a term that pools over a "
        "neighbourhood reaches one voxel beyond the mask",
    ),
)
def unlabelled_is_trained(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Batches hold values that the case does not declare, or the loss trains on what it declares as not labelled.

    Both are ``demonstrated``: an undeclared value is there or not, and the gradient of the loss at an unlabelled voxel
    must be zero. The trial is ``ignore-value``.
    """
    for record in evidence.of(BatchLabels):
        known = {*record.declared, *record.ignored}
        strange = [entry for entry in record.values if entry.value not in known]
        declared = f"{_list(record.declared)} are classes" + (
            f", {_list(record.ignored)} is not labelled" if record.ignored else ""
        )
        if record.fractional:
            yield Found(
                message=f"{record.fractional:.1%} of the voxels in training label maps hold fractions such as "
                f"{_list(record.fractional_examples[:3])}: label maps were interpolated, and rounding invents classes "
                "between two others.",
                standing=Standing.DEMONSTRATED,
                location=record.where,
                numbers={"fractional_share": record.fractional, "maps": record.maps},
                remedy="Resample label maps with nearest neighbour, and store them as integers.",
            )
        elif strange:
            most = max(strange, key=lambda entry: entry.share)
            yield Found(
                message=f"Training label maps hold {_list([e.value for e in strange[:4]])} "
                f"({sum(e.share for e in strange):.1%} of the voxels), which nobody declared: {declared}.",
                standing=Standing.DEMONSTRATED,
                location=record.where,
                numbers={f"share_of_{entry.value:g}": entry.share for entry in strange[:6]},
                remedy="Map 255 to 1 on loading, or declare what the value means."
                if most.value == 255
                else "Declare the value, map it to a class, or mask it out of every loss and metric.",
                proposals=(Proposal(treatment="ignore-value", parameters={"value": most.value}),),
            )
    leaks = [one for one in evidence.of(UnlabelledGradient) if one.unlabelled > limits.leak * one.labelled]
    total = next((one for one in leaks if one.term == "total"), None)
    worst = total or max(leaks, key=lambda one: one.unlabelled, default=None)
    labels = evidence.last(BatchLabels)
    if worst is None or labels is None:
        return
    terms = {one.term for one in evidence.of(UnlabelledGradient)} - {"total"}
    named = {one.term for one in leaks} - {"total"}
    who = f"The loss term {min(named)!r}" if len(named) == 1 and len(terms) > 1 else "The loss"
    ratio = worst.unlabelled / worst.labelled if worst.labelled else float("inf")
    yield Found(
        message=f"{who} trains on the {worst.share:.0%} of the voxels that are declared as not labelled (value "
        f"{_list(labels.ignored)}): its gradient there is {ratio:.2g} times that of a labelled voxel, where it must "
        f"be 0, and {_pushes(worst)}.",
        standing=Standing.DEMONSTRATED,
        location=worst.where,
        numbers={
            "unlabelled_share": worst.share,
            "gradient_ratio": ratio,
            "pushes_to_channel": worst.channel,
            "agreement": worst.agreement,
        },
        remedy="Mask these voxels out of every loss term (ignore_index, or multiply by label != value).",
        proposals=(Proposal(treatment="ignore-value", parameters={"value": labels.ignored[0]}),),
    )


def _pushes(record: UnlabelledGradient) -> str:
    if record.agreement < 0.8:
        return "pushes both ways"
    if record.channels == 1:
        return "pushes towards " + ("background" if record.channel < 0 else "foreground")
    return f"pushes towards output channel {record.channel}"


def _list(values: tuple[float, ...] | list[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
