"""S503: a schedule that contradicts itself, or that training and sampling do not share."""

from __future__ import annotations

import pytest
import torch

from patients.library_samplers import diffusers_case
from patients.samplers import SCHEDULES, cosine, ddim, diffusion_case, linear, scaled_linear, zero_terminal
from patients.sitting import findings, run_check
from traindx.checks.diffusion.sampler import sampler
from traindx.checks.diffusion.schedule import schedule
from traindx.errors import CaseError
from traindx.finding import Severity, Standing


def found(case, *codes):
    return findings(run_check(case, schedule, sampler), *(codes or ("S503",)))


def betas_of(table):
    return 1 - torch.cat((table[:1], table[1:] / table[:-1]))


@pytest.mark.parametrize("name", ["linear", "cosine", "cosine, zero terminal"])
def test_ordinary_schedules_are_left_alone(name):
    table = SCHEDULES[name]()
    assert found(diffusion_case(table=table, diffusion__betas=betas_of(table))) == []


def test_tables_of_the_libraries_agree_with_their_betas():
    import diffusers
    from monai.networks.schedulers import DDPMScheduler

    for scheduler in (
        diffusers.DDIMScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing"),
        diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        DDPMScheduler(schedule="cosine"),
        DDPMScheduler(schedule="sigmoid_beta"),
    ):
        case = diffusion_case(table=scheduler.alphas_cumprod.clone(), diffusion__betas=scheduler.betas)
        assert found(case) == []


def test_dividing_by_the_first_alpha_bar_is_no_fault():
    """A post-mortem blamed it; the betas change by 1e-7."""
    table = cosine()
    assert found(diffusion_case(table=table / table[0])) == []


@pytest.mark.parametrize("kind", ["epsilon", "v", "sample"])
def test_a_loop_on_another_table(kind):
    (finding,) = found(diffusion_case(kind, cosine(), sample=ddim(linear(), kind)))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.proposals[0].treatment == "reference-schedule"
    at, level = finding.message.split(" at timestep ")[1].split(".")[0], finding.numbers["alpha_bar_in_sampling"]
    assert level == pytest.approx(float(linear()[int(at)]), abs=1e-4)


def test_two_declared_tables_are_compared_and_the_loop_is_judged_by_its_own():
    case = diffusion_case(table=cosine(), sample=ddim(linear(), "v"), diffusion__sampling_alphas_cumprod=linear())
    reported = found(case, "S501", "S502", "S503", "S505")
    assert [finding.code for finding in reported] == ["S503"]
    assert "Training and sampling use different" in reported[0].message
    same = diffusion_case(table=cosine(), diffusion__sampling_alphas_cumprod=cosine().double())
    assert found(same) == []


BROKEN = {
    "product": (lambda t: {"diffusion__betas": 0.9 * betas_of(t)}, "is not the product"),
    "reversed": (lambda t: {"table": t.flip(0)}, "rises 999 times"),
    "above one": (lambda t: {"table": t * 1.2}, "must stay within 0 and 1"),
    "nan": (lambda t: {"table": torch.where(torch.arange(1000) == 7, torch.nan, t)}, "is not finite"),
    "stalls": (lambda t: {"table": t.clamp(max=float(t[400]))}, "does not change at 400 of 1000"),
    "beta for alpha": (lambda t: {"table": torch.cumprod(betas_of(t).clamp(min=1e-3), 0)}, "does not change"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_tables_that_contradict_themselves(name):
    make, says = BROKEN[name]
    changes = make(cosine())
    case = diffusion_case(table=changes.pop("table", cosine()), sample=ddim(cosine(), "v"), **changes)
    reported = findings(run_check(case, schedule), "S503")
    assert [says in finding.message for finding in reported] == [True], [finding.message for finding in reported]


def test_the_terminal_noise_level_against_the_start():
    def start(table, **parts):
        return found(diffusion_case(table=table, sample=ddim(table, "v", **parts)))

    assert start(linear()) == []  # sqrt(ᾱ_T) = 0.006
    (suspected,) = start(scaled_linear())  # 0.068: Stable Diffusion
    assert (suspected.standing, suspected.severity) == (Standing.SUSPECTED, Severity.MINOR)
    assert start(zero_terminal(scaled_linear())) == []
    (demonstrated,) = start(cosine(), timesteps=[500, 400, 300, 200, 100])
    assert demonstrated.standing is Standing.DEMONSTRATED
    assert demonstrated.numbers["signal_amplitude"] == pytest.approx(float(cosine()[500]) ** 0.5)
    declared = diffusion_case(sample=ddim(cosine(), "v", timesteps=[500, 250]), diffusion__starts_from_noise=False)
    assert found(declared) == []


def test_epsilon_cannot_start_where_there_is_no_signal():
    case = diffusers_case(
        "DDIMScheduler", "epsilon", rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False
    )
    (finding,) = found(case, "S501", "S502", "S503", "S504")
    assert finding.code == "S503"
    assert "ε says nothing about the image" in finding.message


def test_a_table_of_the_wrong_shape_is_an_error_that_says_so():
    with pytest.raises(CaseError, match=r"alphas_cumprod has shape \(2, 500\)"):
        run_check(diffusion_case(diffusion__alphas_cumprod=cosine().reshape(2, 500)), schedule)
    with pytest.raises(CaseError, match=r"betas have shape \(999,\)"):
        run_check(diffusion_case(diffusion__betas=betas_of(cosine())[:-1]), schedule)
