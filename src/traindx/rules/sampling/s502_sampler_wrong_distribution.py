"""S502 sampler-wrong-distribution."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.sampling import SamplerRun, SamplerTransitions
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.sampling._cause import THRESHOLDS, cause_of, consequence, explained, number, numbers_of, runs_with


@rule(
    "S502",
    "sampler-wrong-distribution",
    Severity.MAJOR,
    needs=(SamplerRun,),
    looked_at=requires(SamplerRun, explained, otherwise="what the sampling loop computes could not be explained"),
    max_start_error=Threshold(
        0.1,
        "mean, or relative error of the standard deviation, of the first x; with the 4096 voxels judged, five standard "
        "errors are 0.08 of the mean and 0.055 of the standard deviation",
    ),
    negligible=Threshold(
        0.1,
        "largest deviation of the output, in standard deviations of the Gaussian, up to which the fault is only "
        "suspected to matter; diffusers' trailing timesteps with 12 to 30 steps out of 1000 round to 0.03 to 0.07, "
        "linspace with 50 steps is at 0.14",
    ),
    **THRESHOLDS,
)
def sampler_wrong_distribution(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Each step's formula is right, but the noise levels do not join up: what comes out has the wrong distribution.

    What it finds:
        A loop that steps *to* one ᾱ and continues *from* another (strides that do not match the timesteps, single-step
        betas in a strided loop, a `prev_t` that is off by one), that walks the timesteps upwards, or that starts from
        noise of the wrong mean or size.
    Why it stops learning:
        The network is told a noise level that its input does not have. Samples keep noise or lose spread, more so the
        fewer the steps; with many steps the fault fades, which is how it survives in released libraries.
    Evidence it needs:
        SamplerRun and SamplerTransitions (check *sampler*).
    How it decides:
        Every step is explained to `explained` by a step from ᾱ of its timestep to some other ᾱ than that of the next
        timestep, while the exact step misses by more than `max_misfit`. The last step may end at ᾱ = 1 or at ᾱ_0.
        A point mass or a network that knows x0 cannot show this (the last step repairs everything), so Gaussians of
        several widths are used. What moves no voxel by more than `negligible` is `suspected`. The start is wrong if its
        mean or standard deviation is off by `max_start_error`.
    Remedy:
        Step to the ᾱ of the timestep that is visited next. diffusers' DDIMScheduler does with
        `timestep_spacing="trailing"` or `"leading"`; with `"linspace"`, and in MONAI's DDIMScheduler up to 1.6.1, it
        steps by T // n while the timesteps are T/(n-1) apart.
    Trial it proposes:
        `reference-sampler`.
    Known false positives:
        Loops that mean to end early, at an ᾱ below ᾱ_0, leave noise on purpose.
    References:
        Song, Meng and Ermon, Denoising Diffusion Implicit Models, ICLR 2021, eq. 12. Lin et al., Common Diffusion Noise
        Schedules and Sample Steps are Flawed, WACV 2024, table 2.
    """
    for run in runs_with(evidence, limits, "target", "upwards"):
        upwards = cause_of(run, limits) == "upwards"
        small = not upwards and _effect(run) <= limits.negligible
        yield Found(
            message=_upwards(run) if upwards else _target(run, evidence) + consequence(run),
            standing=Standing.SUSPECTED if small else Standing.DEMONSTRATED,
            location=run.call_where if upwards else run.where,
            numbers=numbers_of(run),
            remedy="Visit the timesteps from the noisiest to the cleanest."
            if upwards
            else "Step to the ᾱ of the timestep that the loop visits next: take it from the list of timesteps, not "
            "from "
            "t − T//n. With diffusers use timestep_spacing='trailing'.",
            proposals=(Proposal(treatment="reference-sampler"),),
            severity=Severity.CRITICAL if upwards else Severity.MINOR if small else None,
        )
    for run in evidence.of(SamplerRun)[:1]:
        yield from _start(run, limits)


def _effect(run: SamplerRun) -> float:
    """Largest deviation in standard deviations; where it was not measured, ten times the misfit of the worst step."""
    return 10 * run.misfit if math.isnan(run.deviation) else run.deviation / run.sd


def _target(run: SamplerRun, evidence: Evidence) -> str:
    for steps in evidence.of(SamplerTransitions):
        if steps.timesteps == run.timesteps:
            at = _most_informative(steps)
            told, reached, last = steps.timesteps[at], steps.timestep_reached[at], at + 1 == len(steps.timesteps)
            level = f"ᾱ = {number(steps.alpha_bar_reached[at])}"
            if last:
                return f"The last step of the sampling loop (from timestep {told}) ends at {level}: noise is left."
            return (
                f"Step {at + 1} of {len(steps.timesteps)} of the sampling loop goes from timestep {told} to the noise "
                f"level of timestep {reached} ({level}), but the network is called at {steps.timesteps[at + 1]} next, "
                f"where ᾱ = {number(steps.alpha_bar_next[at])}."
            )
    return "The sampling loop steps to one noise level and continues from another."


def _most_informative(steps: SamplerTransitions) -> int:
    """A step that is wrong and goes on, with the largest jump in noise level; the last one only if it alone is
    wrong."""
    jumps = [
        abs((1 - reached) ** 0.5 - (1 - needed) ** 0.5) if reached <= 1 else 0.0
        for reached, needed in zip(steps.alpha_bar_reached, steps.alpha_bar_next, strict=True)
    ]
    going_on = jumps[:-1]
    return going_on.index(max(going_on)) if going_on and max(going_on) > 1e-4 else len(jumps) - 1


def _upwards(run: SamplerRun) -> str:
    return (
        f"The sampling loop visits the timesteps upwards ({run.timesteps[0]}, {run.timesteps[1]}, ... "
        f"{run.timesteps[-1]}): it adds noise instead of removing it."
    )


def _start(run: SamplerRun, limits: Limits) -> Iterator[Found]:
    """The first x against what training shows at that timestep; unit noise is the usual stand-in for it."""
    if not run.starts_from_noise or run.nonfinite_step == 0:
        return
    low, high = min(run.start_expected_sd, 1.0), max(run.start_expected_sd, 1.0)
    off = max(low - run.start_sd, run.start_sd - high, 0.0)
    if abs(run.start_mean) <= limits.max_start_error and off <= limits.max_start_error * low:
        return
    yield Found(
        message=f"Sampling starts from x with mean {number(run.start_mean)} and standard deviation "
        f"{number(run.start_sd)}; training shows about 0 and {number(run.start_expected_sd)} at timestep "
        f"{run.timesteps[0]}.",
        standing=Standing.DEMONSTRATED,
        location=run.call_where,
        numbers={
            "start_mean": run.start_mean,
            "start_sd": run.start_sd,
            "expected_sd": run.start_expected_sd,
            "timestep": run.timesteps[0],
        },
        remedy="Start from torch.randn of the image's shape (set starts_from_noise=False if it starts from something "
        "else).",
        proposals=(Proposal(treatment="reference-sampler"),),
    )
