"""Rules about a model in use (S509, S510, Y708, E805, D133) and other forms of D101, O412 and C1107.

Each from a small case through its check to the rule: one that is broken, one that is not, and one that nearly is.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import traindx as dx
from traindx import rules
from traindx.checks.base import Check, CheckContext
from traindx.checks.data.condition_ranges import condition_ranges
from traindx.checks.diffusion.guidance import guidance, uncertainty
from traindx.checks.training.bookkeeping import bookkeeping
from traindx.checks.training.update_budget import update_budget
from traindx.evidence import Evidence
from traindx.evidence.model_in_use import ConditionRange
from traindx.finding import Standing


class Tiny(nn.Module):
    """One convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.layer(x)


def batch():
    draw = torch.Generator().manual_seed(0)
    image = torch.rand(2, 1, 8, 8, generator=draw)
    return {"ct": image, "mr": 2 * image - 1, "target": torch.rand(2, 1, 8, 8, generator=draw)}


def case(**parts):
    made = dx.Case(
        model=Tiny,
        train=[batch(), batch()],
        target=lambda b: b["target"],
        loss=lambda model, b: (model(b["ct"]) - b["target"]).square().mean(),
        conditions=("ct", "mr"),
        steps=100,
    )
    return made.replace(**parts)


def found(made: dx.Case, check: Check, code: str):
    evidence = Evidence()
    state = torch.get_rng_state()
    check.function(CheckContext(made, evidence))
    assert torch.equal(torch.get_rng_state(), state), "the check drew from the global generator"
    return rules.catalogue()[code].check(evidence)


def steered(step, energy=None):
    """A sampler that draws noise around 0.5 and is steered towards 0.7 by a step of some kind."""
    target = energy or (lambda x0, b: (x0 - 0.7).square().mean())

    def sample(model, b, scale):
        x0 = 0.5 + 0.1 * torch.randn_like(b["ct"])
        if scale:
            with torch.enable_grad():
                place = x0.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(target(place, b), place)
            x0 = x0 - scale * step(gradient)
        return x0

    return dx.Guidance(sample=sample, energy=target, scale=0.1)


STEPS = {
    "normalised": lambda g: 0.1 * g / g.square().mean().sqrt(),
    "raw": lambda g: 1e-3 * g,
    "unbounded": lambda g: 1e5 * g,
    "none": lambda g: 0 * g,
}


@pytest.mark.parametrize(("step", "codes"), [("normalised", []), ("raw", ["S509"]), ("unbounded", ["S510"])])
def test_guidance_that_steers_is_silent_and_raw_gradients_are_not(step, codes):
    made = case(guidance=steered(STEPS[step]))
    told = {code: found(made, guidance, code) for code in ("S509", "S510")}
    assert [code for code, findings in told.items() if findings] == codes
    assert all(one.standing is Standing.DEMONSTRATED for findings in told.values() for one in findings)


def test_guidance_by_an_energy_without_gradient_is_told_apart():
    dead = steered(STEPS["none"], lambda x0, b: (0 * x0).sum() + 1)
    (finding,) = found(case(guidance=dead), guidance, "S509")
    assert "no gradient" in finding.message


def test_guidance_that_is_switched_off_is_silent():
    off = replace(steered(STEPS["raw"]), scale=0.0)
    assert found(case(guidance=off), guidance, "S509") == []
    assert found(case(guidance=off), guidance, "S510") == []


def test_a_step_up_the_energy_is_suspected_only():
    uphill = steered(lambda g: -0.5 * g / g.square().mean().sqrt())
    (finding,) = found(case(guidance=uphill), guidance, "S510")
    assert finding.standing is Standing.SUSPECTED


@pytest.mark.parametrize(("spread", "silent"), [(0.0, False), (1e-6, True), (0.1, True)])
def test_an_uncertainty_of_exactly_zero(spread, silent):
    deployment = dx.Deployment(uncertainty=lambda model, b: spread * torch.rand_like(b["ct"]))
    findings = found(case(deployment=deployment), uncertainty, "Y708")
    assert (findings == []) is silent
    if findings:
        assert findings[0].standing is Standing.DEMONSTRATED


def test_a_selection_key_that_is_not_produced():
    wrong = dx.Deployment(selects="val_dice", produces=lambda: ("val_dice_mean", "loss"))
    (finding,) = found(case(deployment=wrong), bookkeeping, "E805")
    assert finding.standing is Standing.DEMONSTRATED
    assert "'val_dice_mean'" in finding.remedy
    right = dx.Deployment(selects="loss", produces=lambda: ("val_dice_mean", "loss"))
    assert found(case(deployment=right), bookkeeping, "E805") == []


SETTINGS = {"lr": 0.1, "gamma": 2.0, "ema": 0.99}


@pytest.mark.parametrize(
    ("configure", "unread"),
    [
        (lambda s: (s["lr"], s["gamma"], s["ema"]), 0),
        (lambda s: dict(**s), 0),  # taken as a whole
        (lambda s: (s["lr"], s.get("gama", 1.0)), 2),  # a misspelt key with a default
    ],
)
def test_settings_that_nothing_asks_for(configure, unread):
    deployment = dx.Deployment(settings=SETTINGS, configure=configure)
    findings = found(case(deployment=deployment), bookkeeping, "C1107")
    assert [one.numbers["unread"] for one in findings] == ([unread] if unread else [])


@pytest.mark.parametrize(
    ("picture", "turned"),
    [
        (lambda image, mask: (image[0], mask[0]), None),
        (lambda image, mask: (image[0].T, mask[0].T), None),  # both alike
        (lambda image, mask: (image[0].roll(1, 0), mask[0]), None),  # a pixel off
        (lambda image, mask: (image[0].T, mask[0]), "transposed"),
        (lambda image, mask: (image[0], mask[0].flip(1)), "flipped"),
        (lambda image, mask: (torch.rot90(image[0]), mask[0]), "turned by 90 degrees"),
    ],
)
def test_a_mask_that_is_turned_otherwise_than_its_image(picture, turned):
    findings = found(case(deployment=dx.Deployment(picture=picture)), bookkeeping, "D133")
    assert [one.numbers["turned"] for one in findings] == ([] if turned is None else [turned])


def widened(factor):
    def batches():
        for one in (batch(), batch()):
            yield {**one, "mr": factor * one["mr"]}

    return case(train=batches)


@pytest.mark.parametrize(("factor", "silent"), [(1.0, True), (2.5, True), (5.0, False)])
def test_conditions_of_very_different_range(factor, silent):
    """In [0, 1] and [-1, 1] one is twice the other; a z-scored one beside [0, 1] five times; ten times is a finding."""
    findings = found(widened(factor), condition_ranges, "D101")
    assert (findings == []) is silent
    for one in findings:
        assert one.standing is Standing.SUSPECTED
        assert one.numbers["factor"] == pytest.approx(2 * factor, rel=1e-3)


def test_masks_and_vectors_are_no_images():
    made = case(
        train=lambda: iter([{**batch(), "mr": 100 * (batch()["mr"] > 0).float(), "ct": batch()["ct"]}]),
        conditions=("ct", "mr", "missing"),
    )
    assert found(made, condition_ranges, "D101") == []
    evidence = Evidence()
    condition_ranges.function(CheckContext(made, evidence))
    assert {one.condition: one.distinct for one in evidence.of(ConditionRange)}["mr"] == 2


class EveryNth(torch.optim.SGD):
    """Updates at every n-th call, with a linear warm-up."""

    def __init__(self, parameters, every, warm_up):
        super().__init__(parameters, lr=0.1)
        self.every, self.warm_up, self.calls = every, warm_up, 0
        self.param_groups[0]["initial_lr"] = 0.1

    def step(self, closure=None):
        self.calls += 1
        if self.calls % self.every == 0:
            self.param_groups[0]["lr"] = 0.1 * min(1.0, self.calls / self.every / self.warm_up)
            super().step(closure)


@pytest.mark.parametrize(
    ("every", "warm_up", "silent"),
    [(1, 1, True), (1, 200, True), (8, 1, True), (8, 500, False)],
)
def test_accumulation_and_warm_up_together_starve_a_training_and_neither_alone(every, warm_up, silent):
    made = case(optimizer=lambda parameters: EveryNth(parameters, every, warm_up))
    findings = found(made, update_budget, "O412")
    assert (findings == []) is silent
    if findings:
        assert findings[0].numbers["updates"] == 100 // every
        # closed form: the rates of updates 1..12 of a warm-up over 500, over 100 calls at the full rate
        assert findings[0].numbers["spent"] == pytest.approx(sum(range(1, 13)) / 500 / 100)
