"""D134 and D135 in scripts of their own: a buffer without a copy, normalisation in place, and both done rightly."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined
from traindx.finding import Standing

SCRIPT = """
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)

class Slices(Dataset):
    def __init__(self):
        self.images = np.random.default_rng(0).normal(3, 2, (48, 1, 8, 8)).astype(np.float32)
        self.labels = (self.images[:, 0, :4].mean((1, 2)) > 3).astype(np.int64)
        self.buffer = torch.zeros(1, 8, 8)

    def __len__(self):
        return 48

    def __getitem__(self, index):
        image = self.images[index]
        GIVE

data = Slices()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
for epoch in range(4):
    for images, labels in DataLoader(data, batch_size=8, shuffle=True):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
"""

REFILLED = "self.buffer.copy_(torch.from_numpy(image)); return self.buffer, self.labels[index]"
COPIED = "self.buffer.copy_(torch.from_numpy(image)); return self.buffer.clone(), self.labels[index]"
IN_PLACE = "image -= 3; image /= 2; return torch.from_numpy(image.copy()), self.labels[index]"
STANDARDISED = "image -= image.mean(); image /= image.std(); return torch.from_numpy(image.copy()), self.labels[index]"
RANDOM = "return torch.from_numpy(image) * (0.5 + torch.rand(1)), self.labels[index]"


@pytest.mark.parametrize(("give", "code"), [(REFILLED, "D134"), (IN_PLACE, "D135")])
def test_faulty(give: str, code: str, examined: Examined) -> None:
    found = [f for f in examined(SCRIPT.replace("GIVE", give)) if f.code in ("D134", "D135")]
    assert [(f.code, f.standing) for f in found] == [(code, Standing.DEMONSTRATED)]
    assert found[0].location is not None
    assert found[0].location.symbol.endswith("__getitem__")


@pytest.mark.parametrize("give", [COPIED, STANDARDISED])
def test_healthy(give: str, examined: Examined) -> None:
    """A copy of the buffer; standardising in place, which done twice is done once."""
    above = [f.message for f in examined(SCRIPT.replace("GIVE", give)) if f.standing.rank > Standing.SUSPECTED.rank]
    assert above == []


def test_near_miss(examined: Examined) -> None:
    """Another brightness each time, up and down."""
    found = examined(SCRIPT.replace("GIVE", RANDOM))
    assert [f.message for f in found if f.code in ("D134", "D135")] == []
