"""M203 on what a clamped value is multiplied with, watched: a weight is no target."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from watch.inside import found, watched


@pytest.mark.parametrize("compared", [False, True])
def test_a_bounded_ratio_that_weighs_is_not_compared(compared: bool, tmp_path: Path) -> None:
    """The clipped surrogate of Schulman et al. (2017, eq. 7), and the same numbers as a target by mistake."""

    def training() -> None:
        torch.manual_seed(0)
        policy = nn.Linear(4, 2)
        before = policy(torch.zeros(4)).log_softmax(-1).detach()
        optimizer = torch.optim.SGD(policy.parameters(), 1e-2)
        for _ in range(8):
            ratio = (policy(torch.rand(32, 4)).log_softmax(-1) - before)[:, 0].exp()
            bounded = torch.clamp(ratio, 0.9, 1.1)
            advantage = 0.1 * torch.randn(32)
            if compared:
                loss = (bounded - advantage).square().mean()
            else:
                loss = -torch.min(ratio * advantage, bounded * advantage).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    assert bool(found("M203", watched(training, tmp_path))) is compared
