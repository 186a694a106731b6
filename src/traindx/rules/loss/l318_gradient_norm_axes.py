"""L318 gradient-norm-over-some-axes."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_calls import GradientNormSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L318",
    "gradient-norm-over-some-axes",
    Severity.MAJOR,
    needs=(GradientNormSeen,),
    looked_at=requires(
        GradientNormSeen,
        lambda norm, limits: norm.calls >= limits.calls,
        otherwise="too few calls of the kind were watched",
    ),
    calls=Threshold(2, "calls; the axes are those of the line, not of a draw"),
)
def gradient_norm_over_some_axes(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A gradient penalty takes the norm of every pixel's gradient instead of every sample's.

    What it finds:
        `gradient.norm(2, dim=1)` of an image's gradient ``[B, C, H, W]``: the norm over channels alone.
    Why it stops learning:
        A critic is 1-Lipschitz if the gradient of its one number by the whole sample has norm 1. Pulled to 1 at each
        of N pixels, the sample's norm is pulled to the square root of N.
    Evidence it needs:
        GradientNormSeen (a watched script).
    How it decides:
        The differentiated output has one number a sample, the gradient is to be differentiated again, and its norm
        leaves more than one element of a sample apart. `demonstrated`.
    Remedy:
        Flatten all axes but the first before the norm.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        None known; a network of single points has outputs for each point, and is left alone.
    References:
        Gulrajani et al. 2017, Improved Training of Wasserstein GANs, equation 3.
    """
    for norm in evidence.of(GradientNormSeen):
        if norm.calls < limits.calls or norm.left < 2 or not norm.per_sample or not norm.graph:
            continue
        yield Found(
            message=f"The norm of a gradient of shape {list(norm.shape)} runs over axes {list(norm.axes)} alone: each "
            f"sample has {norm.left} norms where its one output has one: a penalty that pulls each to 1 pulls the "
            f"sample's to {norm.left**0.5:.3g}.",
            standing=Standing.DEMONSTRATED,
            location=norm.where,
            numbers={"left": norm.left, "calls": norm.calls},
            remedy="Take the norm of the flattened gradient: gradient.flatten(1).norm(2, dim=1).",
        )
