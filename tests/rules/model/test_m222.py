"""M222: scales of normalisation layers that are drawn around zero."""

from __future__ import annotations

from textwrap import dedent

import pytest

from traindx.finding import Standing

PROGRAM = dedent(
    """
    import torch
    from torch import nn

    torch.manual_seed(0)


    class OwnNorm(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.gamma, self.beta = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

        def forward(self, x):
            x = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5)
            return {shown}


    net = nn.Sequential(nn.Linear(6, 16), {norm}, nn.ReLU(), nn.Linear(16, 2))
    for module in net.modules():
        for name, weight in module.named_parameters(recurse=False):
            {init}
    x = torch.randn(64, 6)
    y = (x.sum(1) > 0).long()
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    for epoch in range(5):
        for i in range(0, 64, 16):
            loss = nn.functional.cross_entropy(net(x[i : i + 16]), y[i : i + 16])
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, loss.item())
    """
)
ALL = "nn.init.normal_(weight, 0.0, 0.02)"
OWN = "x * self.gamma + self.beta"


def program(norm: str, init: str, shown: str = OWN) -> str:
    return PROGRAM.replace("{norm}", norm).replace("{init}", init).replace("{shown}", shown)


@pytest.mark.parametrize("norm", ["nn.LayerNorm(16)", "nn.BatchNorm1d(16)", "OwnNorm(16)"])
def test_an_initialisation_that_treats_all_weights_alike(script, norm) -> None:
    seen = script(program(norm, ALL))
    (found,) = [one for one in seen.diagnosis.findings if one.code == "M222"]
    assert found.standing is Standing.DEMONSTRATED
    assert found.location.line == seen.line("nn.init.normal_")


@pytest.mark.parametrize(
    ("norm", "init", "shown"),
    [
        ("nn.LayerNorm(16)", "pass", OWN),
        ("nn.LayerNorm(16)", "weight.dim() > 1 and nn.init.normal_(weight, 0.0, 0.02)", OWN),
        ("nn.BatchNorm1d(16)", "weight.dim() == 1 and nn.init.zeros_(weight)", OWN),  # residual blocks begin so
        ("nn.BatchNorm1d(16)", "weight.dim() == 1 and nn.init.normal_(weight, 1.0, 0.02)", OWN),  # as DCGAN has it
        ("OwnNorm(16)", ALL, "x * (1 + self.gamma) + self.beta"),
    ],
)
def test_scales_of_one_of_zero_and_that_are_added_to_one(script, norm, init, shown) -> None:
    assert not [one for one in script(program(norm, init, shown)).diagnosis.findings if one.code == "M222"]
