"""``train-longer``: more optimiser steps, with the schedule of the learning rate stretched to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from traindx.trials.treatment import Treatment, TreatmentUnfitError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from traindx.case import Case

MOST = 8.0
LONGEST = 5000  # calls of an optimiser that are played through to learn its schedule


def train_longer(parameters: Mapping[str, Any], case: Case) -> Treatment:
    """Train for ``factor`` times as many steps.

    An optimiser that changes its own rate over the steps (a schedule that is attached to it) is played through once on
    a parameter of its own. The longer run then learns at step k by the rate of step k / factor: the same schedule
    stretched, since steps that are appended to a cosine that has ended learn nothing.

    Args:
        parameters: ``factor`` (above 1, at most 8).
        case: The case to be treated.

    Raises:
        TreatmentUnfitError: The factor is out of range, or the schedule cannot be learned or stretched.
    """
    factor = float(parameters.get("factor", 0.0))
    if not 1 < factor <= MOST:
        raise TreatmentUnfitError(
            f"train-longer was proposed with factor {factor}", expected=f"above 1, at most {MOST:g}"
        )

    def apply(before: Case) -> Case:
        longer = round(before.steps * factor)
        if before.optimizer is None:  # the default one has a constant rate
            return before.replace(steps=longer)
        shares = rates_of(before, before.steps)
        if max(shares) - min(shares) <= 1e-12:
            return before.replace(steps=longer)
        after = before.replace(steps=longer, optimizer=_stretched(before, shares, longer))
        wanted = [shares[_place(step, len(shares), longer)] for step in range(longer)]
        if max(abs(got - asked) for got, asked in zip(rates_of(after, longer), wanted, strict=True)) > 1e-6:
            raise TreatmentUnfitError(
                "the schedule of the learning rate cannot be stretched from outside",
                expected="an optimiser whose rates are read from its parameter groups at every step",
            )
        return after

    apply(case)  # what does not fit is said before anything is trained
    return Treatment("train-longer", f"{factor:g} times the steps", frozenset({"training"}), apply, cost=factor)


def rates_of(case: Case, steps: int) -> list[float]:
    """Rate at every step over the rate that the optimiser was made with, played through on one small parameter.

    Raises:
        TreatmentUnfitError: The optimiser cannot be made for another parameter, or the training is too long.
    """
    import torch

    if steps > LONGEST:
        raise TreatmentUnfitError(f"a training of {steps} steps is too long to play its schedule through")
    weight = torch.nn.Parameter(torch.ones(4))
    found: list[float] = []
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        try:
            assert case.optimizer is not None
            optimizer = case.optimizer([weight])
            given = float(optimizer.param_groups[0]["lr"])
            for _ in range(steps):
                weight.grad = torch.zeros_like(weight)
                optimizer.step()
                found.append(float(optimizer.param_groups[0]["lr"]) / given if given else 0.0)
        except Exception as error:  # an optimiser that is made for its own model only
            raise TreatmentUnfitError(
                f"the schedule of the learning rate cannot be played through: {type(error).__name__}: {error}"
            ) from error
    return found


def _place(step: int, known: int, longer: int) -> int:
    """Which step of the known schedule a step of the longer run has the rate of."""
    return min(known - 1, step * known // longer)


def _stretched(before: Case, shares: list[float], longer: int) -> Any:
    """Makes the case's own optimiser, and sets its rates after its own schedule has."""
    make = before.optimizer
    assert make is not None

    def made(weights: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = make(weights)
        given = [float(group["lr"]) for group in optimizer.param_groups]
        step = 0

        def set_rates(running: torch.optim.Optimizer, *_: Any) -> None:
            nonlocal step
            share = shares[_place(min(step, longer - 1), len(shares), longer)]
            for group, rate in zip(running.param_groups, given, strict=True):
                group["lr"] = rate * share
            step += 1

        optimizer.register_step_pre_hook(set_rates)
        return optimizer

    return made
