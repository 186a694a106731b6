"""S506 clip-does-not-match-data."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.sampling import SamplerClamp, SamplerRun
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.sampling._cause import number


@rule(
    "S506",
    "clip-does-not-match-data",
    Severity.MAJOR,
    needs=(SamplerRun,),
    looked_at=requires(SamplerClamp, thing="clamps in the sampling loop"),
    target_share=Threshold(
        0.001, "of the target's voxels outside the clip: one in a thousand; data clipped to its declared range has none"
    ),
    state_share=Threshold(
        0.02, "of the voxels of the noisy x changed by a clamp; [-3, 5] changes 0.13 % of unit noise"
    ),
)
def clip_does_not_match_data(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The sampling loop clips values that the data has.

    What it finds:
        A clamp of the predicted x0 (or of the final image) whose bounds lie inside the range of the targets, such as
        the [-1, 1] that schedulers clip to by default on data that is z-scored; or a clamp of the noisy x itself, which
        cuts the noise.
    Why it stops learning:
        It does not: the network is without effect. But no sample can ever reach the values that are cut off, and a
        clipped x̂0 pulls every later step the same way.
    Evidence it needs:
        SamplerRun and SamplerClamp (check *sampler*): every clamp between two calls of the network, its line, and what
        it is applied to. Clamps written without torch's clamp functions are not seen.
    How it decides:
        More than `target_share` of the real targets' voxels outside the bounds on x0; more than `state_share` of the
        noisy x changed. A clip wider than the data changes nothing and is silent.
    Remedy:
        Clip x̂0 to the range of the data, or not at all.
    Trial it proposes:
        `clip-to-data`.
    Known false positives:
        Targets with a few corrupt voxels outside the range that matters; a clip that is meant to remove them.
    References:
        Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, section 3.3 (data scaled to [-1, 1]).
    """
    for clamp in evidence.of(SamplerClamp):
        if clamp.role == "x0" and clamp.target_outside > limits.target_share:
            yield _cuts_data(clamp)
        elif clamp.role == "state" and clamp.altered > limits.state_share:
            yield Found(
                message=f"The sampling loop clamps the noisy x to {_range(clamp)}, which changes "
                f"{100 * clamp.altered:.2g} % of its voxels: noise of unit variance reaches ±4.",
                standing=Standing.DEMONSTRATED,
                location=clamp.where,
                numbers={"low": clamp.low, "high": clamp.high, "altered_share": clamp.altered},
                remedy="Clip the predicted x0, not x.",
                proposals=_proposal(clamp),
            )


def _cuts_data(clamp: SamplerClamp) -> Found:
    peak = clamp.data_high - clamp.data_low
    ceiling = 20 * math.log10(peak / clamp.target_rmse) if clamp.target_rmse > 0 else math.inf
    via = " (inside the library call on this line)" if clamp.library else ""
    return Found(
        message=f"The sampling loop clips x0 to {_range(clamp)}{via}, but the data runs from "
        f"{number(clamp.data_low)} to "
        f"{number(clamp.data_high)}: {100 * clamp.target_outside:.2g} % of the target's voxels are cut off, and no "
        "sample "
        f"can be nearer to them than {ceiling:.1f} dB.",
        standing=Standing.DEMONSTRATED,
        location=clamp.where,
        numbers={
            "low": clamp.low,
            "high": clamp.high,
            "data_low": clamp.data_low,
            "data_high": clamp.data_high,
            "target_share_outside": clamp.target_outside,
            "psnr_ceiling_db": ceiling,
        },
        remedy=f"Clip to [{number(clamp.data_low)}, {number(clamp.data_high)}]"
        + (" (diffusers: clip_sample_range, or clip_sample=False)." if clamp.library else " or remove the clamp."),
        proposals=_proposal(clamp),
        severity=Severity.MAJOR if clamp.target_outside > 0.01 else Severity.MINOR,
    )


def _proposal(clamp: SamplerClamp) -> tuple[Proposal, ...]:
    return (Proposal(treatment="clip-to-data", parameters={"low": clamp.data_low, "high": clamp.data_high}),)


def _range(clamp: SamplerClamp) -> str:
    return f"[{number(clamp.low)}, {number(clamp.high)}]"
