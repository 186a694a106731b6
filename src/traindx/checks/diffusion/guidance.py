"""Does guidance steer, and does it stay in bounds? And is the uncertainty that the case reports more than zero?"""

from __future__ import annotations

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.probing import awake_model
from traindx.core.frames import defined_at
from traindx.core.undisturbed import undisturbed
from traindx.evidence.model_in_use import GuidanceEffect, UncertaintySeen


@check(
    "guidance",
    "does guidance steer the sampler, and stay in bounds",
    needs=("guidance", "target"),
    gives=(GuidanceEffect,),
)
def guidance(ctx: CheckContext) -> None:
    """Sample twice from the same noise, without guidance and with it."""
    part = ctx.case.guidance
    assert part is not None
    batch, model = ctx.batch("val"), ctx.fresh_model()
    samples = []
    for scale in (0.0, part.scale):
        with undisturbed(ctx.seed):
            samples.append(part.sample(model, batch, scale).detach().float())
    without, guided = samples
    place = without.clone().requires_grad_()
    with undisturbed(ctx.seed), torch.enable_grad():
        energy = part.energy(place, batch)
        (gradient,) = torch.autograd.grad(energy, place)
    with undisturbed(ctx.seed), torch.no_grad():
        after = float(part.energy(guided, batch))
    target = ctx.target(batch)
    spread = float(without.std().clamp_min(1e-12))
    ctx.record(
        GuidanceEffect(
            where=defined_at(part.sample),
            scale=part.scale,
            change=float((guided - without).square().mean().sqrt()) / spread,
            gradient=float(gradient.square().mean().sqrt()),
            energy_without=float(energy.detach()),
            energy_with=after,
            without=(float(without.min()), float(without.max())),
            guided=(float(guided.min()), float(guided.max())),
            data=(float(target.min()), float(target.max())),
        )
    )


@check(
    "uncertainty",
    "is the reported uncertainty more than zero",
    needs=("deployment.uncertainty",),
    gives=(UncertaintySeen,),
)
def uncertainty(ctx: CheckContext) -> None:
    """Ask for the uncertainty of one batch, by a network whose gates are reinitialised."""
    part = ctx.case.deployment
    assert part is not None
    assert part.uncertainty is not None
    with undisturbed(ctx.seed):
        found = part.uncertainty(awake_model(ctx), ctx.batch("val")).detach().float()
    ctx.record(
        UncertaintySeen(
            where=defined_at(part.uncertainty),
            largest=float(found.abs().max()),
            mean=float(found.abs().mean()),
            pixels=found.numel(),
        )
    )
