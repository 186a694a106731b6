"""M210: the head that cannot express its target, and everything that looks like it."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from patients.denoisers import ALPHAS_CUMPROD, STEPS, denoising_case
from patients.sitting import findings, line_at, run_check
from patients.volumes import bodies
from traindx.checks.network.information_path import information_path
from traindx.finding import Standing


def m210(case):
    return findings(run_check(case, information_path), "M210")


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_a_scalar_a_token_with_no_way_around_is_found_at_its_line(prediction):
    (finding,) = m210(denoising_case(head="scalar-tokens", prediction=prediction))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.file.endswith("denoisers.py")
    source = line_at(finding.location)
    assert "to_voxel" in source
    assert finding.numbers["numbers_that_pass"] == 64
    assert finding.numbers["numbers_in_the_output"] == 4096
    assert [p.treatment for p in finding.proposals] == ["full-resolution-skip"]


def test_the_floor_is_what_least_squares_cannot_beat():
    """Independent reference: fit the up-sampled grid to real v targets by brute force, at many times."""
    case = denoising_case(head="scalar-tokens")
    (finding,) = m210(case)
    x0 = bodies(6, 16)[:4].double()
    basis = F.interpolate(torch.eye(64, dtype=torch.float64).view(64, 1, 4, 4, 4), size=(16, 16, 16), mode="trilinear")
    basis = basis.reshape(64, -1).T
    generator = torch.Generator().manual_seed(0)
    lost = []
    for t in range(2, STEPS, 5):
        a, s = ALPHAS_CUMPROD[t].double().sqrt(), (1 - ALPHAS_CUMPROD[t].double()).sqrt()
        v = (a * torch.randn(x0.shape, generator=generator).double() - s * x0).reshape(4, -1).T
        best = basis @ torch.linalg.lstsq(basis, v).solution
        lost.append(float((v - best).square().mean()))
    assert finding.numbers["loss_floor"] == pytest.approx(sum(lost) / len(lost), rel=0.03)


@pytest.mark.parametrize(
    "network",
    [
        {"head": "skip"},
        {"head": "scalar-tokens + gain"},  # near miss: the skip is there, and silent at the start
        {"head": "x0-skip"},
        {"head": "scalar-tokens", "prediction": "sample"},  # near miss: an x0 head needs no fine noise
    ],
    ids=lambda network: " ".join(network.values()),
)
def test_networks_that_can_are_left_alone(network):
    assert m210(denoising_case(**network)) == []


class PatchTransformer(nn.Module):
    """Near miss: coarse tokens, but each emits a whole patch (Peebles and Xie 2023), from ``dim`` numbers a token."""

    def __init__(self, dim):
        super().__init__()
        self.embed = nn.Conv3d(1, dim, 4, stride=4)
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.patches = nn.Linear(dim, 64)
        nn.init.zeros_(self.patches.weight)

    def forward(self, x):
        grid = self.embed(x)
        tokens = self.patches(self.body(grid.flatten(2).transpose(1, 2)))
        b, (d, h, w) = len(x), grid.shape[2:]
        cells = tokens.view(b, d, h, w, 4, 4, 4).permute(0, 1, 4, 2, 5, 3, 6)
        return cells.reshape(b, 1, 4 * d, 4 * h, 4 * w)


class HalfResolution(nn.Module):
    """The fault of a U-Net without a skip at full resolution: the head works at half, and is up-sampled."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv3d(1, 8, 3, stride=2, padding=1)
        self.head = nn.Conv3d(8, 1, 3, padding=1)

    def forward(self, x):
        return F.interpolate(self.head(F.silu(self.down(x))), scale_factor=2, mode="nearest")


def without_conditions(build, prediction="epsilon"):
    case = denoising_case(prediction=prediction)
    return case.replace(
        model=build, conditions=(), diffusion__denoise=lambda model, x_t, t, batch: model(x_t), loss=None
    )


def test_tokens_that_emit_patches_are_no_bottleneck_unless_they_are_narrow():
    assert m210(without_conditions(lambda: PatchTransformer(64))) == []
    (finding,) = m210(without_conditions(lambda: PatchTransformer(16)))
    assert finding.numbers["loss_floor"] == pytest.approx(1 - 16 / 64)


def test_a_head_at_half_resolution_loses_seven_eighths_of_the_noise():
    (finding,) = m210(without_conditions(HalfResolution))
    assert finding.numbers["loss_floor"] == pytest.approx(7 / 8)
    assert "HalfResolution" in finding.location.symbol


def test_monai_networks_are_left_alone():
    from monai.networks.nets import DiffusionModelUNet, UNet

    def unet():
        return UNet(3, 1, 1, channels=(8, 16), strides=(2,), num_res_units=1)

    def diffusion_unet():
        return DiffusionModelUNet(
            3, 1, 1, channels=(8, 8), attention_levels=(False, True), norm_num_groups=4, num_head_channels=4,
            num_res_blocks=1,
        )  # fmt: skip

    assert m210(without_conditions(unet)) == []
    case = without_conditions(diffusion_unet).replace(diffusion__denoise=lambda model, x_t, t, batch: model(x_t, t))
    assert m210(case) == []


def regression(build, target):
    volumes = bodies(4, 16)
    batch = {"x": volumes, "y": target(volumes)}
    return dx.Case(
        model=build,
        train=[batch],
        loss=lambda model, b: F.l1_loss(model(b["x"]), b["y"]),
        target=lambda b: b["y"],
        predict=lambda model, b: model(b["x"]),
    )


def test_without_diffusion_the_targets_themselves_are_measured():
    noise = torch.randn(4, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    (finding,) = m210(regression(HalfResolution, lambda volumes: noise))
    assert finding.numbers["loss_floor"] == pytest.approx(7 / 8, abs=0.02)
    smooth = F.interpolate(F.avg_pool3d(bodies(4, 16), 4), scale_factor=4)
    assert m210(regression(HalfResolution, lambda volumes: smooth)) == []


def test_a_path_the_trace_cannot_see_is_not_accused():
    """Near miss: the full-resolution path goes through numpy; counting misses it, holding the tokens does not."""

    class Hidden(HalfResolution):
        def forward(self, x):
            return super().forward(x) + torch.from_numpy(x.detach().numpy() * 0.5)

    assert m210(without_conditions(Hidden)) == []


def test_the_closed_form_of_the_documented_case():
    """Cosine schedule, one number for 64 voxels: about .477 (v), as measured on the described network."""
    mean_alpha_bar = float(ALPHAS_CUMPROD.mean())
    (finding,) = m210(denoising_case(head="scalar-tokens"))
    assert finding.numbers["loss_floor"] >= 63 / 64 * mean_alpha_bar
    assert math.isclose(63 / 64 * mean_alpha_bar, 0.48, abs_tol=0.01)
