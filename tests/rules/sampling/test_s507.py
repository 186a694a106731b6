"""S507: what the network sees in training is the mixture that the sampling loop takes apart."""

from __future__ import annotations

import pytest
import torch

from patients.samplers import SCHEDULES, cosine, diffusion_case, linear
from patients.sitting import findings, line_at, run_check
from traindx.checks.diffusion.training_input import training_input
from traindx.evidence.sampling import TrainingInput
from traindx.finding import Standing


def found(case):
    evidence = run_check(case, training_input)
    return evidence.last(TrainingInput), findings(evidence, "S507")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("size", [8, 20])
def test_the_right_mixture_is_left_alone(schedule, size):
    seen, reported = found(diffusion_case(table=SCHEDULES[schedule](), size=size))
    assert reported == []
    assert seen.draws >= 24
    assert seen.power_error < 6 * seen.power_error_resolution + 1e-6


WRONG = {
    "roots forgotten": lambda x0, eps, alpha: alpha * x0 + (1 - alpha) * eps,
    "image not scaled": lambda x0, eps, alpha: x0 + (1 - alpha).sqrt() * eps,
    "noise not scaled": lambda x0, eps, alpha: alpha.sqrt() * x0 + eps,
    "half the noise": lambda x0, eps, alpha: alpha.sqrt() * x0 + 0.5 * (1 - alpha).sqrt() * eps,
    "levels swapped": lambda x0, eps, alpha: (1 - alpha).sqrt() * x0 + alpha.sqrt() * eps,
}


@pytest.mark.parametrize("mixture", WRONG)
def test_wrong_mixtures(mixture):
    _, (finding,) = found(diffusion_case(table=linear(), noise=WRONG[mixture], size=16))
    # Swapped levels have the right power, and only do not belong to their timesteps: something else may be noised.
    assert finding.standing is (Standing.SUSPECTED if mixture == "levels swapped" else Standing.DEMONSTRATED)
    assert line_at(finding.location) == 'return model(x, clock(t), batch["condition"])'


def scaled(factor, shift=0.0):
    case = diffusion_case(size=12)

    def batches():
        for batch in case.batches():
            yield {**batch, "image": factor * batch["image"] + shift}

    return case.replace(train=batches, data_range=None)


@pytest.mark.parametrize(("factor", "wrong"), [(0.02, True), (0.3, False), (1.0, False), (4.0, False), (40.0, True)])
def test_the_spread_of_the_data(factor, wrong):
    seen, reported = found(scaled(factor))
    assert [finding.standing for finding in reported] == ([Standing.SUSPECTED] if wrong else [])
    assert seen.data_sd == pytest.approx(0.476 * factor, rel=0.02)


def test_an_offset_of_the_data_is_no_noise():
    """CT scaled to [-1, 1] has a mean of -0.6; the regression has an intercept."""
    assert found(scaled(0.5, shift=-0.6))[1] == []


def test_few_voxels_are_given_the_benefit_of_the_doubt():
    for seed in range(3):
        torch.manual_seed(seed)
        assert found(diffusion_case(table=cosine(), size=5))[1] == []
