"""L306 clamp-blocks-gradient, where it is the loss of single samples that is clamped."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import ClampSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "L306",
    "clamp-blocks-gradient",
    Severity.MAJOR,
    needs=(ClampSeen,),
    thing="clamps of the losses of single elements",
    cut_calls=Threshold(4, "clamped losses that were looked at; the later half of them decides"),
    cut_share=Threshold(0.01, "of the elements; an odd outlier may be meant to be left out"),
    cut_weight=Threshold(0.4, "of the loss: what is learned would be about these elements in the main"),
)
def losses_of_samples_cut(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The loss of each sample is clamped before it is averaged.

    What lies above the bound has no gradient, and it is what the model is worst at: rare cases are never learned.
    (Clipping the gradient's norm leaves its direction as it is.) `suspected` if, in the later half of at least
    `cut_calls` looks, at least `cut_share` of the elements lie above the bound and hold at least `cut_weight` of the
    loss. A bound that is hardly ever reached, or a truncated loss that cuts a small part, is left alone.
    """
    for clamp in evidence.of(ClampSeen):
        few = clamp.loss_calls < limits.cut_calls or clamp.loss_share < limits.cut_share
        if few or clamp.loss_weight < limits.cut_weight:
            continue
        yield Found(
            variant="losses-cut",
            message=f"The loss of each element is cut at {clamp.high:g} before it is averaged: "
            f"{100 * clamp.loss_share:.0f} % of the elements lie above, hold {100 * clamp.loss_weight:.0f} % of the "
            "loss, and get no gradient at all. They are those the model is worst at.",
            standing=Standing.SUSPECTED,
            location=clamp.where,
            numbers={"share": clamp.loss_share, "weight": clamp.loss_weight, "bound": clamp.high},
            remedy="Clip the norm of the gradient (torch.nn.utils.clip_grad_norm_), or use a loss that grows linearly "
            "far out (smooth_l1_loss, huber_loss).",
        )
