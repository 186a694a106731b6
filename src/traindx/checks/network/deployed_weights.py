"""Are the weights that predict the weights that were trained?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from traindx.checks.base import CheckContext, check
from traindx.core.frames import defined_at
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence.deployment import DeployedWeights

if TYPE_CHECKING:
    from torch import Tensor, nn

NUDGE = 0.2  # relative change of the weights that asks whether they matter


@check(
    "deployed-weights",
    "are the weights that predict those that were trained",
    needs=("predict",),
    phase="after",
    gives=(DeployedWeights,),
)
def deployed_weights(ctx: CheckContext) -> None:
    """Change the trained weights and look whether the prediction follows; then the same for all others."""
    assert ctx.trained is not None
    if ctx.case.diffusion is not None:
        return
    model = ctx.trained
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    others = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    first = dict(ctx.initial_model().named_parameters())
    plain = _predict(ctx, model)
    follows = []
    for group in (trained, others):
        with _nudged(list(group.values()), ctx.seed):
            follows.append(bool(group) and not torch.equal(plain, _predict(ctx, model)))
    moved = [not torch.equal(p.detach(), first[name].detach()) for name, p in trained.items() if name in first]
    stayed = [torch.equal(p.detach(), first[name].detach()) for name, p in others.items() if name in first]
    shapes = Counter(tuple(p.shape) for p in trained.values())
    twins = 0
    for parameter in others.values():
        if shapes[tuple(parameter.shape)] > 0:
            shapes[tuple(parameter.shape)] -= 1
            twins += 1
    ctx.record(
        DeployedWeights(
            where=defined_at(ctx.case.predict),
            follows_trained=follows[0],
            follows_others=follows[1],
            twins=twins / len(others) if others else 0.0,
            unmoved=sum(stayed) / len(stayed) if stayed else float("nan"),
            trained_moved=sum(moved) / len(moved) if moved else float("nan"),
        )
    )


def _predict(ctx: CheckContext, model: nn.Module) -> Tensor:
    with in_mode(model, training=False), undisturbed(ctx.seed), torch.no_grad():
        return ctx.case.prediction(model, ctx.batch("val")).detach().cpu()


@contextmanager
def _nudged(parameters: list[nn.Parameter], seed: int) -> Iterator[None]:
    """Change parameters, and give them back exactly."""
    kept = [parameter.detach().clone() for parameter in parameters]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.add_(NUDGE * (parameter.abs().mean() + 1e-3) * noise)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)
