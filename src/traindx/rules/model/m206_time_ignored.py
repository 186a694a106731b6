"""M206 time-ignored."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model import InputEffect
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "M206",
    "time-ignored",
    Severity.MAJOR,
    needs=(InputEffect,),
    looked_at=requires(InputEffect, lambda effect, limits: effect.source == "time", thing="time arguments"),
    nothing=Threshold(1e-7, "below the round-off of float32: the output is the same number for number"),
    least_share=Threshold(1e-4, "of the effect of x_t; healthy fresh networks measured 4e-3 and above"),
)
def time_ignored(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The denoiser answers alike at every timestep.

    What it finds:
        A diffusion network whose output for the same x_t and conditions does not depend on the time it is given.
    Why it stops learning:
        The right answer differs by noise level (for v even in sign). A network that cannot tell has to guess the level
        from the image, and learns a blend.
    Evidence it needs:
        InputEffect of ``time`` (checks *input-effects* and *trained-input-effects*).
    How it decides:
        The output at the same x_t is compared between a noisy and an early timestep, on a fresh network whose
        zero-initialised gates were drawn again. No change at all is `demonstrated`; a change below `least_share` of
        what another x_t does is `suspected`.
    Remedy:
        Follow the time from the call to the embedding: an integer cast after scaling to [0, 1] (always 0), an embedding
        that is computed and not used, or one that saturates.
    Trial it proposes:
        None.
    Known false positives:
        Networks that are blind to the noise level by design.
    References:
        Ho et al., Denoising diffusion probabilistic models, 2020, section 3.3 (time embedding).
    """
    for effect in evidence.of(InputEffect):
        if effect.source != "time":
            continue
        exact = effect.effect <= max(limits.nothing, effect.noise)
        if not exact and effect.effect >= limits.least_share * effect.reference:
            continue
        yield Found(
            message="The network answers alike at every timestep: the same x_t at a noisy and an early time gives "
            f"outputs that differ by {effect.effect:.1e} of their spread (another x_t: {effect.reference:.2g}).",
            standing=Standing.DEMONSTRATED if exact else Standing.SUSPECTED,
            location=effect.where,
            numbers={"effect": effect.effect, "effect_of_x_t": effect.reference, "trained": effect.trained},
            remedy="Follow the time argument to the embedding; look for an integer cast after scaling to [0, 1], and "
            "for an embedding that is computed but not used.",
        )
        return
