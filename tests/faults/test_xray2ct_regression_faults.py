"""Faults of the progressive regression: each breaks what it says, and its rule finds it."""

from __future__ import annotations

import pytest
import torch

from traindx import rules
from traindx.evidence import Evidence
from traindx.exams.base import ExamRoom
from traindx.exams.bookkeeping import bookkeeping
from traindx.exams.frozen_parts import frozen_parts
from traindx.exams.gradients import gradients
from traindx.exams.metric_probe import metric_probe
from traindx.exams.window import window
from traindx.faults import registry
from traindx.faults.xray2ct.regression import FAULTS
from traindx.recipes.xray2ct.cascade.case import make_case, system_of
from traindx.recipes.xray2ct.cascade.losses import regression_loss

NAMES = [fault.name for fault in FAULTS]


@pytest.fixture(scope="module")
def healthy():
    return make_case("regression", 16, source="embedded", train=8, val=2, steps=10, cache="")


def broken(healthy, name: str):
    return registry()[name].apply(healthy) if name else healthy


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_says_what_is_known_of_it_and_still_runs(healthy, name):
    fault = registry()[name]
    assert fault.title
    assert fault.claim
    assert fault.truth
    assert fault.expected_rule in ("", *rules.catalogue())
    assert (fault.expected_rule == "") == (fault.documented_diagnosis == "placebo")
    case = broken(healthy, name)
    batch = case.first_batches(1, "val")[0]
    model = case.model().train()
    torch.stack(list(case.loss_terms(model, batch).values())).sum().backward()
    prediction = case.prediction(model, batch)
    assert prediction.shape == case.target(batch).shape
    assert torch.isfinite(prediction).all()
    assert "edges" not in healthy.loss_terms(healthy.model(), batch)


@pytest.mark.parametrize("name", ["", *NAMES])
def test_faults_are_found_by_their_rules_and_nothing_else_is(healthy, name):
    room = ExamRoom(broken(healthy, name), Evidence())
    for sits in (frozen_parts, bookkeeping, gradients, metric_probe, window):
        sits.function(room)
    found = [
        finding
        for rule in rules.catalogue().values()
        if rule.code in ("M207", "M209", "E801", "E802", "E805", "L302", "L303", "D102") and rule.applies(room.evidence)
        for finding in rule.check(room.evidence)
        if finding.standing.rank > 0
    ]
    expected = registry()[name].expected_rule if name else ""
    assert {finding.code for finding in found} == ({expected} if expected else set())


def test_the_treatment_stills_the_first_stage(healthy):
    case = broken(healthy, "frozen-stage-moves")
    cured = case.treatments["frozen-in-evaluation"](case)
    batch = case.first_batches(1)[0]
    for made, moves in ((case, True), (cured, False)):
        model = made.model().train()
        before = model.stages[0].network.enter[1].running_mean.clone()
        made.loss_terms(model, batch)
        assert torch.equal(before, model.stages[0].network.enter[1].running_mean) != moves


def test_without_the_edge_term_gradient_still_reaches_the_finest_detail(healthy):
    """Share of gradient energy in the upper half of the frequencies, at a blurred truth, with and without the term."""
    system, batch = system_of(healthy), healthy.first_batches(1, "val")[0]
    stage, target = healthy.model().current, batch["ct"]
    shares = []
    for case in (healthy, broken(healthy, "gradient-term-missing")):
        blurred = torch.nn.functional.avg_pool3d(target, 3, 1, 1).requires_grad_()
        terms = regression_loss(stage, blurred, target, system.radiographs(batch), system_of(case).weights)
        (gradient,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), blurred)
        energy = torch.fft.fftn(gradient, dim=(2, 3, 4)).abs().square().mean(dim=(0, 1))
        axis = torch.fft.fftfreq(16).abs() * 2
        high = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).amax(dim=0) > 0.5
        shares.append(float(energy[high].sum() / energy.sum()))
    assert shares[1] > 0.2
    assert shares[1] > 0.5 * shares[0]
