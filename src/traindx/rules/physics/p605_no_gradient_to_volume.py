"""P605: the physics loss cannot reach the volume."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.projection import ProjectionGradient
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "P605",
    "no-gradient-to-volume",
    Severity.MAJOR,
    needs=(ProjectionGradient,),
    share=Threshold(0.5, "rays cross every voxel of the central half; a coarse detector reaches 0.9"),
)
def no_gradient_to_volume(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        A renderer that is cut off from its volume (``detach``, numpy, ``no_grad``), that gives gradients to few voxels,
        or gives gradients that are not finite.

    Why it stops learning:
        The physics loss is computed, logged and added, and changes nothing.

    Evidence it needs:
        ``Case.projection.render`` and real targets.

    How it decides:
        No autograd connection, or less than ``share`` of the voxels in the central half of the volume with a
        gradient, or any value that is not finite.

    Remedy:
        Keep the whole path in torch; nanodrr, for example, gives a gradient to every voxel on a ray.

    Trial it proposes:
        ``projection``, where the case offers a reference renderer.

    Known false positives:
        Maximum-intensity projections reach one voxel a ray by design.

    References:
        Gopalakrishnan and Golland, "Fast auto-differentiable digitally reconstructed radiographs", CLIP (2022).
    """
    for record in evidence.of(ProjectionGradient):
        if record.connected and record.finite and record.share >= limits.share:
            continue
        if not record.connected:
            what = "no gradient at all: the image is cut off from the volume"
        elif not record.finite:
            what = "gradients that are not finite"
        else:
            what = f"a gradient to only {100 * record.share:.0f} % of the central voxels"
        yield Found(
            message=f"The {record.view} renderer gives {what}.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"share_of_central_voxels": record.share, "connected": record.connected, "finite": record.finite},
            remedy="Keep the volume a torch tensor with its graph from the network to the rendered image.",
            proposals=(Proposal(treatment="projection"),),
        )
        return
