"""O414: an optimiser that holds other weights than those that the loss depends on."""

from __future__ import annotations

from textwrap import dedent

import pytest

from traindx.evidence import Evidence
from traindx.evidence.observed_optim import OptimizerSeen, ParameterGroupSeen
from traindx.finding import Location, Standing
from traindx.rules import catalogue

PROGRAM = dedent(
    """
    import torch
    from torch import nn

    torch.manual_seed(0)
    x = torch.randn(128, 6)
    y = (x.sum(1) > 0).long()


    class Flat(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.slots = [(m, k, p.shape) for m in inner.modules() for k, p in list(m.named_parameters(recurse=False))]
            pieces = [p.detach().reshape(-1) for p in inner.parameters()]
            for owner, key, _ in self.slots:
                delattr(owner, key)
            self.vector = nn.Parameter(torch.cat(pieces))
            self.sizes = [len(piece) for piece in pieces]
            self.inner = inner

        def forward(self, x):
            for (owner, key, shape), piece in zip(self.slots, self.vector.split(self.sizes)):
                setattr(owner, key, piece.view(shape))
            return self.inner(x)


    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    {first}
    {second}
    for epoch in range(6):
        for i in range(0, 128, 16):
            loss = nn.functional.cross_entropy(net(x[i : i + 16]), y[i : i + 16])
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, loss.item())
    """
)
MADE, WRAPPED = "opt = torch.optim.Adam(net.parameters(), lr=1e-2)", "net = Flat(net)"


def test_an_optimiser_that_is_made_before_the_weights_move(script) -> None:
    seen = script(PROGRAM.replace("{first}", MADE).replace("{second}", WRAPPED))
    (found,) = [one for one in seen.diagnosis.findings if one.code == "O414"]
    assert found.standing is Standing.DEMONSTRATED
    assert found.location.line == seen.line("opt = torch")
    # views that are made anew in every pass are no tensors that were computed once
    assert not [one for one in seen.diagnosis.findings if one.code == "M215"]


def test_one_that_is_made_afterwards(script) -> None:
    seen = script(PROGRAM.replace("{first}", WRAPPED).replace("{second}", MADE))
    assert not [one for one in seen.diagnosis.findings if one.code in ("O414", "M215")]


WHERE = Location(file="train.py", line=9)


@pytest.mark.parametrize(
    ("norms", "steps", "backwards", "found"),
    [
        ((0.0,) * 5, 20, (1, 1), 1),
        ((0.0,) * 4, 20, (1, 1), 0),
        ((0.0,) * 5, 19, (1, 1), 0),
        ((0.0, 0.0, 0.0, 0.0, 1e-9), 20, (1, 1), 0),
        ((0.0,) * 5, 20, (0, 0), 0),  # nothing was differentiated: never_stepped's matter
    ],
)
def test_the_decision_at_its_limits(norms, steps, backwards, found) -> None:
    evidence = Evidence()
    evidence.add(OptimizerSeen(where=WHERE, optimizer="Adam", steps=steps, parameters=4, backwards_per_step=backwards))
    evidence.add(ParameterGroupSeen(where=WHERE, optimizer="Adam", group=0, elements=9, gradient_norms=norms))
    evidence.add(
        ParameterGroupSeen(where=WHERE, optimizer="Adam", group=1, elements=9, gradient_norms=(0.0,) * len(norms))
    )
    rule = catalogue()["O414"]
    assert len([one for one in rule.check(evidence) if one.variant == "without-gradients"]) == found
