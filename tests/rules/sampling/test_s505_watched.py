"""S505 in watched scripts: a time that is drawn, against one that an integrator walks through."""

from __future__ import annotations

import pytest

from traindx.finding import Standing

HEAD = """
    import torch
    from torch import nn

    torch.manual_seed(0)

    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 4))

        def forward(self, x, t):
            t = torch.as_tensor(t, dtype=torch.float32).reshape(-1, 1).expand(len(x), 1)
            return self.body(torch.cat([x, t], 1))

    net = Field()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
"""

INTEGRATOR = """
    def solve(x, end, steps):
        for i in range(steps):
            x = x + end / steps * net(x, end * i / steps)
        return x

    for step in range(30):
        x = torch.randn(8, 4)
        loss = (solve(x, 0.5, 6) - 2 * x).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 10 == 9:
            with torch.no_grad():
                solve(x, 25.0, 20)
"""

DRAWN = """
    for step in range(30):
        x = torch.randn(8, 4)
        t = torch.randint(0, 100, (8,))
        loss = (net(x, t / 100) - x).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 10 == 9:
            with torch.no_grad():
                for t in reversed(range(0, 100, 5)):
                    x = x - 0.01 * net(x, TIME)
"""


def test_raw_times_in_sampling_are_demonstrated(script):
    (finding,) = script(HEAD + DRAWN.replace("TIME", "torch.full((8,), t)")).found("S505")
    assert finding.standing is Standing.DEMONSTRATED


@pytest.mark.parametrize("loop", [INTEGRATOR, DRAWN.replace("TIME", "torch.full((8,), t / 100)")])
def test_an_integrator_and_a_right_sampler_are_left_alone(script, loop):
    seen = script(HEAD + loop)
    assert seen.diagnosis.errors == ()
    assert seen.found("S505") == []
