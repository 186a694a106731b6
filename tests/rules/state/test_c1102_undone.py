"""C1102: weights that are loaded and written over before the training begins."""

from __future__ import annotations

from textwrap import dedent

import pytest

from traindx.finding import Standing

PROGRAM = dedent(
    """
    import copy

    import torch
    from torch import nn

    torch.manual_seed(0)


    def body():
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))


    def initialise(module):
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.normal_(module.bias, std=0.01)


    trained = body().state_dict()
    net = body()
    {steps}
    x = torch.randn(64, 6)
    y = (x.sum(1) > 0).long()
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    for epoch in range(5):
        for i in range(0, 64, 16):
            loss = nn.functional.cross_entropy(net(x[i : i + 16]).float(), y[i : i + 16])
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, loss.item())
    net.load_state_dict(copy.deepcopy(net.state_dict()))
    """
)
LOAD, OVER = "net.load_state_dict(trained)", "net.apply(initialise)"


def undone(script, *steps: str) -> list:
    seen = script(PROGRAM.replace("{steps}", "\n".join(steps)))
    return [one for one in seen.diagnosis.findings if one.code == "C1102"], seen


def test_an_initialisation_after_the_load(script) -> None:
    (found,), seen = undone(script, LOAD, OVER)
    assert found.standing is Standing.DEMONSTRATED
    assert found.location.line == seen.line("net.load_state_dict(trained)")
    assert (found.numbers["weights"], found.numbers["undone"]) == (6, 6)


@pytest.mark.parametrize(
    "steps",
    [
        (OVER, LOAD),
        (LOAD, "net[4] = nn.Linear(16, 2)"),  # a new head is another layer
        (LOAD, "initialise(net[4])"),  # and so is one that is set anew
        (LOAD, OVER, LOAD),  # loaded once more
        ("net.load_state_dict(body().state_dict())", LOAD),
        (LOAD, "net.half().float()"),
        (OVER,),
    ],
)
def test_weights_that_stay_are_loaded_again_or_are_one_layer(script, steps) -> None:
    found, _ = undone(script, *steps)
    assert not found
