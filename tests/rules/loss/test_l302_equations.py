"""L302 in a watched script: a penalty that outweighs the data is suspected, an equation that does so is a task."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import torch
from torch import nn

from traindx.evidence import Evidence
from traindx.evidence.observed_loss import LossTermSeen
from watch.inside import found, watched


def fit(kind: str, folder: Path) -> Evidence:
    """Samples of a decay, and a second term: the equation of the decay, or a penalty on the output's size."""

    def script() -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
        optimizer = torch.optim.Adam(net.parameters(), 1e-3)
        times = torch.linspace(0, 1, 16).view(-1, 1)
        values = torch.ones_like(times)
        for _ in range(20):
            data = (net(times) - values).square().mean()
            inside = times.clone().requires_grad_(True)
            output = net(inside)
            if kind == "equation":
                (slope,) = torch.autograd.grad(output.sum(), inside, create_graph=True)
                other = 3.0 * (slope + 4 * output - 0.1 * times).square().mean()
            else:
                other = 30.0 * output.square().mean()
            loss = data + other
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return watched(script, folder)


def test_a_penalty_that_outweighs_the_data_is_suspected(tmp_path: Path) -> None:
    (finding,) = found("L302", fit("penalty", tmp_path))
    assert "'other'" in finding.message


def test_an_equation_that_the_network_is_to_obey_is_left_alone(tmp_path: Path) -> None:
    """Near miss: it leads and does not look at the data, but it is what is to be learned."""
    evidence = fit("equation", tmp_path)
    term = next(one for one in evidence.of(LossTermSeen) if one.name == "other")
    assert term.of_derivatives
    share, cosine = median(term.gradient_shares), median(term.cosines)
    assert share >= 0.8 or (share > 0.5 and cosine <= -0.3)  # otherwise it would be silent for another reason
    assert found("L302", evidence) == []
