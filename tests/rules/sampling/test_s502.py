"""S502: noise levels that do not join up, in one's own loops and in released libraries."""

from __future__ import annotations

import math

import pytest
import torch

from patients.library_samplers import diffusers_case, monai_case
from patients.samplers import SCHEDULES, cosine, ddim, diffusion_case, linear, trailing
from patients.sitting import findings, line_at, run_check
from traindx.checks.diffusion.sampler import sampler
from traindx.checks.diffusion.schedule import schedule
from traindx.evidence.sampling import SamplerRun, SamplerTransitions
from traindx.finding import Severity, Standing

CODES = ("S501", "S502", "S504", "S505", "S506")


def found(case, *codes):
    evidence = run_check(case, sampler)
    return evidence, findings(evidence, *(codes or CODES))


LIBRARIES = {
    "MONAI DDIMScheduler": lambda steps: monai_case("DDIMScheduler", steps=steps, clip_sample=False),
    "diffusers DDIM linspace": lambda steps: diffusers_case(
        "DDIMScheduler", steps=steps, timestep_spacing="linspace", clip_sample=False
    ),
}
# Largest deviation and standard deviation of samples of N(0.3, 0.2²), linear β of 1000 steps: measured elsewhere on a
# finite sample, with another oracle, before this package existed.
PUBLISHED = {5: (0.78, 0.2388), 10: (0.22, 0.1523), 50: (0.028, 0.1843)}


def library_sd(steps, s):
    """What stepping by T // n along a linspace makes of unit noise: the product of the slopes, by hand."""
    table, gain = linear(), 1.0
    for t in torch.linspace(999, 0, steps).round().long().tolist():
        alpha = float(table[t])
        after = float(table[t - 1000 // steps]) if t >= 1000 // steps else 1.0
        a, sigma = math.sqrt(alpha), math.sqrt(1 - alpha)
        k = a * s * s / (alpha * s * s + sigma**2)
        gain *= math.sqrt(after) * k + math.sqrt(1 - after) * (1 - a * k) / sigma
    return gain


@pytest.mark.parametrize("steps", PUBLISHED)
@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_that_step_by_the_wrong_stride_are_reported(library, steps):
    evidence, reported = found(LIBRARIES[library](steps))
    (finding,) = reported
    assert (finding.code, finding.standing) == ("S502", Standing.DEMONSTRATED)
    assert "the scheduler's line" in line_at(finding.location) or "MONAI's line" in line_at(finding.location)
    deviation, sd = PUBLISHED[steps]
    assert finding.numbers["max_deviation"] == pytest.approx(deviation, rel=0.05)
    assert finding.numbers["output_sd"] == pytest.approx(sd, rel=0.015)
    assert finding.numbers["output_sd"] == pytest.approx(library_sd(steps, 0.2), abs=1e-5)
    (taken,) = evidence.of(SamplerTransitions)
    # Where each step goes, from the libraries' own source: t - T // n.
    expected = [max(t - 1000 // steps, -1) for t in taken.timesteps]
    got = [
        -1 if level > 0.99995 else at for at, level in zip(taken.timestep_reached, taken.alpha_bar_reached, strict=True)
    ]
    assert got == expected


@pytest.mark.parametrize("steps", [5, 10, 50])
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
@pytest.mark.parametrize("kind", ["epsilon", "v"])
def test_diffusers_trailing_and_leading_are_left_alone(spacing, steps, kind):
    rescale = spacing == "trailing" and kind == "v"
    case = diffusers_case(
        "DDIMScheduler", kind, steps=steps, timestep_spacing=spacing, clip_sample=False, rescale_betas_zero_snr=rescale
    )
    evidence, reported = found(case)
    assert reported == []
    assert evidence.last(SamplerRun).deviation < 1e-6


def test_as_many_steps_as_timesteps_leave_nothing_to_join():
    _, reported = found(monai_case("DDIMScheduler", steps=100, num_train_timesteps=100, clip_sample=False))
    assert reported == []


def test_monai_ddpm_takes_single_steps_whatever_the_stride():
    _, (finding,) = found(monai_case("DDPMScheduler", steps=50, clip_sample=False, size=14))
    assert finding.code == "S502"
    assert "noise level of timestep 19" in finding.message


def test_trailing_steps_that_do_not_divide_the_schedule_are_a_step_off_and_only_suspected():
    case = diffusers_case("DDIMScheduler", "v", steps=12, timestep_spacing="trailing", clip_sample=False)
    _, (finding,) = found(case)
    assert (finding.code, finding.standing, finding.severity) == ("S502", Standing.SUSPECTED, Severity.MINOR)


WRONG_TARGETS = {
    "one timestep too far": lambda t, following, stride: max(following - 1, 0) if following >= 0 else -1,
    "one timestep short": lambda t, following, stride: following + 1 if following >= 0 else -1,
    "single steps in a strided loop": lambda t, following, stride: t - 1,
    "half the stride": lambda t, following, stride: t - stride // 2,
    "ends at timestep 50": lambda t, following, stride: following if following >= 0 else 50,
}


@pytest.mark.parametrize("mistake", WRONG_TARGETS)
@pytest.mark.parametrize("kind", ["epsilon", "v", "sample"])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_wrong_targets_are_told_from_wrong_formulas(mistake, kind, name):
    table = SCHEDULES[name]()
    case = diffusion_case(
        kind, table, sample=ddim(table, kind, previous=WRONG_TARGETS[mistake], timesteps=range(960, 0, -80))
    )
    _, (finding,) = found(case)
    assert finding.code == "S502"
    assert "the step line" in line_at(finding.location)
    assert [proposal.treatment for proposal in finding.proposals] == ["reference-sampler"]
    off_by_one = "one timestep" in mistake
    assert finding.standing is (Standing.SUSPECTED if off_by_one else Standing.DEMONSTRATED)


@pytest.mark.parametrize("end", [1.0, "first"])
@pytest.mark.parametrize("plan", ["trailing", "leading", "uneven"])
def test_either_convention_of_the_last_step_and_uneven_timesteps_are_right(end, plan):
    table = cosine()
    steps = {"trailing": trailing(1000, 8), "leading": range(875, -1, -125), "uneven": [990, 700, 650, 40, 3]}[plan]
    loop = ddim(table, "v", timesteps=steps, end=float(table[0]) if end == "first" else 1.0)
    assert found(diffusion_case(sample=loop))[1] == []


def test_timesteps_that_run_upwards():
    _, (finding,) = found(diffusion_case(sample=ddim(cosine(), "v", timesteps=trailing(1000, 10)[::-1])))
    assert (finding.code, finding.severity) == ("S502", Severity.CRITICAL)
    assert "(99, 199, ... 999)" in finding.message


STARTS = {
    "half": (lambda x: 0.5 * x, True),
    "uniform": (torch.rand_like, True),
    "zeros": (lambda x: 0.001 * x, True),
    "shifted": (lambda x: x + 0.5, True),
    "normal": (lambda x: x, False),
    "3 % too large": (lambda x: 1.03 * x, False),
}


@pytest.mark.parametrize("start", STARTS)
def test_the_noise_that_sampling_starts_from(start):
    make, wrong = STARTS[start]
    _, reported = found(diffusion_case(sample=ddim(cosine(), "v", start=make), size=16))
    assert [finding.code for finding in reported] == (["S502"] if wrong else [])


def test_a_start_that_is_declared_to_be_no_noise_is_not_judged():
    case = diffusion_case(sample=ddim(cosine(), "v", start=STARTS["shifted"][0]), diffusion__starts_from_noise=False)
    assert found(case)[1] == []


def test_a_point_mass_would_have_been_blind():
    """Why Gaussians: with one known image the last step repairs every wrong stride, so the output says nothing."""
    table = linear()
    plan = [round(999 - index * 999 / 9) for index in range(10)]
    x, x0 = 1.7, 0.3
    for t in plan:
        a, s = math.sqrt(float(table[t])), math.sqrt(1 - float(table[t]))
        after = float(table[t - 100]) if t >= 100 else 1.0
        x = math.sqrt(after) * x0 + math.sqrt(1 - after) * (x - a * x0) / s
    assert x == pytest.approx(x0, abs=1e-6)
    case = diffusion_case(
        "epsilon", table, sample=ddim(table, "epsilon", timesteps=plan, previous=lambda t, following, stride: t - 100)
    )
    assert [finding.code for finding in found(case)[1]] == ["S502"]


def test_a_loop_on_a_schedule_of_its_own_is_the_schedules_fault():
    case = diffusion_case(table=cosine(), sample=ddim(linear(), "v"))
    evidence = run_check(case, schedule, sampler)
    assert [finding.code for finding in findings(evidence, "S501", "S502", "S503", "S504", "S505")] == ["S503"]
