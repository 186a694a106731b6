"""M201 and M202: squeezed channels, and a grid too coarse for the image."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from patients.denoisers import denoising_case
from patients.sitting import findings, line_at, run_check
from patients.volumes import bodies, images
from traindx.checks.network.information_path import information_path
from traindx.evidence.evaluation import BaselineScore
from traindx.finding import Standing


class Lifting(nn.Module):
    """Features of a radiograph are projected to a few channels of a volume."""

    def __init__(self, features=64, kept=1):
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(1, features, 3, padding=1), nn.SiLU())
        self.lift = nn.Conv3d(features, kept, 1)
        self.decode = nn.Sequential(nn.Conv3d(kept, 8, 3, padding=1), nn.SiLU(), nn.Conv3d(8, 1, 3, padding=1))

    def forward(self, x):
        volume = self.encode(x).unsqueeze(2).expand(-1, -1, 16, -1, -1)
        return self.decode(self.lift(volume))


def lifting_case(**network):
    volumes = bodies(4, 16)
    return dx.Case(
        model=lambda: Lifting(**network),
        train=[{"xray": volumes.mean(2), "ct": volumes}],
        loss=lambda model, batch: F.mse_loss(model(batch["xray"]), batch["ct"]),
        target=lambda batch: batch["ct"],
        conditions=("xray",),
    )


def test_sixty_four_features_into_one_channel_is_suspected_at_its_line():
    (finding,) = findings(run_check(lifting_case(), information_path), "M201")
    assert finding.standing is Standing.SUSPECTED
    assert "self.lift" in line_at(finding.location)
    assert finding.numbers["channels_in"] == 64


@pytest.mark.parametrize("network", [{"kept": 16}, {"features": 32}], ids=["16 kept", "ratio 32"])
def test_enough_channels_are_left_alone(network):
    assert findings(run_check(lifting_case(**network), information_path), "M201") == []


def test_the_networks_own_last_layer_and_gates_are_no_bottleneck():
    class Attended(nn.Module):
        """Near miss: squeeze-and-excitation and a spatial gate reduce channels, beside the path and not on it."""

        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(1, 64, 3, padding=1)
            self.gate = nn.Conv2d(64, 1, 1)
            self.squeeze = nn.Linear(64, 1)
            self.excite = nn.Linear(1, 64)
            self.out = nn.Conv2d(64, 1, 1)

        def forward(self, x):
            h = F.silu(self.stem(x))
            h = (
                h
                * torch.sigmoid(self.gate(h))
                * torch.sigmoid(self.excite(self.squeeze(h.mean((2, 3)))))[..., None, None]
            )
            return self.out(F.silu(h))

    data = images(4, 16)
    case = dx.Case(
        model=Attended,
        train=[{"x": data, "y": data.flip(3)}],
        loss=lambda model, batch: F.mse_loss(model(batch["x"]), batch["y"]),
        target=lambda batch: batch["y"],
    )
    assert findings(run_check(case, information_path), "M201", "M202", "M210") == []


def ceiling_by_hand(volumes, grid):
    """Independent reference: dense least squares on all up-sampled unit grids."""
    size = volumes.shape[-1]
    basis = F.interpolate(torch.eye(grid**3).double().view(-1, 1, grid, grid, grid), size=(size,) * 3, mode="trilinear")
    basis = basis.reshape(grid**3, -1).T
    wanted = volumes.double().reshape(len(volumes), -1).T
    lost = (wanted - basis @ torch.linalg.lstsq(basis, wanted).solution).square().mean()
    return 10 * math.log10(4 / float(lost))


@pytest.mark.parametrize("head", ["scalar-tokens", "x0-skip"])
def test_the_ceiling_of_a_coarse_grid_is_stated_in_db(head):
    prediction = "sample" if head == "scalar-tokens" else "v"
    (finding,) = findings(run_check(denoising_case(head=head, prediction=prediction), information_path), "M202")
    assert finding.standing is Standing.SUSPECTED
    assert finding.numbers["ceiling_db"] == pytest.approx(ceiling_by_hand(bodies(6, 16)[:4], 4), abs=1e-3)


def test_a_ceiling_below_a_trivial_baseline_is_demonstrated():
    evidence = run_check(denoising_case(head="x0-skip"), information_path)
    evidence.add(BaselineScore(name="mean of the training targets", metric="psnr", unit="dB", values=(22.0, 23.0)))
    (finding,) = findings(evidence, "M202")
    assert finding.standing is Standing.DEMONSTRATED
    assert "22.5 dB" in finding.message


def test_a_path_of_full_resolution_is_left_alone():
    assert findings(run_check(denoising_case(head="skip"), information_path), "M202") == []


def test_a_coarse_grid_is_left_alone_where_there_is_nothing_fine_to_draw():
    smooth = F.interpolate(F.avg_pool3d(bodies(6, 16), 4), scale_factor=4, mode="trilinear")
    case = denoising_case(head="scalar-tokens", prediction="sample")
    batch = next(case.batches())
    smooth_case = case.replace(train=[{**batch, "ct": smooth[:2]}])
    assert findings(run_check(smooth_case, information_path), "M202") == []


def test_noise_behind_the_same_grid_is_another_rules():
    evidence = run_check(denoising_case(head="scalar-tokens", prediction="v"), information_path)
    assert findings(evidence, "M202") == []
    assert findings(evidence, "M210") != []
