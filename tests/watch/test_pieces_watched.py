"""A whole training whose images are put together from pieces: the function is tried while the script goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forked import Seen
from traindx.evidence.probed_pieces import PiecesTried
from traindx.finding import Standing

SOURCE = """
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)


@torch.no_grad()
def infer(net, subject, size=16, step=12):
    image = subject["image"]
    out = torch.zeros_like(image)
    for row in ROWS:
        for column in (0, 12, 24):
            out[:, row:row + size, column:column + size] = net(image[None, :, row:row + size, column:column + size])[0]
    return out > 0


torch.manual_seed(0)
images = torch.randn(24, 1, 16, 16)
loader = DataLoader(TensorDataset(images, (images > 0.5).float()), batch_size=4)
subjects = [{"image": one, "label": one > 0.5} for one in torch.randn(3, 1, 40, 40)]
for epoch in range(2):
    for image, label in loader:
        loss = F.binary_cross_entropy_with_logits(net(image), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("agree", sum((infer(net, one) == one["label"]).float().mean().item() for one in subjects) / len(subjects))
"""


@pytest.mark.parametrize(
    ("rows", "left_out"), [("range(0, 40 - size + 1, step)", 0.0), ("range(0, 40 - size, step)", 0.3)]
)
def test_functions_of_a_script_that_trains(script: Callable[..., Seen], rows: str, left_out: float) -> None:
    seen = script(SOURCE.replace("ROWS", rows))
    records = seen.of(PiecesTried)
    assert records, [one for one in seen.evidence if one.kind == "NotExamined" and "functions" in str(one)]
    assert all(one.uncovered == pytest.approx(left_out) and one.moved == 0 for one in records)
    found = seen.found("D141")
    assert bool(found) == bool(left_out)
    if found:
        assert found[0].standing is Standing.DEMONSTRATED
        assert found[0].location.line == seen.line("for row in")
