"""P602: rendered images are normalised by their own, or by their batch's, minimum and maximum."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.projection import SampleCoupling
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "P602",
    "per-sample-normalised",
    Severity.MAJOR,
    needs=(SampleCoupling,),
    scale=Threshold(1e-3, "doubling changes a physical image by its contrast or more, a normalised one by round-off"),
    neighbour=Threshold(1e-4, "the image of one patient must not depend on another; round-off is below 1e-6"),
)
def per_sample_normalised(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        A renderer that scales every image (or every batch) to a fixed range, such as
        ``(drr - drr.min()) / (drr.max() - drr.min())``.

    Why it stops learning:
        The loss becomes blind to the scale of attenuation: a volume with twice the density renders the same image, so
        the only thing radiographs can tell about Hounsfield units is thrown away. Normalised by batch, the target of
        one patient depends on who sits beside it.

    Evidence it needs:
        ``Case.projection.render``, and ``from_mu`` for an exact phantom.

    How it decides:
        Change of the image, in units of its contrast, below ``scale`` when attenuation is doubled everywhere, or above
        ``neighbour`` when only the other volume of the batch changes. Both must hold, so both are demonstrations.

    Remedy:
        Map line integrals to network values with one fixed affine map for all patients and views.

    Trial it proposes:
        ``projection``, where the case offers a reference renderer.

    Known false positives:
        None known for a physics loss. A renderer that is used for display only does not belong in ``Case.projection``.

    References:
        Milickovic et al., "CT imaging based digitally reconstructed radiographs", Phys Med Biol 45:2787 (2000).
    """
    for record in evidence.of(SampleCoupling):
        invariant = record.scaled_change < limits.scale
        coupled = record.neighbour_change > limits.neighbour
        if not (invariant or coupled):
            continue
        how = (
            f"doubling the attenuation changes the {record.view} image by {100 * record.scaled_change:.2g} % of its "
            "contrast (expected 100 % or more)"
            if invariant
            else f"changing only the second volume changes the first {record.view} image by "
            f"{100 * record.neighbour_change:.2g} % (expected 0)"
        )
        yield Found(
            message=f"Rendered radiographs are normalised {'per sample' if invariant else 'per batch'}: {how}; "
            f"pixels of a real target span [{record.lowest:.3g}, {record.highest:.3g}].",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={
                "change_at_double_attenuation": record.scaled_change,
                "change_by_neighbour": record.neighbour_change,
                "lowest": record.lowest,
                "highest": record.highest,
            },
            remedy="Remove the per-image scaling; use one fixed affine map of the line integral for all images.",
            proposals=(Proposal(treatment="projection"),),
        )
        return
