"""O401 over a stage that was seen from its first step to its last."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from traindx.evidence import Evidence
from traindx.evidence.observed import Ending, IterationsSeen, LossSeries, ScriptRun
from traindx.evidence.observed_optim import OptimizerSeen, ParameterGroupSeen
from traindx.evidence.observed_state import WeightsLoaded
from traindx.finding import Finding, Location, Standing
from traindx.rules import catalogue

FIRST, SECOND = Location(file="train.py", line=10), Location(file="train.py", line=20)


def measured(rate: float, steps: int = 40) -> tuple[float, tuple[float, ...]]:
    """How far Adam carries a small network at a rate, and its losses."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(net.parameters(), rate)
    before = [p.detach().clone() for p in net.parameters() if p.dim() > 1]
    losses = []
    for _ in range(steps):
        x = torch.randn(32, 8)
        loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    after = [p.detach() for p in net.parameters() if p.dim() > 1]
    return max(float((b - a).norm() / a.norm()) for a, b in zip(before, after, strict=True)), tuple(losses)


def said(
    rate: float, *, steps: int = 40, loaded: bool = False, ended: bool = True, change: Callable[[float], float] = float
) -> list[Finding]:
    moved, losses = measured(rate, steps)
    losses = tuple(change(loss) for loss in losses)
    evidence = Evidence()
    evidence.add(ScriptRun(target="train.py", ending=Ending.FINISHED if ended else Ending.STOPPED))
    evidence.add(IterationsSeen(iterations=steps + 5, watched=10, seconds=1.0, driven_by="optimiser"))
    evidence.add(OptimizerSeen(where=FIRST, optimizer="AdamW", steps=steps, adaptive=True))
    evidence.add(OptimizerSeen(where=SECOND, optimizer="AdamW", steps=5, adaptive=True))
    evidence.add(
        ParameterGroupSeen(where=FIRST, optimizer="AdamW", group=0, largest_lr=rate, gradient_norms=(1.0,), moved=moved)
    )
    evidence.add(
        WeightsLoaded(network="Net", tensors=4, offered=9, matched=4 * loaded, changed=4 * loaded, trained=True)
    )
    falling = tuple(losses[0] / (2 + i) for i in range(5))  # the second stage, at the same line
    evidence.add(LossSeries(iterations=tuple(range(steps + 5)), values=losses + falling))
    rule = catalogue()["O401"]
    return [one for one in rule.check(evidence) if one.variant == "whole-stage"]


def test_a_stage_that_ends_where_it_began() -> None:
    (finding,) = said(1e-6)
    assert finding.standing is Standing.SUSPECTED
    assert finding.location == FIRST
    assert "40 steps" in finding.message


def test_a_usual_rate() -> None:
    assert not said(1e-3)


@pytest.mark.parametrize("kwargs", [{"loaded": True}, {"ended": False}, {"steps": 12}])
def test_fine_tuning_a_run_that_was_cut_short_and_a_try(kwargs: dict[str, object]) -> None:
    assert not said(1e-6, **kwargs)  # type: ignore[arg-type]


def test_a_loss_that_falls_needs_no_distance() -> None:
    """Small steps may be enough: it is what they teach that counts."""
    state = iter(1 - i / 50 for i in range(100))
    assert not said(1e-6, change=lambda loss: loss * 0 + next(state))


@pytest.mark.parametrize(("at", "found"), [(0, 0), (39, 0), (45, 1)], ids=["before", "within", "when all is over"])
def test_a_state_that_is_loaded_counts_only_before_the_stage_has_ended(at: int, found: int) -> None:
    moved, losses = measured(1e-6)
    evidence = Evidence()
    for record in (
        ScriptRun(target="train.py", ending=Ending.FINISHED),
        IterationsSeen(iterations=40, watched=10, seconds=1.0, driven_by="optimiser"),
        OptimizerSeen(where=FIRST, optimizer="AdamW", steps=40, adaptive=True),
        ParameterGroupSeen(
            where=FIRST, optimizer="AdamW", group=0, largest_lr=1e-6, gradient_norms=(1.0,), moved=moved
        ),
        WeightsLoaded(network="Net", tensors=4, offered=4, matched=4, changed=2, iteration=at),
        LossSeries(iterations=tuple(range(40)), values=losses),
    ):
        evidence.add(record)
    assert len([one for one in catalogue()["O401"].check(evidence) if one.variant == "whole-stage"]) == found


def test_weights_that_are_no_numbers_any_more_have_not_stood_still() -> None:
    evidence = Evidence()
    evidence.add(ScriptRun(target="train.py", ending=Ending.FINISHED))
    evidence.add(IterationsSeen(iterations=40, watched=10, seconds=1.0, driven_by="optimiser"))
    evidence.add(OptimizerSeen(where=FIRST, optimizer="Adam", steps=40, adaptive=True))
    for moved in (0.001, float("nan")):
        evidence.add(
            ParameterGroupSeen(
                where=FIRST, optimizer="Adam", group=0, largest_lr=3e-3, gradient_norms=(1.0,), moved=moved
            )
        )
    assert not catalogue()["O401"].check(evidence)
