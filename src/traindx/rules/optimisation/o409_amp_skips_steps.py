"""O409 amp-skips-steps."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import ScalerSeen
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O409",
    "amp-skips-steps",
    Severity.CRITICAL,
    needs=(ScalerSeen,),
    looked_at=requires(
        ScalerSeen,
        lambda scaler, limits: scaler.enabled and scaler.steps >= limits.steps,
        otherwise="the gradient scaler is off or took too few steps",
    ),
    share=Threshold(0.3, "share of steps left out; a healthy scaler loses 2 to 8 at the start and one in 2000 after"),
    longest=Threshold(14, "steps left out in a row: from 65536 down to 4 takes 14 halvings"),
    steps=Threshold(10, "steps asked for, so that the start of a scaler decides nothing"),
)
def amp_skips_steps(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The gradient scaler leaves out most optimiser steps, because the gradients overflow.

    What it finds:
        Steps that the script asked for and that never happened.
    Why it stops learning:
        Without steps nothing is learned; the loop runs and the loss is logged all the same.
    Evidence it needs:
        ScalerSeen (a watched script).
    How it decides:
        A step counts as left out if the scaler's `step` returned without the optimiser's own. More than `share` of at
        least `steps`, or `longest` in a row: `demonstrated`.
    Remedy:
        Find what overflows in half precision (a sum, an exponent, a norm) and compute it in float32; call `update()`
        after every step, or the scale is never lowered; start with a smaller `init_scale`; prefer bfloat16.
    Trial it proposes:
        `no-scaling`; where `update()` is missing, the patch that `traindx fix` shows.
    Known false positives:
        None known; the usual skips of the first iterations stay below both limits.
    References:
        Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.2.
    """
    for scaler in evidence.of(ScalerSeen):
        many = scaler.steps >= limits.steps and scaler.skipped >= limits.share * scaler.steps
        if not many and scaler.longest_skip < limits.longest:
            continue
        never_updated = scaler.updates == 0
        scale = scaler.scales[-1] if scaler.scales else float("nan")
        yield Found(
            variant="never-updated" if never_updated else "",
            message=f"The gradient scaler left out {scaler.skipped} of {scaler.steps} optimiser steps because "
            f"gradients were not finite (scale {scale:g})"
            + ("; update() is never called, so the scale stays." if never_updated else "."),
            standing=Standing.DEMONSTRATED,
            location=scaler.where,
            numbers={"skipped": scaler.skipped, "steps": scaler.steps, "longest": scaler.longest_skip, "scale": scale},
            remedy="Call scaler.update() after scaler.step()."
            if never_updated
            else "Compute what overflows in float32, or start with a smaller init_scale, or use bfloat16.",
            proposals=() if never_updated else (Proposal(treatment="no-scaling"),),
        )
