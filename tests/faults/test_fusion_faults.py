"""Faults of the fusion: each is found by its rule and by no worse one, and does what its text says."""

from __future__ import annotations

import pytest
import torch

from traindx import rules
from traindx.checks.base import CheckContext
from traindx.checks.data.condition_ranges import condition_ranges
from traindx.checks.data.window import window
from traindx.checks.diffusion.guidance import guidance, uncertainty
from traindx.checks.diffusion.sampler import sampler
from traindx.checks.loss.gradients import gradients
from traindx.checks.loss.order import loss_order
from traindx.checks.metrics.reference_predictions import metric_probe
from traindx.checks.network.conditions import input_effects
from traindx.checks.network.information_path import information_path
from traindx.checks.training.bookkeeping import bookkeeping
from traindx.checks.training.update_budget import update_budget
from traindx.evidence import Evidence
from traindx.faults import registry
from traindx.finding import Standing
from traindx.recipes.fusion.case import changed, make_case, system_of
from traindx.recipes.fusion.roi import RoiWeights

FAULTS = [fault for fault in registry().values() if fault.recipe == "fusion"]

EXAMS = {
    "scale-mismatch": condition_ranges,
    "window-kills-bone": window,
    "half-resolution": information_path,
    "pooled-condition": input_effects,
    "pooled-condition-half-resolution": information_path,
    "strided-sampler": sampler,
    "output-clamp": sampler,
    "guidance-inert": guidance,
    "guidance-exploding": guidance,
    "zero-uncertainty": uncertainty,
    "dead-gamma": gradients,
    "contradicting-target": loss_order,
    "psnr-target-maximum": metric_probe,
    "sign-blind-ssim": metric_probe,
    "truth-against-itself": metric_probe,
    "starved-updates": update_budget,
    "missing-selection-key": bookkeeping,
    "unread-settings": bookkeeping,
    "picture-mask-transposed": bookkeeping,
    "fusion-postmortem": information_path,
}


@pytest.fixture(scope="module")
def healthy():
    return make_case(size=32, source="phantom", train=4, val=3, batch_size=4, channels=8, steps=120, head_steps=20)


def broken(case, name):
    return registry()[name].apply(case)


def findings(case, check):
    evidence = Evidence()
    with case.open():
        check.function(CheckContext(case, evidence))
    return [one for rule in rules.catalogue().values() for one in rule.check(evidence)]


def steps(case, count=3):
    """Weights after a few steps, everything drawn from one seed."""
    torch.manual_seed(0)
    model = case.model()
    optimizer = case.optimizer(model.parameters())
    batches = case.batches()
    for _ in range(count):
        terms = case.loss_terms(model, next(batches))
        optimizer.zero_grad()
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        optimizer.step()
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_every_fault_has_its_exam():
    assert {fault.name for fault in FAULTS} == set(EXAMS)


@pytest.mark.parametrize("name", list(EXAMS))
def test_found_by_its_rule_and_silent_where_it_must_be(healthy, name):
    fault = registry()[name]
    told = findings(broken(healthy, name), EXAMS[name])
    above = [one.code for one in told if one.standing.rank > Standing.SUSPECTED.rank]
    if fault.expected_rule:
        assert fault.expected_rule in {one.code for one in told}
        assert set(above) <= {fault.expected_rule}
    else:
        assert above == []
    assert not any(one.location and "faults/fusion" not in str(one.location) for one in told if one.code[0] in "ML")


@pytest.mark.parametrize(
    "check", sorted(set(EXAMS.values()), key=lambda check: check.name), ids=lambda check: check.name
)
def test_the_healthy_case_is_silent(healthy, check):
    assert findings(healthy, check) == []


def test_the_clamp_changes_no_bit_of_the_weights(healthy):
    """And next to nothing of the samples: data lie within its bounds, and noise of unit variance almost does."""
    clamped = broken(healthy, "output-clamp")
    assert same(steps(healthy), steps(clamped))
    batch, model = healthy.first_batches(1, "val")[0], healthy.model()
    drawn = []
    for case in (healthy, clamped):
        torch.manual_seed(1)
        drawn.append(case.prediction(model, batch))
    assert float((drawn[0] - drawn[1]).abs().mean()) < 1e-2 * float(drawn[0].std())


def test_a_dead_gamma_times_a_million_changes_no_bit(healthy):
    dead = broken(healthy, "dead-gamma")
    heavy = changed(dead, weights=RoiWeights(1.0, 1.0, 2e6))
    assert same(steps(dead), steps(heavy))
    alive = changed(healthy, weights=RoiWeights(1.0, 1.0, 4.0))
    assert not same(steps(healthy), steps(alive))


def test_pooled_conditions_do_not_notice_a_flip(healthy):
    batch = healthy.first_batches(1, "val")[0]
    change = {}
    for case in (healthy, broken(healthy, "pooled-condition")):
        torch.manual_seed(0)
        model, system = case.model(), system_of(case)
        x = torch.randn_like(batch["ct"])
        t = torch.full((len(x),), 500)
        flipped = {**batch, "mr": batch["mr"].flip(-1)}
        with torch.no_grad():
            before, after = (system.denoise(model, x, t, b) for b in (batch, flipped))
        change[case is healthy] = float((before - after).abs().mean() / before.abs().mean())
    assert change[False] < 0.05 * change[True]


def test_half_a_resolution_cannot_carry_the_finest_noise(healthy):
    """A checkerboard is in the kernel of what it does: the share of it that reaches v is nil."""
    batch = healthy.first_batches(1, "val")[0]
    checkers = (-1.0) ** (torch.arange(32)[:, None] + torch.arange(32))
    passed = {}
    for case in (healthy, broken(healthy, "half-resolution")):
        torch.manual_seed(0)
        model, system = case.model(), system_of(case)
        x, t = torch.randn_like(batch["ct"]), torch.full((len(batch["ct"]),), 500)
        with torch.no_grad():
            moved = system.denoise(model, x + 0.1 * checkers, t, batch) - system.denoise(model, x, t, batch)
        passed[case is healthy] = abs(float((moved * checkers).mean() / 0.1))
    assert passed[True] > 0.2
    assert passed[False] < 0.1 * passed[True]


def test_the_window_leaves_one_value_of_bone_to_the_network_and_all_to_the_target(healthy):
    batch = broken(healthy, "window-kills-bone").first_batches(1, "val")[0]
    bone = batch["bone"] > 0
    assert batch["ct"][bone].unique().numel() == 1
    assert batch["fused"][bone].unique().numel() > 20


def test_an_image_and_its_negative_have_nearly_one_ssim(healthy):
    target = healthy.first_batches(1, "val")[0]["fused"]
    _, metric = broken(healthy, "sign-blind-ssim").metric()
    assert metric(2 * target.mean() - target, target) > 0.9


def test_the_moving_peak_moves_with_the_scale_of_the_target(healthy):
    target = healthy.first_batches(1, "val")[0]["fused"]
    _, moving = broken(healthy, "psnr-target-maximum").metric()
    half = (target + 1) / 2 - 1
    noise = 0.02 * torch.sign(0.5 - torch.rand_like(target))
    assert moving(half + noise.abs(), half) < moving(target + noise.abs(), target) - 1


def test_left_over_gradients_leak_into_the_next_update(healthy):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = broken(healthy, "starved-updates").optimizer([weight])
    for call in range(9):
        optimizer.zero_grad()
        torch.autograd.backward((weight * 1.0).sum())
        before = weight.detach().clone()
        optimizer.step()
        assert torch.equal(weight.detach(), before) is (call != 7)


@pytest.mark.slow
def test_a_whole_examination_of_the_healthy_recipe_finds_nothing():
    import traindx as dx

    diagnosis = dx.examine(make_case(source="phantom"), budget="0s")
    assert diagnosis.findings == ()
    assert diagnosis.errors == ()
