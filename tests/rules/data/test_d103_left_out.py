"""D103 beside a training: NaN in a batch is a fault where it reaches something, and none where it is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from watch.inside import found, watched

CODE = "D103"


def films() -> tuple[torch.Tensor, torch.Tensor]:
    """Images, and four findings of which three in ten were not looked for."""
    torch.manual_seed(0)
    images = torch.randn(64, 8)
    labels = (images[:, :4] > 0).float()
    labels[torch.rand(labels.shape) < 0.3] = torch.nan
    return images, labels


def train(masked: bool, image: float = 0.0) -> None:
    images, labels = films()
    images[5, 3] = images[5, 3] + image
    net = nn.Linear(8, 4)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(3):
        for x, y in DataLoader(TensorDataset(images, labels), 16):
            known = ~torch.isnan(y) if masked else slice(None)
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(net(x)[known], y[known]).backward()
            optimizer.step()


def test_labels_that_a_mask_leaves_out_are_no_fault(tmp_path: Path) -> None:
    assert found(CODE, watched(lambda: train(masked=True), tmp_path)) == []


def test_labels_that_reach_the_loss_are_one(tmp_path: Path) -> None:
    (finding,) = found(CODE, watched(lambda: train(masked=False), tmp_path))
    assert finding.standing == "demonstrated"
    assert finding.numbers["key"] == "batch[1]"


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_image_is_never_left_out_by_a_mask_of_labels(value: float, tmp_path: Path) -> None:
    assert found(CODE, watched(lambda: train(masked=True, image=value), tmp_path))
