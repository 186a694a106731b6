"""O406: gradients count as added to only if a backward pass did add to them."""

from __future__ import annotations

import pytest

from traindx.finding import Standing

HEAD = """
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    for step in range(12):
        x = torch.randn(8, 4)
        loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
"""

FAULTY = {
    "never": """
        loss.backward()
        opt.step()
    """,
    "never, but clipped": """
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        opt.step()
    """,
    "never, by closure": """
        def closure():
            loss.backward()
            return loss
        opt.step(closure)
    """,
}

HEALTHY = {
    "zero_grad": """
        opt.zero_grad()
        loss.backward()
        opt.step()
    """,
    "set to zero by hand": """
        for p in net.parameters():
            if p.grad is not None:
                p.grad.zero_()
        loss.backward()
        opt.step()
    """,
    "assigned": """
        for p, g in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters()))):
            p.grad = g
        opt.step()
    """,
    "copied into place": """
        for p, g in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters()))):
            if p.grad is None:
                p.grad = torch.zeros_like(p)
            p.grad.copy_(g)
        opt.step()
    """,
    "computed by hand after a backward pass": """
        loss.backward()
        for p in net.parameters():
            p.grad.copy_(torch.randn_like(p))
        opt.step()
    """,
    "decayed on purpose": """
        for p in net.parameters():
            if p.grad is not None:
                p.grad.mul_(0.9)
        loss.backward()
        opt.step()
    """,
    "accumulated": """
        (loss / 3).backward()
        if step % 3 == 2:
            opt.step()
            opt.zero_grad()
    """,
}


@pytest.mark.parametrize("loop", FAULTY.values(), ids=FAULTY)
def test_gradients_that_are_never_cleared_are_demonstrated(script, loop):
    seen = script(HEAD + loop)
    (finding,) = seen.found("O406")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.line == seen.line("loss.backward()")
    assert finding.numbers["steps_with_old_gradients"] == finding.numbers["steps"] == 11


@pytest.mark.parametrize("loop", HEALTHY.values(), ids=HEALTHY)
def test_gradients_that_are_not_added_to_are_left_alone(script, loop):
    seen = script(HEAD + loop)
    assert seen.diagnosis.errors == ()
    assert seen.found("O406") == []
