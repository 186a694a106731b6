"""S510 guidance-runs-away."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model_in_use import GuidanceEffect
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "S510",
    "guidance-runs-away",
    Severity.MAJOR,
    needs=(GuidanceEffect,),
    span=Threshold(2.0, "times the range of unguided samples and data; normalised steps stay below 1.3"),
    worse=Threshold(1.05, "times the energy without guidance: steps that are too large climb what they should descend"),
)
def guidance_runs_away(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Guidance drives samples out of the range of the data.

    What it finds:
        A step that is not tied to the noise level: values of [-8.6, 28] where data lie in [-3, 5].
    Why it stops learning:
        It does not; but samples are saturated, and the energy that guidance was to lower rises.
    Evidence it needs:
        GuidanceEffect (check *guidance*): ``Case.guidance``.
    How it decides:
        The same noise is sampled with and without guidance. Guided samples that are not finite, or that span more than
        `span` times as much as unguided ones and as the data: `demonstrated`. Guided samples with more than `worse`
        times the energy: `suspected`.
    Remedy:
        Normalise the step: divide the gradient by its root mean square and multiply by the noise level.
    Trial it proposes:
        None; guidance acts on samples, not on training.
    Known false positives:
        An energy whose optimum lies far outside the samples of an untrained network.
    References:
        Chung et al., Diffusion Posterior Sampling, 2023, section 3.3 (step size over the residual).
    """
    for seen in evidence.of(GuidanceEffect):
        without = max(seen.without[1] - seen.without[0], seen.data[1] - seen.data[0])
        guided = seen.guided[1] - seen.guided[0]
        away = not math.isfinite(guided) or guided > limits.span * without
        climbs = not math.isfinite(seen.energy_with) or seen.energy_with > limits.worse * seen.energy_without
        if not away and not climbs:
            continue
        said = f"spans {seen.guided[0]:.3g} to {seen.guided[1]:.3g}, without it {seen.without[0]:.3g} to "
        yield Found(
            message=f"With guidance of strength {seen.scale:g} a sample {said}{seen.without[1]:.3g}; the energy it "
            f"should lower goes from {seen.energy_without:.3g} to {seen.energy_with:.3g}.",
            standing=Standing.DEMONSTRATED if away else Standing.SUSPECTED,
            location=seen.where,
            numbers={"scale": seen.scale, "span": guided, "span_without": without, "energy": seen.energy_with},
            remedy="Divide the gradient by its root mean square and scale the step by the noise level.",
        )
