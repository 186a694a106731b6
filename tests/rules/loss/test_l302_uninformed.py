"""L302 for the terms of a case: a term that cannot tell the truth from its opposite, and leads."""

from __future__ import annotations

import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from traindx.checks.loss.gradients import gradients
from traindx.checks.loss.order import loss_order
from traindx.finding import Standing


def batch():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(4, 1, 12, 12, generator=generator)
    return {"image": image, "mask": (image > 0).float()}


def case(weight):
    def loss(model, b):
        logits = model(b["image"])
        p = torch.sigmoid(logits)
        return {
            "bce": nn.functional.binary_cross_entropy_with_logits(logits, b["mask"]),
            "variance": -weight * p.flatten(1).var(dim=1).mean(),
        }

    return dx.Case(
        model=lambda: nn.Conv2d(1, 1, 3, padding=1),
        train=[batch()],
        loss=loss,
        target=lambda b: b["mask"],
        predict=lambda m, b: torch.sigmoid(m(b["image"])),
    )


def found(weight):
    return findings(run_check(case(weight), gradients, loss_order), "L302")


def test_a_variance_term_that_leads_is_suspected_with_a_trial():
    (finding,) = found(100.0)
    assert finding.standing is Standing.SUSPECTED
    assert "'variance'" in finding.message
    assert {proposal.treatment for proposal in finding.proposals} == {"reweight-term", "drop-term"}


def test_the_same_term_at_a_modest_weight_is_left_alone():
    assert found(0.1) == []


def test_a_task_term_that_leads_is_left_alone():
    """A near miss: one term has nearly all of the gradient, and it is the one that knows the truth."""
    assert found(1e-6) == []
