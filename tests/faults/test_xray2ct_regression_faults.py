"""Faults of the progressive regression: each breaks what it says, and its rule finds it."""

from __future__ import annotations

import pytest
import torch

from traindx import rules
from traindx.checks.base import CheckContext
from traindx.checks.data.shared_samples import shared_samples
from traindx.checks.data.window import window
from traindx.checks.loss.gradients import gradients
from traindx.checks.loss.operations import loss_operations
from traindx.checks.loss.order import loss_order
from traindx.checks.loss.spatially_invariant_terms import blind_terms
from traindx.checks.metrics.reference_predictions import metric_probe
from traindx.checks.metrics.repeat_selection import repeat_selection
from traindx.checks.network.frozen_parts import frozen_parts
from traindx.checks.projection.view_match import view_match
from traindx.checks.training.bookkeeping import bookkeeping
from traindx.checks.training.first_steps import first_steps
from traindx.checks.training.full_run import full_run
from traindx.checks.training.training_step import training_step
from traindx.evidence import Evidence
from traindx.evidence.forecast import RunForecast
from traindx.faults import registry
from traindx.faults.xray2ct import regression, regression_losses
from traindx.recipes.xray2ct.cascade.case import make_case, system_of
from traindx.recipes.xray2ct.cascade.losses import regression_loss

NAMES = [fault.name for fault in (*regression.FAULTS, *regression_losses.FAULTS)]
LOSS = (gradients, loss_order, blind_terms, loss_operations, training_step)
STAGES = (frozen_parts, gradients)
BOOKS = (bookkeeping, metric_probe, window, view_match, shared_samples, repeat_selection, first_steps)
ALSO = {"psnr-joint-min-max": {"E802"}, "perceptual-term-swallowed": {"L303"}}  # the same fault, said by another rule


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
    assert healthy.loss_terms(healthy.model(), batch).keys() == {"absolute", "structure", "gradient"}


def exams_for(name: str):
    """All for the healthy case; for a fault those that look at what it changes, to save time."""
    if not name:
        return dict.fromkeys((*LOSS, *STAGES, *BOOKS))
    rule = registry()[name].expected_rule
    if rule == "T903":
        return (full_run,)
    return LOSS if rule.startswith("L") or not rule else STAGES if rule.startswith("M") else BOOKS


@pytest.mark.parametrize("name", ["", *NAMES])
def test_faults_are_found_by_their_rules_and_nothing_else_is(healthy, name):
    ctx = CheckContext(broken(healthy, name), Evidence())
    for sits in exams_for(name):
        sits.function(ctx)
    found = {
        finding.code
        for rule in rules.catalogue().values()
        if rule.applies(ctx.evidence)
        for finding in rule.check(ctx.evidence)
    }
    expected = registry()[name].expected_rule if name else ""
    if expected == "T903":
        # With eight volumes of 16 voxels the lower end of the forecast's interval lies at the limit: which side of it
        # depends on the last digits of the processor. What must hold at this size is that a longer training is
        # expected to gain, and that the rule says so exactly where its forecast does.
        forecast = ctx.evidence.last(RunForecast)
        assert forecast is not None
        assert forecast.gain[1] > 3 * forecast.negligible
        expected = expected if forecast.gain[0] > 3 * forecast.negligible else ""
    assert found - ALSO.get(name, set()) == ({expected} if expected else set())


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


def test_the_total_variation_of_scalars_is_zero_for_the_truth_upside_down(healthy):
    target = healthy.first_batches(1)[0]["ct"]
    term = regression_losses.difference_of_total_variations
    assert float(term(target.flip(2), target)) == pytest.approx(0, abs=1e-6)  # sums in another order
    assert float(term(torch.zeros_like(target), target)) > 0.01


def test_the_unshifted_mask_weights_the_wave_over_the_whole_volume_and_leaves_the_finest_one_out(healthy):
    axis = torch.arange(16)
    zero = torch.zeros(1, 1, 16, 16, 16)
    slow = torch.cos(2 * torch.pi * axis / 16).expand(1, 1, 16, 16, 16)
    fine = ((-1.0) ** (axis[:, None, None] + axis[:, None] + axis)).expand(1, 1, 16, 16, 16)
    term = regression_losses.frequencies_by_centred_mask
    assert float(term(slow, zero)) > 1000 * float(term(fine, zero))


def test_the_swallowed_term_is_a_constant_whatever_is_predicted(healthy):
    target = healthy.first_batches(1)[0]["ct"]
    term = regression_losses.perceptual_or_constant
    assert float(term(target, target)) == float(term(0 * target, target)) == pytest.approx(0.1)
