"""O402: a loss that does not fall accuses the rate only if its values mean the same from step to step."""

from __future__ import annotations

import pytest

from traindx.evidence import Evidence
from traindx.evidence.observed import LossSeries, NetworkCalls
from traindx.evidence.observed_optim import OptimizerSeen, ParameterGroupSeen
from traindx.finding import Location
from traindx.rules import catalogue
from traindx.rules.optimisation._shared import lower_rates

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


MADE, BACKWARD, TRAINED, EVALUATED = (Location(file="train.py", line=n) for n in (3, 8, 6, 12))


def thrown_about(*calls: NetworkCalls) -> list[str]:
    """What O402 says of a run whose weights change by half in a step and whose loss grows a thousandfold."""
    evidence = Evidence()
    for record in (
        OptimizerSeen(where=MADE, optimizer="AdamW", steps=100, backward=BACKWARD, lrs=(0.5,), parameters=4),
        ParameterGroupSeen(
            where=MADE, optimizer="AdamW", group=0, lr=0.5, largest_lr=0.5, parameters=4, elements=100,
            gradient_norms=(1.0,) * 20, update_ratios=(0.5,) * 20,
        ),
        LossSeries(where=BACKWARD, iterations=tuple(range(100)), values=(1.0,) + (1000.0,) * 99),
        *calls,
    ):  # fmt: skip
        evidence.add(record)
    rule = catalogue()["O402"]
    judging = (one for one in rule.deciders if one.has_records(evidence))
    return [finding.code for one in judging for finding in one.decide(evidence, rule.limits(None))]


def test_a_validation_now_and_then_is_no_acting():
    """Without a loader, calls between the steps tell data that the network brings about; a validation is not between
    most of them."""
    training = NetworkCalls(where=TRAINED, network="Net", phase="training", calls=20, iterations=20)
    validation = NetworkCalls(where=EVALUATED, network="Net", phase="validation", calls=8, iterations=4)
    acting = NetworkCalls(where=EVALUATED, network="Net", phase="auxiliary", calls=40, iterations=20)
    assert thrown_about(training, validation) == ["O402"]
    assert thrown_about(training, acting) == []


@pytest.mark.parametrize(
    ("largest", "factors"),
    [(0.9, (0.1, 0.01)), (0.1, (0.1, 0.01)), (0.0316, (0.01, 0.001)), (2e-4, (1e-4, 1e-5)), (0.0, (1e-4, 1e-5))],
)
def test_the_rates_that_are_tried_are_low_enough_for_what_was_seen(largest: float, factors: tuple[float, ...]) -> None:
    assert tuple(proposal.parameters["factor"] for proposal in lower_rates(largest)) == factors
