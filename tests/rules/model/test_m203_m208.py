"""M203 and M208: heads that cannot reach their targets, and shapes that are stretched."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from patients.denoisers import denoising_case, diffusion_loss
from patients.sitting import findings, line_at, run_check
from patients.volumes import images
from traindx.checks.training.training_step import training_step
from traindx.finding import Standing


class Head(nn.Module):
    def __init__(self, last, channels=1):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, channels, 1)
        )
        self.last = last

    def forward(self, x):
        return self.last(self.body(x))


def plain_difference(prediction, target):
    return (prediction - target).square().mean()


def scaled_in_the_loss(prediction, target):
    return F.mse_loss(
        prediction * 2 - 1, target
    )  # near miss: a sigmoid that is brought to [-1, 1] where it is compared


def case(last, target=None, compare=F.mse_loss, channels=1):
    x = images(4, 16)
    y = x.flip(3) if target is None else target(x)
    return dx.Case(
        model=lambda: Head(last, channels),
        train=[{"x": x, "y": y}],
        loss=lambda model, batch: compare(model(batch["x"]), batch["y"]),
        target=lambda batch: batch["y"],
    )


def found(patient, code):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return findings(run_check(patient, training_step), code)


@pytest.mark.parametrize(
    ("last", "target", "lost"),
    [
        (torch.sigmoid, None, 0.9),
        (torch.relu, None, 0.9),
        (torch.tanh, lambda x: 3 * torch.randn(x.shape), 0.3),
        (lambda y: y.clamp(0, 1), None, 0.9),
        (nn.Hardtanh(-0.1, 0.1), None, 0.5),
        (lambda y: 0.2 * torch.tanh(y) + 0.1, None, 0.5),
    ],
    ids=["sigmoid", "relu", "tanh-noise", "clamp", "hardtanh", "scaled tanh"],
)
@pytest.mark.parametrize("compare", [F.mse_loss, plain_difference, F.l1_loss])
def test_a_head_that_ends_before_its_targets(last, target, lost, compare):
    (finding,) = found(case(last, target, compare), "M203")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.numbers["variance_lost"] > lost / 2
    assert finding.location.file.endswith("test_m203_m208.py")


def test_the_variance_lost_is_the_distance_to_the_range():
    x = images(4, 16)
    (finding,) = found(case(torch.sigmoid), "M203")
    expected = float(x.flip(3).clamp(max=0).square().mean() / x.var())
    assert finding.numbers["variance_lost"] == pytest.approx(expected, rel=1e-3)


def test_no_more_than_all_of_the_variance_can_be_lost():
    """Targets far from the range: the distance is many times their spread, and no share of it."""
    (finding,) = found(case(torch.sigmoid, lambda x: x - 9), "M203")
    assert finding.numbers["variance_lost"] > 1
    assert "variance" not in finding.message
    assert "constant" in finding.message


@pytest.mark.parametrize(
    ("last", "target", "compare"),
    [
        (torch.tanh, None, F.mse_loss),  # near miss: air is exactly -1, the end of the range
        (nn.Identity(), None, F.mse_loss),
        (torch.sigmoid, lambda x: (x > 0).float(), F.binary_cross_entropy),
        (torch.sigmoid, None, scaled_in_the_loss),
        (lambda y: y.clamp(-10, 10), None, F.mse_loss),
        (lambda y: 1.5 * torch.tanh(y), None, F.mse_loss),
        (F.softplus, lambda x: x + 2, F.mse_loss),
    ],
    ids=["tanh", "linear", "probability", "rescaled", "wide clamp", "wide tanh", "softplus"],
)
def test_heads_that_reach_are_left_alone(last, target, compare):
    assert found(case(last, target, compare), "M203") == []


def test_an_inner_activation_is_no_head():
    """Near miss: ReLU, sigmoid gates and softmax attention inside the network are followed by learned layers."""

    class Gated(Head):
        def forward(self, x):
            h = self.body[:3](x)
            return self.body[3](h * torch.sigmoid(h)) * torch.sigmoid(self.body[3](h))

    assert found(case(nn.Identity()).replace(model=lambda: Gated(nn.Identity())), "M203") == []


def test_a_tanh_before_a_v_target_and_not_before_an_image():
    def tanh_head(prediction):
        patient = denoising_case(head="scalar-tokens", prediction=prediction)

        def build():
            model = patient.model()
            forward = model.forward
            model.forward = lambda *inputs: torch.tanh(forward(*inputs))
            return model

        return patient.replace(model=build)

    (finding,) = found(tanh_head("v"), "M203")
    assert finding.standing is Standing.DEMONSTRATED
    assert found(tanh_head("sample"), "M203") == []


def test_the_one_step_image_of_a_clamped_prediction_is_not_a_comparison():
    """Near miss: eps = (x_t - a * x0.clamp(-1, 1)) / s subtracts a bounded prediction from data, comparing nothing."""
    noise = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    def loss(model, batch):
        x_t = 0.7 * batch["y"] + 0.7 * noise
        x0 = model(x_t).clamp(-1, 1)
        eps = (x_t - 0.7 * x0) / 0.7
        return F.mse_loss(x0, batch["y"]) + 0 * eps.mean()

    assert found(case(nn.Identity()).replace(loss=loss), "M203") == []


# M208


def test_seventeen_channels_against_one():
    (finding,) = found(case(nn.Identity(), channels=17), "M208")
    assert finding.standing is Standing.DEMONSTRATED
    assert "17 channels against 1" in finding.message


def test_plain_arithmetic_is_seen_too_at_the_users_line():
    (finding,) = found(case(nn.Identity(), compare=plain_difference, channels=17), "M208")
    assert finding.standing is Standing.DEMONSTRATED
    assert line_at(finding.location) == "return (prediction - target).square().mean()"


@pytest.mark.parametrize("compare", [F.mse_loss, plain_difference, F.l1_loss, F.smooth_l1_loss])
def test_a_column_against_a_row(compare):
    x = torch.randn(8, 3)
    patient = dx.Case(
        model=lambda: nn.Linear(3, 1),
        train=[{"x": x, "y": x.sum(1)}],
        loss=lambda model, batch: compare(model(batch["x"]), batch["y"]),
        target=lambda batch: batch["y"],
    )
    (finding,) = found(patient, "M208")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.numbers["result_shape"] == "(8, 8)"


def several_samples(prediction, target):
    return torch.stack([prediction, prediction]).sub(target).abs().mean()


def masked(prediction, target):
    weight = (target.mean((2, 3), keepdim=True) > -0.9).float()
    return (weight * (prediction - target).square()).mean()


def normalised(prediction, target):
    centred = target - target.mean((2, 3), keepdim=True)
    return F.mse_loss(prediction - prediction.mean((2, 3), keepdim=True), centred)


@pytest.mark.parametrize("compare", [F.mse_loss, plain_difference, several_samples, masked, normalised])
def test_equal_shapes_masks_and_several_predictions_are_left_alone(compare):
    assert found(case(nn.Identity(), compare=compare), "M208") == []


def test_healthy_diffusion_and_classification_are_left_alone():
    assert found(denoising_case(), "M208") == []
    assert found(denoising_case(prediction="epsilon"), "M208") == []
    x = torch.randn(8, 3)
    patient = dx.Case(
        model=lambda: nn.Linear(3, 4),
        train=[{"x": x, "y": torch.arange(8) % 4}],
        loss=lambda model, batch: F.cross_entropy(model(batch["x"]), batch["y"]),
        target=lambda batch: batch["y"],
    )
    assert found(patient, "M208") == []


def test_watching_changes_nothing():
    """The loss, the weights' gradients and the random state are those of an unwatched run."""
    patient = denoising_case(head="scalar-tokens")
    model = patient.model()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run_check(patient, training_step)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.manual_seed(0)
    plain = diffusion_loss("v")(model, patient.first_batches(1)[0])
    from traindx.checks.loss.recorded_loss import LossWatch

    torch.manual_seed(0)
    watch = LossWatch(patient.first_batches(1)[0], {})
    with watch.following(model), watch:
        watched = diffusion_loss("v")(model, patient.first_batches(1)[0])
    assert torch.equal(plain, watched)
