"""The first optimiser steps of a fresh model: which learning rate is in effect, and how far the weights move."""

from __future__ import annotations

from statistics import median

import torch

from traindx.evidence.optimisation import FirstSteps
from traindx.exams.base import ExamRoom, exam
from traindx.exams.probing import in_mode, undisturbed
from traindx.frames import defined_at

STEPS = 6


@exam("first-steps", "which learning rate is in effect, and how far the weights move", needs=("loss", "optimizer"))
def first_steps(room: ExamRoom) -> None:
    """Take a few steps as training does, on a model that nobody else uses."""
    assert room.case.optimizer is not None
    model = room.fresh_model()
    batches = room.batches(2, "train")
    rates: list[float] = []
    ratios: list[float] = []
    losses: list[float] = []
    with in_mode(model, training=True), undisturbed(room.seed), torch.enable_grad():
        optimizer = room.case.optimizer([p for p in model.parameters() if p.requires_grad])
        weights = [p for group in optimizer.param_groups for p in group["params"] if p.ndim > 1]
        for step in range(STEPS):
            total = torch.stack(
                [value.reshape(()) for value in room.case.loss_terms(model, batches[step % len(batches)]).values()]
            ).sum()
            if not total.requires_grad or not bool(torch.isfinite(total)):
                return
            optimizer.zero_grad()
            torch.autograd.backward(total)
            before = [weight.detach().clone() for weight in weights]
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            losses.append(float(total.detach()))
            moves = [
                float((new.detach() - old).norm()) / float(old.norm())
                for new, old in zip(weights, before, strict=True)
                if float(old.norm()) > 0
            ]
            ratios.append(median(moves) if moves else float("nan"))
    room.record(
        FirstSteps(
            where=defined_at(room.case.optimizer),
            optimizer=type(optimizer).__name__,
            rates=tuple(rates),
            ratios=tuple(ratios),
            losses=tuple(losses),
        )
    )
