"""O401 tried out: rates that cannot carry the weights anywhere."""

from __future__ import annotations

import torch

from patients.region_case import findings, region_case
from traindx.checks.base import CheckContext
from traindx.checks.training.learning_rates import rate_probe
from traindx.evidence import Evidence
from traindx.evidence.training_state import RateProbe
from traindx.finding import Standing


def probe(case):
    evidence = Evidence(None)
    rate_probe.function(CheckContext(case, evidence))
    return evidence.of(RateProbe)[0]


def test_a_rate_a_hundred_times_too_low_is_suspected_with_a_trial():
    found = findings(region_case(lr=1e-4), rate_probe, "O401")
    assert [one.standing for one in found] == [Standing.SUSPECTED]
    assert {proposal.parameters["factor"] for proposal in found[0].proposals} <= {10.0, 100.0}


def test_a_healthy_rate_is_silent_and_costs_three_steps_only():
    assert findings(region_case(), rate_probe, "O401") == []
    assert probe(region_case()).factors == ()


def test_a_short_run_at_a_rate_that_learns_at_once_is_silent():
    """Few steps make the reach short; but ten times the rate gains nothing like ten times as much."""
    assert findings(region_case(lr=2e-2, steps=1), rate_probe, "O401") == []


def test_the_reach_is_rate_times_steps_for_adam():
    """Adam's step is the rate itself at first, for every weight whose gradient keeps its sign."""
    case = region_case(lr=1e-5, steps=1000)
    torch.manual_seed(0)
    weights = [p for p in case.model().parameters() if p.ndim > 1]
    size = torch.cat([p.detach().flatten() for p in weights]).square().mean().sqrt()
    expected = 1000 * 1e-5 / float(size)
    assert 0.5 * expected < probe(case).reach < 1.1 * expected


def test_the_exam_leaves_random_state_and_case_alone():
    state = torch.get_rng_state()
    probe(region_case(lr=1e-5))
    assert torch.equal(state, torch.get_rng_state())
