"""Faults of the diffusion cascade: each breaks what it says, and its rule finds it first."""

from __future__ import annotations

import pytest
import torch

from traindx import rules
from traindx.checks.base import CheckContext
from traindx.checks.data.shared_samples import shared_samples
from traindx.checks.diffusion.sampler import sampler
from traindx.checks.diffusion.time_input import time_input
from traindx.checks.loss.gradients import gradients
from traindx.checks.metrics.repeat_selection import repeat_selection
from traindx.checks.network.frozen_parts import frozen_parts
from traindx.checks.projection.phantoms import projection
from traindx.checks.projection.view_match import view_match
from traindx.checks.training.bookkeeping import bookkeeping
from traindx.diagnosis import ranked
from traindx.evidence import Evidence
from traindx.faults import registry
from traindx.faults.xray2ct.cascade import FAULTS
from traindx.recipes.xray2ct.cascade.case import make_case

NAMES = [fault.name for fault in FAULTS]
SAMPLING, STAGES = (sampler, time_input), (frozen_parts, gradients)
BOOKS = (bookkeeping, projection, view_match, shared_samples, repeat_selection)
ALSO = {"augmented-along-other-axes": {"E808"}}  # validation is augmented too, and so a fixed model scores by luck


@pytest.fixture(scope="module")
def healthy():
    return make_case("diffusion", 16, source="embedded", train=8, val=2, steps=10, cache="")


def exams_for(name: str):
    """All for the healthy case; for a fault those that look at what it changes, to save time."""
    if not name:
        return (*SAMPLING, *STAGES, *BOOKS)
    rule = registry()[name].expected_rule
    return SAMPLING if rule.startswith("S") else STAGES if rule.startswith("M") else BOOKS


@pytest.mark.parametrize("name", ["", *NAMES])
def test_faults_are_found_by_their_rules_first(healthy, name):
    case = registry()[name].apply(healthy) if name else healthy
    ctx = CheckContext(case, Evidence())
    for sits in exams_for(name):
        sits.function(ctx)
    found = ranked([
        finding
        for rule in rules.catalogue().values()
        if rule.applies(ctx.evidence)
        for finding in rule.check(ctx.evidence)
    ])  # fmt: skip
    expected = registry()[name].expected_rule if name else ""
    assert [finding.code for finding in found[:1]] == ([expected] if expected else [])
    assert {finding.code for finding in found} - {expected} <= ALSO.get(name, set())


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_says_what_is_known_of_it_and_still_trains(healthy, name):
    fault = registry()[name]
    assert fault.title
    assert fault.claim
    assert fault.truth
    assert fault.expected_rule in rules.catalogue()
    case = fault.apply(healthy)
    batch = case.first_batches(1)[0]
    model = case.model().train()
    torch.stack(list(case.loss_terms(model, batch).values())).sum().backward()
    assert any(weight.grad is not None for weight in model.stages[-1].parameters())
    assert torch.isfinite(case.prediction(model, batch)).all()


def test_the_own_loop_of_the_faults_is_ddim_where_nothing_is_wrong(healthy):
    """Against diffusers: what the faults change is all that differs."""
    from traindx.faults.xray2ct.cascade import draw_by_own_loop, network_time
    from traindx.recipes.xray2ct.cascade.case import system_of

    system, model, batch = system_of(healthy), healthy.model().eval(), healthy.first_batches(1, "val")[0]
    torch.manual_seed(0)
    expected = system.predict(system, model, batch)
    torch.manual_seed(0)
    drawn = draw_by_own_loop(system, model, batch, wrong=False, time=network_time)
    assert torch.allclose(drawn, expected, atol=1e-4)
