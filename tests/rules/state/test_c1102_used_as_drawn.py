"""C1102: a checkpoint of the trainable weights alone, loaded into a network that is only used."""

from __future__ import annotations

from textwrap import dedent

import pytest

PROGRAM = dedent(
    """
    import copy

    import torch
    from torch import nn

    torch.manual_seed(0)


    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16))
            self.head = nn.Linear(16, 2)

        def forward(self, x):
            return self.head(torch.relu(self.encoder(x)))


    encoder = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16)).state_dict()
    net = Classifier()
    net.encoder.load_state_dict(encoder)
    net.encoder.requires_grad_(False)
    x = torch.randn(128, 6)
    y = (x.sum(1) > 0).long()
    opt = torch.optim.Adam(net.head.parameters(), lr=1e-2)
    for epoch in range(6):
        for i in range(0, 128, 16):
            loss = nn.functional.cross_entropy(net(x[i : i + 16]), y[i : i + 16])
            opt.zero_grad()
            loss.backward()
            opt.step()
    saved = {name: value for name, value in net.state_dict().items() if {kept}}
    {use}
    with torch.no_grad():
        print("acc", (other.eval()(x).argmax(1) == y).float().mean().item())
    """
)
LOAD = "other.load_state_dict(saved, strict=False)"


def told(script, kept: str, *use: str) -> tuple[list, object]:
    seen = script(PROGRAM.replace("{kept}", kept).replace("{use}", "\n".join(use)))
    return [one for one in seen.diagnosis.findings if one.code == "C1102"], seen


def test_a_checkpoint_without_the_frozen_weights(script) -> None:
    (found,), seen = told(script, "'head' in name", "other = Classifier()", LOAD)
    assert found.location.line == seen.line(LOAD)
    assert found.numbers["as_drawn"] == 4


@pytest.mark.parametrize(
    ("kept", "use"),
    [
        ("True", ("other = Classifier()", LOAD)),
        ("'head' in name", ("other = Classifier()", "other.encoder.load_state_dict(encoder)", LOAD)),
        ("'head' in name", ("other = copy.deepcopy(net)", LOAD)),
        ("'head' in name", ("other = net", LOAD)),
        ("'head' not in name", ("other = Classifier()", LOAD.replace("other", "other.encoder"), "other = net")),
    ],
)
def test_what_is_whole_filled_before_or_a_copy(script, kept, use) -> None:
    found, _ = told(script, kept, *use)
    assert not [one for one in found if one.variant == "used-as-drawn"]
