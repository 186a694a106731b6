"""L311 in the loss of a case: errors that are swallowed, and terms at their ceiling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from patients.sitting import findings, line_at, run_check
from patients.volumes import images
from traindx.checks.loss.gradients import gradients
from traindx.checks.loss.operations import loss_operations
from traindx.checks.loss.order import loss_order
from traindx.checks.training.training_step import training_step
from traindx.finding import Standing


def case_of(terms):
    x = images(4, 16)
    return dx.Case(
        model=lambda: nn.Conv2d(1, 1, 3, padding=1),
        train=[{"x": x, "y": x.flip(3)}],
        loss=lambda model, batch: terms(model(batch["x"]), batch["y"]),
        target=lambda batch: batch["y"],
        predict=lambda model, batch: model(batch["x"]),
    )


def features(channels):
    def loss(p, y):
        try:
            return F.l1_loss(*(F.conv2d(image, torch.ones(2, channels, 3, 3)) for image in (p, y)))
        except RuntimeError:
            return torch.tensor(0.1)

    return loss


def with_fallback(p, y):
    """Near miss: an operation is tried, and what replaces it compares as well."""
    try:
        return F.l1_loss(p.view(7, -1), y.view(7, -1))
    except RuntimeError:
        return F.l1_loss(p, y)


def test_a_swallowed_error_is_demonstrated_at_its_line():
    case = case_of(lambda p, y: {"l1": F.l1_loss(p, y), "features": features(3)(p, y)})
    (finding,) = findings(run_check(case, loss_operations), "L311")
    assert finding.standing is Standing.DEMONSTRATED
    assert "'features'" in finding.message
    assert "conv2d" in line_at(finding.location)


@pytest.mark.parametrize("extra", [features(1), with_fallback, lambda p, y: torch.tensor(0.1)])
def test_terms_that_are_computed_and_mere_constants_are_left_alone(extra):
    case = case_of(lambda p, y: {"l1": F.l1_loss(p, y), "extra": extra(p, y)})
    assert findings(run_check(case, loss_operations), "L311") == []


def test_errors_reach_the_user_as_they_are():
    def terms(p, y):
        return F.l1_loss(p.view(7, -1), y)

    with pytest.raises(RuntimeError, match="shape"):
        run_check(case_of(terms), loss_operations)


def bounded(most):
    return lambda p, y: {"l1": F.l1_loss(p, y), "edges": most(((p - y).diff(dim=3)).square().sum())}


def sat(terms, *more):
    return findings(run_check(case_of(terms), gradients, loss_order, *more), "L311")


def test_a_term_at_its_ceiling_is_demonstrated():
    """A bound that is no clamp: 1 - exp(-sum) is 1 to the last bit."""
    (finding,) = sat(bounded(lambda value: 1 - torch.exp(-1e4 * value)))
    assert finding.standing is Standing.DEMONSTRATED
    assert "'edges'" in finding.message


def test_where_a_clamp_is_seen_it_is_left_to_the_rule_that_names_its_line():
    terms = bounded(lambda value: torch.clamp(value, 0, 1e-4))
    assert len(sat(terms)) == 1
    assert sat(terms, training_step) == []
    assert findings(run_check(case_of(terms), training_step), "L306")


def test_a_bounded_term_with_a_gradient_is_left_alone():
    assert sat(bounded(lambda value: torch.tanh(1e-3 * value))) == []
