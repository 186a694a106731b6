"""O402: a loss that does not fall accuses the rate only if its values mean the same from step to step."""

from __future__ import annotations

import pytest

HEAD = """
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
    opt = torch.optim.Adam(net.parameters(), lr=RATE)
"""

FIXED = """
    for step in range(60):
        x = torch.randn(16, 4)
        loss = F.cross_entropy(net(x), (x[:, 0] > 0).long())
        opt.zero_grad()
        loss.backward()
        opt.step()
"""

EPISODES = """
    for episode in range(60):
        state, losses = torch.randn(4), []
        for move in range(3 + episode):  # they last longer as the agent learns
            losses.append((net(state[None]) - torch.randn(1, 2)).square().sum())
            state = 0.5 * state + torch.randn(4)
        opt.zero_grad()
        torch.stack(losses).sum().backward()
        opt.step()
"""

ACTING = """
    for step in range(60):
        seen = []
        state = torch.randn(4)
        for move in range(8):
            with torch.no_grad():
                action = int(net(state[None]).argmax())
            seen.append(state)
            state = 0.5 * state + torch.randn(4) * (1 + 0.1 * step * action)
        x = torch.stack(seen)
        loss = (net(x) - 1 - step * x.sum(1, keepdim=True)).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
"""


def test_a_rate_that_throws_the_weights_about_is_suspected(script):
    seen = script(HEAD.replace("RATE", "3.0") + FIXED)
    (finding,) = seen.found("O402")
    assert finding.location.line == seen.line("opt = torch")
    assert finding.numbers["after"] > finding.numbers["before"]  # of the very batch that the step was made for


@pytest.mark.parametrize("loop", [EPISODES, ACTING], ids=["episodes that grow", "data that the network brings about"])
def test_losses_that_cannot_be_compared_say_nothing_of_the_rate(script, loop):
    seen = script(HEAD.replace("RATE", "0.1") + loop)
    assert seen.diagnosis.errors == ()
    assert seen.found("O402") == []
