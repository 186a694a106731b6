"""L317 on masked pre-training that looks at the wrong region."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from traindx.evidence.probed import GivenProbed
from traindx.finding import Standing
from watch.inside import found, watched


def loop(kind: str) -> None:
    torch.manual_seed(0)
    images = torch.randn(24, 1, 16, 16)
    brain = (torch.linspace(-1, 1, 16)[:, None].square() + torch.linspace(-1, 1, 16).square() < 0.8).expand_as(images)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for image, inside in DataLoader(TensorDataset(images, brain.float()), 4):
        keep = F.interpolate(torch.rand(4, 1, 4, 4), scale_factor=4) > 0.6
        keep = inside.bool() if kind == "given by the data" else keep
        loss = loss_of(kind, net(image * keep if kind != "plain" else image), image, keep)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def loss_of(kind: str, output: Tensor, image: Tensor, keep: Tensor) -> Tensor:
    if kind == "hidden":
        return ((output - image).square() * ~keep).sum() / (~keep).sum()
    if kind in ("everywhere", "plain"):
        return F.mse_loss(output, image)
    if kind == "indexed":
        return F.l1_loss(output[keep], image[keep])
    output, image = output * keep, image * keep
    return F.mse_loss(output, image, reduction="sum") / keep.sum()


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("visible", "output, image = output * keep, image * keep"),
        ("indexed", "return F.l1_loss(output[keep], image[keep])"),
    ],
)
def test_a_loss_on_the_visible_region_is_shown_where_it_masks(kind: str, line: str, tmp_path: Path) -> None:
    (finding,) = found("L317", watched(lambda: loop(kind), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert Path(__file__).read_text().splitlines()[finding.location.line - 1].strip() == line
    assert 0.4 < float(finding.numbers["hidden"]) < 0.8


@pytest.mark.parametrize("kind", ["hidden", "everywhere", "plain", "given by the data"])
def test_healthy_reconstruction_is_left_alone(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind), tmp_path)
    assert evidence.of(GivenProbed)
    assert not found("L317", evidence)
