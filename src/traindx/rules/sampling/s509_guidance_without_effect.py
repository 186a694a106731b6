"""S509 guidance-without-effect."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model_in_use import GuidanceEffect
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "S509",
    "guidance-without-effect",
    Severity.MAJOR,
    needs=(GuidanceEffect,),
    looked_at=requires(GuidanceEffect, lambda seen, limits: seen.scale != 0, otherwise="guidance is switched off"),
    change=Threshold(1e-3, "of the spread of the samples: less than a grey level of 8-bit pictures"),
    gradient=Threshold(1e-12, "below it there is nothing to follow, and no step size would help"),
)
def guidance_without_effect(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Guidance is switched on and changes nothing.

    What it finds:
        A guided sampler whose output is that of the unguided one: a raw gradient of 1e-5 times a step of 0.1.
    Why it stops learning:
        It does not; but the samples are not steered, and any comparison of guidance strengths compares noise.
    Evidence it needs:
        GuidanceEffect (check *guidance*): ``Case.guidance``.
    How it decides:
        The same noise is sampled with and without guidance. The change is below `change` of the spread of the samples
        although the energy has a gradient there (above `gradient`): `demonstrated`. Without a gradient the energy
        itself is dead: `demonstrated` too, in other words.
    Remedy:
        Normalise the step: divide the gradient by its root mean square and multiply by the noise level.
    Trial it proposes:
        None; guidance acts on samples, not on training.
    Known false positives:
        A strength that is meant to be negligible.
    References:
        Chung et al., Diffusion Posterior Sampling, 2023, section 3.3 (step size over the residual).
    """
    for seen in evidence.of(GuidanceEffect):
        if seen.scale == 0 or seen.change > limits.change:
            continue
        dead = seen.gradient < limits.gradient
        because = (
            "The energy has no gradient with respect to the image."
            if dead
            else f"The gradient of the energy is {seen.gradient:.1e}, and the step takes it as it is."
        )
        yield Found(
            message=f"With guidance of strength {seen.scale:g} the samples change by {seen.change:.1e} of their "
            f"spread, as good as not at all. {because}",
            standing=Standing.DEMONSTRATED,
            location=seen.where,
            numbers={"change": seen.change, "gradient": seen.gradient, "scale": seen.scale},
            remedy="Let gradient reach the image: no no_grad, detach or threshold in the energy."
            if dead
            else "Divide the gradient by its root mean square and scale the step by the noise level.",
        )
