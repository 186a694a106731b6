"""C1108: weights that never arrive in a network, beside files that are read for inference or to be looked at."""

from __future__ import annotations

import pytest

from traindx.evidence.observed_state import CheckpointRead
from traindx.finding import Standing

HEAD = """
    import torch
    from torch import nn

    torch.manual_seed(0)

    def build():
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))

    trained = build()
    with torch.no_grad():
        for p in trained.parameters():
            p.add_(torch.randn_like(p))
    torch.save(trained.state_dict(), "weights.pt")
    del trained
    net = build()
    weights = torch.load("weights.pt")
    x = torch.randn(4, 1, 8, 8)
"""

TRAIN = """
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    for step in range(6):
        opt.zero_grad()
        net(x.to(next(net.parameters()).dtype)).square().mean().backward()
        opt.step()
"""

LOOK = """
    print({name: float(w.float().norm()) for name, w in weights.items()})
"""


def test_weights_that_are_filtered_away_before_a_training_are_demonstrated(script):
    load = "\n    net.load_state_dict({n: w for n, w in weights.items() if n.startswith('module')}, strict=False)\n"
    seen = script(HEAD + load.replace("strict=False", "False") + TRAIN)
    found = [finding for finding in seen.diagnosis.findings if finding.code in ("C1108", "C1102")]
    assert [finding.standing for finding in found] == [Standing.DEMONSTRATED]


@pytest.mark.parametrize(
    "use",
    [
        "net.load_state_dict(weights)\n    net.eval()\n    with torch.no_grad():\n        net(x)",
        "net.load_state_dict(weights)\n    net.eval()\n    print(net(x).mean())",
        "net.load_state_dict(weights)\n    net.half().float()\n    net.eval()\n    net(x)",
        "pass",
    ],
    ids=["inference", "inference with gradients", "through half precision", "nothing but a look"],
)
def test_a_script_that_does_not_train_is_not_accused(script, use):
    seen = script(f"{HEAD}\n    {use}\n{LOOK}")
    assert seen.diagnosis.errors == ()
    assert seen.codes == []


def test_weights_that_were_rounded_on_their_way_have_arrived(script):
    seen = script(f"{HEAD}\n    net.load_state_dict(weights)\n    net.bfloat16()\n{TRAIN}")
    (file,) = seen.of(CheckpointRead)
    assert file.compared == "training"
    assert file.arrived == 5  # of 7: the forward pass has moved the two buffers of the batch norm by then
    assert seen.found("C1108") == []


def test_a_network_that_is_used_without_the_weights_is_suspected(script):
    seen = script(f"{HEAD}\n    net.eval()\n    with torch.no_grad():\n        net(x)\n{LOOK}")
    (finding,) = seen.found("C1108")
    assert finding.standing is Standing.SUSPECTED
