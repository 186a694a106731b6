"""O411 clip-before-unscale."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import ClippingSeen, ScalerSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O411",
    "clip-before-unscale",
    Severity.MAJOR,
    needs=(ClippingSeen,),
    looked_at=requires(
        ScalerSeen,
        lambda scaler, limits: scaler.enabled,
        otherwise="no gradient scaler is in use",
        thing="gradient scaling",
    ),
    scale=Threshold(2.0, "a factor of one would do no harm; scalers start at 65536"),
)
def clip_before_unscale(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Gradients are clipped while they are still multiplied by the gradient scaler's factor.

    What it finds:
        `clip_grad_norm_` between `scaler.scale(loss).backward()` and `scaler.step(optimizer)` without
        `scaler.unscale_(optimizer)` before it.
    Why it stops learning:
        The norm is tens of thousands of times too large, so everything is clipped; after unscaling what is left is
        the limit divided by the scale, practically nothing.
    Evidence it needs:
        ClippingSeen (a watched script).
    How it decides:
        The clip was called on parameters of an optimiser whose gradients were scaled and not unscaled in that
        iteration. `demonstrated`.
    Remedy:
        `scaler.unscale_(optimizer)` right before the clip.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        None known.
    References:
        PyTorch, Automatic Mixed Precision examples, "Gradient clipping".
    """
    for clip in evidence.of(ClippingSeen):
        if not clip.scaled or clip.scale < limits.scale:
            continue
        yield Found(
            message=f"Gradients are clipped to {clip.limit:g} while they are multiplied by {clip.scale:g} "
            f"({clip.scaled} of {clip.calls} times): what is left is clipped to {clip.limit / clip.scale:.1e}.",
            standing=Standing.DEMONSTRATED,
            location=clip.where,
            numbers={"limit": clip.limit, "scale": clip.scale, "calls": clip.calls, "scaled": clip.scaled},
            remedy="Call scaler.unscale_(optimizer) right before this line.",
        )
