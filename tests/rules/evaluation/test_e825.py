"""E825: sums over the batches of a pass that no pass begins anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from traindx.evidence.observed_evaluation import Accumulated
from traindx.finding import Finding
from watch.inside import found, watched

BATCHES = [(torch.randn(4, 3), torch.randint(0, 2, (4,))) for _ in range(5)]


def step(net: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> float:
    loss = F.cross_entropy(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def made() -> tuple[nn.Module, torch.optim.Optimizer]:
    net = nn.Linear(3, 2)
    return net, torch.optim.Adam(net.parameters(), 1e-3)


def never_reset() -> None:
    net, optimizer = made()
    running = 0.0
    for epoch in range(5):
        for x, y in BATCHES:
            running += step(net, optimizer, x, y)
        str((epoch, running / len(BATCHES)))


def reset() -> None:
    net, optimizer = made()
    running = 0.0
    for epoch in range(5):
        for x, y in BATCHES:
            running += step(net, optimizer, x, y)
        str((epoch, running / len(BATCHES)))
        running = 0.0


def counted() -> None:
    net, optimizer = made()
    running, total = 0.0, 0
    for epoch in range(5):
        for x, y in BATCHES:
            running += step(net, optimizer, x, y)
            total += 1
        str((epoch, running / total))


def never_emptied() -> None:
    net, optimizer = made()
    outputs: list[torch.Tensor]
    outputs = []
    for _epoch in range(5):
        for x, y in BATCHES:
            outputs.append(net(x).detach())
            step(net, optimizer, x, y)
        torch.cat(outputs).mean()


def history() -> None:
    net, optimizer = made()
    losses = []
    for _epoch in range(5):
        for x, y in BATCHES:
            losses.append(step(net, optimizer, x, y))
        str(sum(losses[-5:]) / 5)


def ramp() -> None:
    net, optimizer = made()
    done, whole = 0, 25
    steps = 0
    for _epoch in range(5):
        for x, y in BATCHES:
            step(net, optimizer, x, y)
            steps += 1
            done = max(done, round(100 * min(1.0, 2 * steps / whole)))
    str(done)


def line(finding: Finding) -> str:
    assert finding.location is not None
    return Path(__file__).read_text().splitlines()[finding.location.line - 1].strip()


@pytest.mark.parametrize(("script", "begins"), [(never_reset, "running = 0.0"), (never_emptied, "outputs = []")])
def test_a_figure_that_holds_all_passes_before(script: object, begins: str, tmp_path: Path) -> None:
    (finding,) = found("E825", watched(script, tmp_path))  # type: ignore[arg-type]
    assert line(finding) == begins


@pytest.mark.parametrize("script", [reset, counted, history, ramp])
def test_sums_that_begin_anew_or_are_meant_to_go_on(script: object, tmp_path: Path) -> None:
    evidence = watched(script, tmp_path)  # type: ignore[arg-type]
    assert not evidence.of(Accumulated)
    assert not found("E825", evidence)
