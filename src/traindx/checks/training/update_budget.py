"""How many updates, at which rate, does a whole training get? Asked of the optimiser alone."""

from __future__ import annotations

import torch
from torch import nn

from traindx.checks.base import CheckContext, check
from traindx.core.frames import defined_at
from traindx.core.undisturbed import undisturbed
from traindx.evidence import NotExamined
from traindx.evidence.model_in_use import UpdateBudget

MOST = 2000  # calls; a longer training is not played through


@check("update-budget", "how many updates a whole training gets", needs=("optimizer", "loss"), gives=(UpdateBudget,))
def update_budget(ctx: CheckContext) -> None:
    """Play a training's calls of ``zero_grad`` and ``step`` on one small tensor."""
    case = ctx.case
    assert case.optimizer is not None
    calls = case.steps
    if calls > MOST:
        reason = f"a training of {calls} steps is too long to play through"
        ctx.record(NotExamined(subject="the update budget", reason=reason))
        return
    weight = nn.Parameter(torch.ones(4))
    updates, spent, last = 0, 0.0, 0.0
    try:
        with undisturbed(ctx.seed), torch.enable_grad():
            optimizer = case.optimizer([weight])
            group = optimizer.param_groups[0]
            given = float(group.get("initial_lr", group["lr"]))
            for _ in range(calls):
                optimizer.zero_grad()
                torch.autograd.backward((weight * torch.ones(4)).sum())
                before = weight.detach().clone()
                optimizer.step()
                last = float(group["lr"])
                if not torch.equal(weight.detach(), before):
                    updates += 1
                    spent += last
    except Exception as error:  # an optimiser that is made for its own model only
        reason = f"it cannot be made for another parameter: {type(error).__name__}: {error}"
        ctx.record(NotExamined(subject="the update budget", reason=reason))
        return
    ctx.record(
        UpdateBudget(
            where=defined_at(case.optimizer),
            calls=calls,
            updates=updates,
            rate=given,
            spent=spent / max(1e-30, calls * given),
            last_rate=last,
        )
    )
