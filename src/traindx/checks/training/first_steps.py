"""Which learning rate is in effect at the first steps? Asked of the optimiser alone, with a parameter of its own."""

from __future__ import annotations

import torch
from torch import nn

from traindx.checks.base import CheckContext, check
from traindx.core.frames import defined_at
from traindx.core.undisturbed import undisturbed
from traindx.evidence import NotExamined
from traindx.evidence.optimisation import FirstSteps

STEPS = 6


@check("first-steps", "which learning rate is in effect at the first steps", needs=("optimizer",), gives=(FirstSteps,))
def first_steps(ctx: CheckContext) -> None:
    """Take a few steps on two small tensors: schedules and hooks come along, the model is not needed."""
    assert ctx.case.optimizer is not None
    parameters = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    rates: list[float] = []
    try:
        with undisturbed(ctx.seed), torch.enable_grad():
            optimizer = ctx.case.optimizer(parameters)
            for _ in range(STEPS):
                for parameter in parameters:
                    parameter.grad = torch.full_like(parameter, 1e-3)
                rates.append(float(optimizer.param_groups[0]["lr"]))
                optimizer.step()
    except Exception as error:  # an optimiser that is made for its own model only
        reason = f"it cannot be made for other parameters: {type(error).__name__}: {error}"
        ctx.record(NotExamined(subject="the learning rate at the first steps", reason=reason))
        return
    ctx.record(FirstSteps(where=defined_at(ctx.case.optimizer), optimizer=type(optimizer).__name__, rates=tuple(rates)))
