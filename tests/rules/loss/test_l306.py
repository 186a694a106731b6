"""L306: a clamp is at fault only of the gradient that it stops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from patients.denoisers import add_noise, denoise, denoising_case
from patients.sitting import findings, line_at, run_check
from patients.volumes import images
from traindx.checks.training.training_step import training_step
from traindx.evidence import InOrder
from traindx.finding import Standing


def case(loss, scale=1.0):
    x = images(4, 16)

    def build():
        net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 1, 3, padding=1))
        with torch.no_grad():
            net[2].weight.mul_(scale)
        return net

    return dx.Case(model=build, train=[{"x": x, "y": x.flip(3)}], loss=loss, target=lambda batch: batch["y"])


def narrow(model, batch):
    prediction = model(batch["x"]).clamp(0.5, 0.6)
    return F.mse_loss(prediction, batch["y"])


def saturated(model, batch):
    return torch.clamp(100 + F.mse_loss(model(batch["x"]), batch["y"]), 0, 100)


def hard(model, batch):
    return F.l1_loss(F.hardtanh(model(batch["x"]), -0.001, 0.001), batch["y"])


def chosen(model, batch):
    prediction = model(batch["x"])
    return F.mse_loss(torch.where(prediction > -9, 0.5, prediction), batch["y"])


def filled(model, batch):
    prediction = model(batch["x"])
    return F.mse_loss(prediction.masked_fill((prediction > -9) & (prediction < 9), 0.5), batch["y"])


def smallest(model, batch):
    return F.mse_loss(torch.minimum(model(batch["x"]), torch.tensor(-5.0)), batch["y"])


@pytest.mark.parametrize("loss", [narrow, saturated, hard, chosen, filled, smallest])
def test_a_clamp_that_stops_the_gradient_is_demonstrated_at_its_line(loss):
    (finding,) = findings(run_check(case(loss), training_step), "L306")
    assert finding.standing is Standing.DEMONSTRATED
    words = ("clamp", "hardtanh", "torch.where", "masked_fill", "minimum")
    assert any(word in line_at(finding.location) for word in words)
    (proposal,) = finding.proposals
    assert proposal.treatment == "unclamp"
    assert proposal.parameters["line"] == finding.location.line


def test_the_share_lost_is_that_of_autograd():
    """Independent reference: the gradient of the network's output with and without the clamp."""
    patient = case(lambda model, batch: F.mse_loss(model(batch["x"]).clamp(-0.5, 0.5), batch["y"]), scale=3)
    (finding,) = findings(run_check(patient, training_step), "L306")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = patient.model()
    batch = patient.first_batches(1)[0]
    output = model(batch["x"]).detach().requires_grad_()
    clamped = output.clamp(-0.5, 0.5)
    arriving = torch.autograd.grad(F.mse_loss(clamped, batch["y"]), clamped, retain_graph=True)[0]
    passing = torch.autograd.grad(F.mse_loss(output.clamp(-0.5, 0.5), batch["y"]), output)[0]
    lost = (arriving - passing).norm() / arriving.norm()
    assert 0.5 < lost < 0.9
    assert finding.numbers["gradient_lost"] == pytest.approx(float(lost), abs=1e-4)
    assert finding.standing is Standing.SUSPECTED


def wide(model, batch):
    return F.mse_loss(model(batch["x"]).clamp(-10, 10), batch["y"])


def in_no_grad(model, batch):
    prediction = model(batch["x"])
    with torch.no_grad():
        shown = prediction.clamp(0.5, 0.6)
    return F.mse_loss(prediction, batch["y"]) + 0 * shown.mean()


def unused(model, batch):
    prediction = model(batch["x"])
    x0 = prediction.clamp(0.5, 0.6)
    assert x0.shape == prediction.shape
    return F.mse_loss(prediction, batch["y"])


def guard(model, batch):
    error = F.mse_loss(model(batch["x"]), batch["y"], reduction="none").mean((1, 2, 3))
    return torch.sqrt(error.clamp(min=1e-8)).mean()


def of_the_target(model, batch):
    return F.mse_loss(model(batch["x"]), batch["y"].clamp(0.5, 0.6))


def masked_loss(model, batch):
    """Near miss: `where` by a mask of the data leaves out voxels; it is no clamp."""
    prediction = model(batch["x"])
    error = torch.where(batch["y"] > 5, (prediction - batch["y"]).square(), torch.zeros(()))
    return error.mean() + 0 * prediction.clamp(-10, 10).mean()


@pytest.mark.parametrize("loss", [wide, in_no_grad, unused, guard, of_the_target, masked_loss])
def test_innocent_clamps_are_left_alone_and_listed_as_healthy(loss):
    evidence = run_check(case(loss), training_step)
    assert findings(evidence, "L306") == []
    assert any("clamp at" in record.subject for record in evidence.of(InOrder))


def test_activations_inside_a_network_are_its_own_business():
    """Near miss: ReLU6 and hard tanh between learned layers stop much of the gradient, by design."""
    x = images(4, 16)

    def build():
        layers = [nn.Conv2d(1, 8, 3, padding=1), nn.Hardtanh(-0.05, 0.05), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU6()]
        net = nn.Sequential(*layers, nn.Conv2d(8, 1, 3, padding=1))
        with torch.no_grad():
            net[0].weight.mul_(30)
        return net

    patient = dx.Case(model=build, train=[{"x": x, "y": x}], loss=wide, target=lambda batch: batch["y"])
    assert findings(run_check(patient, training_step), "L306") == []


def test_the_documented_placebo():
    """x0 is clamped to +-10 for a picture while the loss judges v: bit-identical training, so nothing is said."""
    patient = denoising_case()

    def loss(model, batch):
        noise = torch.randn_like(batch["ct"])
        t = torch.full((len(noise),), 50)
        x_t = add_noise(batch["ct"], noise, t)
        v = denoise(model, x_t, t, batch)
        x0 = (0.7 * x_t - 0.7 * v).clamp(-10, 10)
        return {"diffusion": F.mse_loss(v, noise), "unused": 0.0 * x0.detach().mean()}

    assert findings(run_check(patient.replace(loss=loss), training_step), "L306") == []
