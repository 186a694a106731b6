"""O419 on loops with their backward pass in different places, watched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from traindx.evidence.observed_optim import OutputsDropped
from watch.inside import found, watched


def loop(kind: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for epoch in range(4):
        losses = []
        for _ in range(6):
            x = torch.randn(16, 6)
            loss = F.cross_entropy(net(x), x[:, :3].argmax(1))
            losses.append(loss)
            if kind == "in the loop":
                step(optimizer, loss)
            elif kind == "one by one":
                loss.backward()
        if kind == "after the loop":
            step(optimizer, loss)
        elif kind == "summed":
            step(optimizer, torch.stack(losses).mean())
        elif kind == "one by one":
            optimizer.step()
            optimizer.zero_grad()
        elif kind == "the hardest":
            step(optimizer, losses[epoch])


def step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_a_backward_pass_after_the_loop_learns_from_one_batch(tmp_path: Path) -> None:
    (finding,) = found("O419", watched(lambda: loop("after the loop"), tmp_path))
    assert finding.location is not None
    assert "loss.backward()" in Path(__file__).read_text().splitlines()[finding.location.line - 1]
    assert (finding.numbers["calls"], finding.numbers["learned"]) == (24, 4)


@pytest.mark.parametrize("kind", ["summed", "one by one", "the hardest"])
def test_batches_that_are_all_used_or_chosen(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind), tmp_path)
    (seen,) = evidence.of(OutputsDropped)
    assert seen.learned == {"summed": 24, "one by one": 24, "the hardest": 4}[kind]
    assert not found("O419", evidence)


def test_a_step_for_every_batch_has_one_call_before_it(tmp_path: Path) -> None:
    assert not watched(lambda: loop("in the loop"), tmp_path).of(OutputsDropped)


def test_an_agent_that_is_asked_for_actions_before_it_learns_drops_nothing(tmp_path: Path) -> None:
    """Actions are drawn with gradients that nobody wants; the update calls the same line once, with all of them."""

    def rollouts() -> None:
        torch.manual_seed(0)
        policy = nn.Linear(4, 2)
        optimizer = torch.optim.Adam(policy.parameters(), 1e-2)

        def act(states: torch.Tensor) -> torch.Tensor:
            return policy(states).softmax(-1)

        for _ in range(4):
            states = torch.rand(8, 3, 4)
            chosen = [torch.distributions.Categorical(act(one)).sample() for one in states]
            taken = torch.cat([act(one).max().reshape(1).detach() for one in states])
            odds = act(states).gather(-1, torch.stack(chosen)[..., None])
            step(optimizer, -(odds.squeeze(-1).mean(-1) * taken).mean())

    assert not found("O419", watched(rollouts, tmp_path))
