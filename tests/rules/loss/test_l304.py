"""L304: terms that cannot tell the truth from its mirror image, and those that can."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from patients.volumes import images
from traindx.checks.loss.spatially_invariant_terms import blind_terms
from traindx.evidence.loss import TermBlindness
from traindx.finding import Standing


def case_of(loss, count=4):
    x = images(count, 16)
    return dx.Case(
        model=lambda: nn.Conv2d(1, 1, 3, padding=1),
        train=[{"x": x, "y": x.flip(3)}],
        loss=lambda model, batch: loss(model(batch["x"]), batch["y"]),
        target=lambda batch: batch["y"],
        predict=lambda model, batch: model(batch["x"]),
    )


def variation(image):
    return image.diff(dim=2).abs().mean() + image.diff(dim=3).abs().mean()


def of_scalars(p, y):
    return (variation(p) - variation(y)).abs()


def of_edges(p, y):
    return (p.diff(dim=2) - y.diff(dim=2)).abs().mean() + (p.diff(dim=3) - y.diff(dim=3)).abs().mean()


def correlation(p, y):
    p, y = p - p.mean((1, 2, 3), keepdim=True), y - y.mean((1, 2, 3), keepdim=True)
    return 1 - ((p * y).sum((1, 2, 3)) / (p.square().sum((1, 2, 3)) * y.square().sum((1, 2, 3))).sqrt()).mean()


def found(loss):
    return findings(run_check(case_of(loss), blind_terms), "L304")


def test_a_term_of_two_scalars_is_suspected_and_named():
    (finding,) = found(lambda p, y: {"l1": F.l1_loss(p, y), "variation": of_scalars(p, y)})
    assert finding.standing is Standing.SUSPECTED
    assert "'variation'" in finding.message
    assert [proposal.treatment for proposal in finding.proposals] == ["drop-term"]


def test_a_loss_of_nothing_but_scalars_is_demonstrated():
    (finding,) = found(lambda p, y: of_scalars(p, y) + (p.mean() - y.mean()).abs())
    assert finding.standing is Standing.DEMONSTRATED


@pytest.mark.parametrize(
    "loss",
    [
        F.mse_loss,
        lambda p, y: {"l1": F.l1_loss(p, y), "edges": of_edges(p, y)},
        lambda p, y: {"l1": F.l1_loss(p, y), "smooth": 0.1 * variation(p)},  # a regulariser is not expected to judge
        lambda p, y: {"l1": F.l1_loss(p, y), "correlation": correlation(p, y)},  # blind to scale, in good context
    ],
)
def test_terms_that_see_places_are_left_alone(loss):
    assert found(loss) == []


def over_its_largest(p, y):
    """Values over the largest of each image: the scale is lost, the shift is not."""
    return F.mse_loss(p / p.abs().amax((2, 3), keepdim=True), y / y.abs().amax((2, 3), keepdim=True))


def test_a_loss_that_does_not_ask_for_the_scale_is_suspected():
    x = images(4, 16) - images(4, 16).min()  # from 0 on, so that the truth at another contrast is a multiple of it
    case = case_of(over_its_largest).replace(train=[{"x": x, "y": x.flip(3)}])
    (finding,) = findings(run_check(case, blind_terms), "L304")
    assert finding.standing is Standing.SUSPECTED
    assert "contrast" in finding.message


def mutual_information(p, y, bins=16):
    """Parzen windows over the range of either image, as registration uses it."""

    def weights(image):
        flat = image.flatten(1)
        low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
        centres = torch.linspace(0, 1, bins)
        away = ((flat - low) / (high - low)).unsqueeze(2) - centres
        soft = torch.exp(-0.5 * (away * bins).square())
        return soft / soft.sum(2, keepdim=True)

    joint = weights(p).transpose(1, 2) @ weights(y) / p[0].numel()
    outer = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    return -(joint * ((joint + 1e-9) / (outer + 1e-9)).log()).sum((1, 2)).mean()


@pytest.mark.parametrize("loss", [correlation, mutual_information])
def test_losses_that_ignore_contrast_on_purpose_are_left_alone(loss):
    """Near miss: correlation and mutual information overlook every linear change of values, which is their purpose."""
    assert found(loss) == []


def test_symmetric_targets_say_nothing():
    """Near miss: every image is its own mirror image, so a perfect loss does not change either."""
    x = images(4, 16)
    y = x + x.flip(2) + x.flip(3) + x.flip(2, 3)
    case = case_of(F.l1_loss).replace(train=[{"x": x, "y": y}])
    evidence = run_check(case, blind_terms)
    assert evidence.of(TermBlindness)
    assert findings(evidence, "L304") == []


def test_a_label_of_the_whole_image_beside_a_mask_is_left_alone():
    x = images(4, 16)
    masks = (x > 0).float()
    terms = lambda p, y: {  # noqa: E731
        "mask": F.binary_cross_entropy_with_logits(p, y),
        "label": F.binary_cross_entropy_with_logits(p.amax((2, 3)), y.amax((2, 3))),
    }
    evidence = run_check(case_of(terms).replace(train=[{"x": x, "y": masks}]), blind_terms)
    assert findings(evidence, "L304") == []


def test_classes_have_no_place():
    case = dx.Case(
        model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(256, 3)),
        train=[{"x": images(4, 16), "y": images(4, 16)[:, 0, 0, :3]}],
        loss=lambda model, batch: F.mse_loss(model(batch["x"]), batch["y"]),
        target=lambda batch: batch["y"],
    )
    assert len(run_check(case, blind_terms)) == 0
