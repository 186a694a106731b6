"""M204, M205, M206 and M211: inputs that do not arrive, or cannot be told apart."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from patients.denoisers import denoising_case
from patients.sitting import findings, run_check
from patients.volumes import bodies, images
from traindx.checks.network.conditions import input_effects, trained_input_effects
from traindx.core.undisturbed import reinit_zero_initialized
from traindx.finding import Standing

CODES = ("M204", "M205", "M206", "M211")


def found(case, trained=None):
    checks = (input_effects,) if trained is None else (trained_input_effects,)
    return {finding.code: finding for finding in findings(run_check(case, *checks, trained=trained), *CODES)}


@pytest.mark.parametrize("head", ["skip", "scalar-tokens", "x0-skip"])
def test_a_network_that_uses_everything_is_left_alone(head):
    """Near miss inside: heads and adaptive-norm gates start at zero, so a fresh network ignores everything."""
    case = denoising_case(head=head)
    model = case.model().eval()
    batch = case.first_batches(1)[0]
    if head == "skip":
        output = case.diffusion.denoise(model, torch.randn_like(batch["ct"]), torch.tensor([3, 3]), batch)
        assert torch.all(output == 0)
    assert found(case) == {}


def test_a_view_that_is_dropped_is_demonstrated():
    said = found(denoising_case(views="no lateral"))
    assert set(said) == {"M205"}
    assert said["M205"].standing is Standing.DEMONSTRATED
    assert "'lateral'" in said["M205"].message


def test_views_that_are_averaged_cannot_be_told_apart():
    said = found(denoising_case(views="averaged"))
    assert set(said) == {"M211"}
    assert said["M211"].standing is Standing.DEMONSTRATED


def test_a_pooled_view_has_lost_its_place():
    said = found(denoising_case(views="pooled"))
    assert set(said) == {"M205"}
    assert said["M205"].standing is Standing.SUSPECTED  # a radiograph is not registered with the volume
    assert "not where" in said["M205"].message


def test_time_that_is_not_used():
    said = found(denoising_case(time="ignored"))
    assert set(said) == {"M206"}
    assert said["M206"].standing is Standing.DEMONSTRATED


def test_a_trained_model_that_ignores_a_view_is_found_too():
    case = denoising_case(head="scalar-tokens")
    model = case.model()
    reinit_zero_initialized(model)  # as training would have opened its gates
    with torch.no_grad():
        for parameter in model.views.lateral.parameters():
            parameter.zero_()
    said = found(case, trained=model.train())
    assert set(said) == {"M205"}
    assert model.training  # the mode is given back


class Fusion(nn.Module):
    """CT and registered MR to a fused slice; ``how`` the MR joins."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.mr = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.SiLU())
        self.body = nn.Sequential(nn.Conv2d(9, 16, 3, padding=1), nn.BatchNorm2d(16), nn.SiLU(), nn.Dropout(0.3))
        self.out = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, ct, mr):
        features = self.mr(mr)
        if self.how == "pooled":
            features = features.mean((2, 3), keepdim=True).expand_as(features)
        if self.how == "faint":
            features = features * 4e-6
        return torch.tanh(self.out(self.body(torch.cat([ct, features], 1))))


def fusion_case(how):
    ct = images(4, 32)
    mr = -ct + 0.3 * torch.randn(ct.shape, generator=torch.Generator().manual_seed(1))
    return dx.Case(
        model=lambda: Fusion(how),
        train=[{"ct": ct, "mr": mr}],
        loss=lambda model, batch: F.l1_loss(model(batch["ct"], batch["mr"]), (batch["ct"] + batch["mr"]) / 2),
        target=lambda batch: (batch["ct"] + batch["mr"]) / 2,
        conditions=("ct", "mr"),
    )


def test_a_registered_modality_that_is_pooled_is_demonstrated():
    said = found(fusion_case("pooled"))
    assert said["M205"].standing is Standing.DEMONSTRATED
    assert "'mr'" in said["M205"].message


def test_a_registered_modality_that_hardly_arrives_is_suspected():
    said = found(fusion_case("faint"))
    assert said["M205"].standing is Standing.SUSPECTED
    assert "is ignored" in said["M205"].message


def test_a_registered_modality_that_is_joined_as_feature_maps_is_left_alone():
    assert found(fusion_case("maps")) == {}


def test_a_constant_function_is_found():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.template = nn.Parameter(torch.randn(1, 1, 8, 8))

        def forward(self, x):
            return self.template.expand(len(x), -1, -1, -1)

    x = images(4, 8)
    case = dx.Case(
        model=Constant,
        train=[{"x": x, "y": x}],
        loss=lambda model, batch: F.mse_loss(model(batch["x"]), batch["y"]),
        target=lambda batch: batch["y"],
    )
    assert set(found(case)) == {"M204"}
    assert set(found(case, trained=Constant())) == {"M204"}


def test_identical_samples_prove_nothing():
    """Near miss: both samples are the same patient, so another sample's condition is the same condition."""
    case = denoising_case()
    batch = case.first_batches(1)[0]
    twice = {key: value[:1].expand(2, *value.shape[1:]) for key, value in batch.items()}
    assert found(case.replace(train=[twice])) == {}


def test_scalar_conditions_are_judged_without_pictures():
    class Dose(nn.Module):
        def __init__(self, used):
            super().__init__()
            self.film = nn.Linear(1, 8)
            self.conv, self.out = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
            self.used = used

        def forward(self, x, dose):
            return self.out(F.silu(self.conv(x) + (self.film(dose)[..., None, None] if self.used else 0)))

    x = bodies(4, 8)[:, :, 4]

    def case(used):
        return dx.Case(
            model=lambda: Dose(used),
            train=[{"x": x, "dose": torch.arange(4.0)[:, None]}],
            loss=lambda model, batch: F.mse_loss(model(batch["x"], batch["dose"]), batch["x"]),
            target=lambda batch: batch["x"],
            conditions=("dose",),
        )

    assert found(case(True)) == {}
    assert found(case(False))["M205"].standing is Standing.DEMONSTRATED
