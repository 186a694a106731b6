"""Learning rates and optimisers: a warm-up, a cosine over the whole run, AdamW as the diffusion recipes use it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


def warmup_cosine(step: int, total: int, warmup: int, floor: float) -> float:
    """Share of the peak learning rate at a step, counted from 0: linear warm-up, then half a cosine down to ``floor``.

    The step after the last of the warm-up has the peak rate.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


def adamw(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.AdamW:
    """AdamW with the averages and the decay of the diffusion recipes."""
    return torch.optim.AdamW(parameters, learning_rate, betas=(0.9, 0.99), weight_decay=0.01)


def stepped(optimizer: torch.optim.Optimizer, factor: Callable[[int], float]) -> dict[str, Any]:
    """An optimiser with a share of the peak rate by step, as Lightning takes it."""
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class WarmupCosine:
    """Learning rate that rises linearly for a fifteenth of the steps, then falls along a cosine to 2 %.

    It is attached to the optimiser, so that a plain training loop needs no scheduler, and starts from whatever rates
    the optimiser has at its first step.

    Args:
        steps: Optimiser steps in all.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._peaks: list[float] = []
        self._step = 0

    def factor(self, step: int) -> float:
        """Share of the peak rate at a step, counted from 0."""
        warm = max(1, self.steps // 15)
        return (step + 1) / warm if step < warm else warmup_cosine(step, self.steps, warm, 0.02)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the rates before every step of this optimiser."""
        optimizer.register_step_pre_hook(self._before_step)

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if not self._peaks:
            self._peaks = [float(group["lr"]) for group in optimizer.param_groups]
        for group, peak in zip(optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * self.factor(self._step)
        self._step += 1
