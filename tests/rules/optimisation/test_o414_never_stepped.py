"""O414 on loops that never step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from watch.inside import found, watched


def loop(kind: str) -> None:
    torch.manual_seed(0)
    net = torch.nn.Linear(6, 3)
    optimizer = torch.optim.SGD(net.parameters(), 0.1) if kind != "saliency" else None
    for index in range(120):
        x = torch.randn(16, 6, requires_grad=kind == "saliency")
        net.zero_grad()
        F.cross_entropy(net(x), x[:, :3].argmax(1)).backward()
        if kind == "by hand":
            with torch.no_grad():
                for one in net.parameters():
                    one.sub_(0.1 * (one.grad if one.grad is not None else torch.zeros(())))
        if optimizer is not None and kind == "accumulated" and index % 64 == 63:
            optimizer.step()


def test_backward_passes_without_a_step(tmp_path: Path) -> None:
    (finding,) = found("O414", watched(lambda: loop("forgotten"), tmp_path))
    assert finding.variant == "never-stepped"
    assert finding.location is not None
    assert "torch.optim.SGD" in Path(__file__).read_text().splitlines()[finding.location.line - 1]


@pytest.mark.parametrize("kind", ["by hand", "accumulated", "saliency"])
def test_updates_of_other_kinds_and_gradients_for_their_own_sake(kind: str, tmp_path: Path) -> None:
    assert not found("O414", watched(lambda: loop(kind), tmp_path))
