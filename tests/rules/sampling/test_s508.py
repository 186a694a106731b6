"""S508: a good network whose sampling loop spoils what it knows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import traindx as dx
from patients.samplers import cosine, ddim, diffusion_case, expand
from patients.sitting import findings, run_check
from traindx.checks.diffusion.one_step import one_step
from traindx.evidence import Curve, NotExamined
from traindx.evidence.sampling import OneStep
from traindx.finding import Standing

TABLE = cosine()


class KnowsTheAnswer(nn.Module):
    """The condition is the image with some noise: the posterior mean is a fixed mixture of condition and x_t."""

    def __init__(self, quality=1.0):
        super().__init__()
        self.quality = nn.Parameter(torch.tensor(quality))

    def forward(self, x, t, condition):
        a = expand(TABLE[t].sqrt(), x)
        s = expand((1 - TABLE[t]).sqrt(), x)
        return (a * x - self.quality * condition) / s.clamp_min(1e-3)  # v of the x0 that equals the condition


def case_with(loop, noise=0.05, quality=1.0):
    base = diffusion_case(sample=loop)

    def batches():
        generator = torch.Generator().manual_seed(1)
        for batch in base.batches():
            extra = noise * torch.randn(batch["image"].shape, generator=generator)
            yield {**batch, "condition": batch["image"] + extra}

    return base.replace(train=batches, model=lambda: KnowsTheAnswer(quality))


def found(case):
    evidence = run_check(case, one_step, trained=case.model())
    return evidence, findings(evidence, "S508")


def spoiled(factor):
    loop = ddim(TABLE, "v")
    return lambda model, batch: loop(model, batch) + factor * torch.randn_like(batch["image"])


def test_a_loop_that_spoils_a_good_network():
    evidence, (finding,) = found(case_with(spoiled(0.3)))
    assert finding.standing is Standing.SUSPECTED
    assert finding.proposals[0].treatment == "reference-sampler"
    # One step: noise 0.05 of the condition. Sampled: sqrt(0.05² + 0.3²). The gap is the ratio of the squares.
    assert finding.numbers["gap_db"] == pytest.approx(15.7, abs=0.5)
    assert [curve.name for curve in evidence.of(Curve)] == ["one-step-against-sampled"]


@pytest.mark.parametrize("factor", [0.0, 0.05, 0.08])
def test_a_loop_that_costs_what_sampling_costs_is_left_alone(factor):
    """0.05 doubles the squared error: the 3 dB of a sample against the mean."""
    evidence, reported = found(case_with(spoiled(factor)))
    assert reported == []
    assert evidence.last(OneStep).sampled_mse == pytest.approx(0.05**2 + factor**2, rel=0.1)


def test_a_network_that_knows_nothing_is_not_the_loops_fault():
    assert found(case_with(spoiled(2.0), quality=0.0))[1] == []


def test_the_model_is_left_in_its_mode_and_other_shapes_are_not_examined():
    case = case_with(lambda model, batch: ddim(TABLE, "v")(model, batch)[..., 1:-1])
    model = case.model().train()
    evidence = run_check(case, one_step, trained=model)
    assert model.training
    assert not evidence.of(OneStep)
    assert "returns shape" in evidence.of(NotExamined)[-1].reason


def test_epsilon_and_x0_are_read_as_what_they_are():
    for kind in ("epsilon", "sample"):
        loop = ddim(TABLE, kind)

        class Exact(nn.Module):
            def __init__(self, kind=kind):
                super().__init__()
                self.kind = kind
                self.nothing = nn.Parameter(torch.zeros(1))

            def forward(self, x, t, condition):
                a, s = expand(TABLE[t].sqrt(), x), expand((1 - TABLE[t]).sqrt(), x)
                return condition if self.kind == "sample" else (x - a * condition) / s.clamp_min(1e-3)

        base = diffusion_case(kind, sample=loop)
        case = base.replace(
            train=lambda base=base: ({**batch, "condition": batch["image"]} for batch in base.batches()), model=Exact
        )
        record = run_check(case, one_step, trained=case.model()).last(OneStep)
        assert max(record.one_step_mse) < 1e-6
        assert isinstance(case, dx.Case)
