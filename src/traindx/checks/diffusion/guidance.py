"""Does guidance steer, and does it stay in bounds? And is the uncertainty that the case reports more than zero?"""

from __future__ import annotations

import torch

from traindx.checks.base import ExamRoom, exam
from traindx.checks.probing import awake_model, undisturbed
from traindx.core.frames import defined_at
from traindx.evidence.practice import GuidanceEffect, UncertaintySeen


@exam("guidance", "does guidance steer the sampler, and stay in bounds", needs=("guidance", "target"))
def guidance(room: ExamRoom) -> None:
    """Sample twice from the same noise, without guidance and with it."""
    part = room.case.guidance
    assert part is not None
    batch, model = room.batch("val"), room.fresh_model()
    samples = []
    for scale in (0.0, part.scale):
        with undisturbed(room.seed):
            samples.append(part.sample(model, batch, scale).detach().float())
    without, guided = samples
    place = without.clone().requires_grad_()
    with undisturbed(room.seed), torch.enable_grad():
        energy = part.energy(place, batch)
        (gradient,) = torch.autograd.grad(energy, place)
    with undisturbed(room.seed), torch.no_grad():
        after = float(part.energy(guided, batch))
    target = room.target(batch)
    spread = float(without.std().clamp_min(1e-12))
    room.record(
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


@exam("uncertainty", "is the reported uncertainty more than zero", needs=("practice.uncertainty",))
def uncertainty(room: ExamRoom) -> None:
    """Ask for the uncertainty of one batch, by a network whose gates are awake."""
    part = room.case.practice
    assert part is not None
    assert part.uncertainty is not None
    with undisturbed(room.seed):
        found = part.uncertainty(awake_model(room), room.batch("val")).detach().float()
    room.record(
        UncertaintySeen(
            where=defined_at(part.uncertainty),
            largest=float(found.abs().max()),
            mean=float(found.abs().mean()),
            pixels=found.numel(),
        )
    )
