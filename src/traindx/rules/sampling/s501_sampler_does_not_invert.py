"""S501 sampler-does-not-invert."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.sampling import SamplerRun
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, requires, rule
from traindx.rules.sampling._cause import (
    THRESHOLDS,
    cause_of,
    consequence,
    explained,
    explains,
    number,
    numbers_of,
    runs_with,
)


@rule(
    "S501",
    "sampler-does-not-invert",
    Severity.CRITICAL,
    needs=(SamplerRun,),
    looked_at=requires(SamplerRun, explained, otherwise="what the sampling loop computes could not be explained"),
    **THRESHOLDS,
)
def sampler_does_not_invert(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A formula inside the sampling loop is wrong: even with a perfect network the loop does not come back to the data.

    What it finds:
        A wrong x̂0, ε̂ or combination of them in the step from one noise level to the next: terms swapped, a sign, a root
        or a factor forgotten, the noise level of the wrong side. Also a step that makes NaN out of finite values.
    Why it stops learning:
        Training is not touched, so the loss falls as it should, while everything that is sampled (and every metric that
        is computed on samples) is wrong from the first epoch to the last. The usual picture is a constant image, since
        the error of ε̂ is repeated at every step.
    Evidence it needs:
        SamplerRun (check *sampler*): the loop runs unchanged while the network's answers are those of the exact
        denoiser of voxels drawn from known Gaussians, so the right result of every step is known in closed form,
        voxel by voxel. In a watched script nothing is called again: the coefficients of x and of the network's output
        in each step, and in each line between two calls, are read off the tensors that pass, and the noise levels off
        the tables that training and the loop pick from.
    How it decides:
        The worst step differs from the exact one by more than `max_misfit`, relative to x, and neither another
        prediction type (S504), nor a shifted time (S505), nor another ᾱ to step to (S502), nor another ᾱ table (S503)
        explains it. A known mistake that explains every step to `explained` is named with its line. Shown by a
        property that must hold, hence `demonstrated`. Whether a network that learned is hurt by it is for the trial
        to say.
    Remedy:
        Use the formula given in the finding, or a scheduler that is tested, such as diffusers' DDIMScheduler with
        `timestep_spacing="trailing"`.
    Trial it proposes:
        `reference-sampler`: the loop keeps its timesteps, time arguments and conditions, and x is propagated exactly.
    Known false positives:
        Solvers of several stages a step (Heun) have no single closed form and are listed as not examined, as are steps
        that add something which is no linear function of x, output and noise (guidance by a gradient, a filter).
        Multistep solvers are held to consistency only.
    References:
        Song, Meng and Ermon, Denoising Diffusion Implicit Models, ICLR 2021, eq. 9 and 12. Salimans and Ho, Progressive
        Distillation, ICLR 2022, appendix D (v).
    """
    for run in runs_with(evidence, limits, "formula", "not finite"):
        if cause_of(run, limits) == "not finite":
            if run.nonfinite_step == 0 and run.start_alpha_bar < 1e-8:
                continue  # no formula can find x0 in ε̂ where there is no signal: that is the schedule's (S503)
            yield _not_finite(run)
            continue
        known = explains(run, min(run.misfit_mistake, run.misfit_mistake_elsewhere), limits)
        if known:
            says = f"The sampling loop computes {run.mistake_is}; it should be {run.mistake_should_be}."
            remedy = f"Write {run.mistake_should_be}."
        else:
            says = (
                f"Step {run.worst_step + 1} of {len(run.timesteps)} (timestep {run.timesteps[run.worst_step]}) of the "
                f"sampling loop is off by {number(100 * run.misfit)} % of x, and no other noise level or prediction "
                "type "
                "explains it: a formula in it is wrong."
            )
            remedy = (
                "Compare the step with x' = √ᾱ'·x̂0 + √(1−ᾱ')·ε̂, ε̂ = (x − √ᾱ·x̂0)/√(1−ᾱ), ᾱ of this timestep and ᾱ' of "
                "the next, or use diffusers' DDIMScheduler with timestep_spacing='trailing'."
            )
        named = known or run.mistake_where is not None
        yield Found(
            message=says + consequence(run),
            standing=Standing.DEMONSTRATED,
            location=(run.mistake_where or run.where) if named else run.where,
            numbers={**numbers_of(run), **({"mistake": run.mistake} if known else {})},
            remedy=remedy,
            proposals=(Proposal(treatment="reference-sampler"),),
        )


def _not_finite(run: SamplerRun) -> Found:
    return Found(
        message=f"Step {run.nonfinite_step + 1} of {len(run.timesteps)} of the sampling loop (timestep "
        f"{run.timesteps[run.nonfinite_step]}) makes NaN or infinity although the network's answer is exact and "
        "finite.",
        standing=Standing.DEMONSTRATED,
        location=run.where,
        numbers={"step": run.nonfinite_step + 1, "timestep": run.timesteps[run.nonfinite_step]},
        remedy="Look for a division by √(1−ᾱ) where ᾱ = 1, or by √ᾱ where ᾱ = 0, at that timestep.",
        proposals=(Proposal(treatment="reference-sampler"),),
    )
