"""A feed-forward student of the sampler: one pass instead of many, distilled from what the sampler draws.

The student is the denoiser's own network at pure noise: it estimates the fused image from CT and MR alone. Its targets
are the *mean of several draws* of the teacher, which is what it can express: it has no noise to tell draws apart by.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from traindx.errors import InputError
from traindx.recipes.fusion.model import Denoiser
from traindx.recipes.fusion.sampling import draw
from traindx.recipes.kit.diffusion import Process

STUDENT_KEY = "student"


class Student(nn.Module):
    """One pass from CT and MR to the fused image.

    Args:
        denoiser: Network whose weights it starts from, usually the teacher's.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, ct: Tensor, mr: Tensor) -> Tensor:
        """Both as the network sees them, ``(B, 1, ...)``, to the fused image in [-1, 1]."""
        time = torch.ones(ct.shape[0], device=ct.device)
        return self.denoiser.estimate(torch.zeros_like(ct), time, ct, mr)


def distil(
    teacher: Denoiser,
    process: Process,
    batches: Iterable[dict[str, Any]],
    steps: int,
    *,
    draws: int = 1,
    learning_rate: float = 3e-4,
) -> Student:
    """Train a student on what a teacher draws (Luhman & Luhman 2021, *Knowledge distillation in iterative models*).

    Args:
        teacher: The trained denoiser; it is left as it is.
        process: Its diffusion process.
        batches: Batches with ``ct`` and ``mr``, at least as many as steps. No target is used.
        steps: Optimiser steps.
        draws: Draws of the teacher that a target is the mean of.
        learning_rate: Peak of a one-cycle schedule.
    """
    student = Student(copy.deepcopy(teacher).train())
    optimizer = torch.optim.AdamW(student.parameters(), learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=max(2, steps))
    for _, batch in zip(range(steps), batches, strict=False):
        ct, mr = batch["ct"], batch["mr"]
        drawn = torch.stack([draw(process, teacher, ct, mr) for _ in range(draws)]).mean(dim=0)
        optimizer.zero_grad()
        torch.autograd.backward((student(ct, mr) - drawn).square().mean())
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return student.eval()


def student_from(checkpoint: dict[str, Any], path: Path) -> Student:
    """The student of a checkpoint, in evaluation mode.

    Raises:
        InputError: None was distilled.
    """
    if STUDENT_KEY not in checkpoint:
        raise InputError(
            f"{path} holds no student", expected="a distilled checkpoint", do="traindx train fusion --distil CHECKPOINT"
        )
    contract = checkpoint["contract"]
    made = Student(Denoiser(contract["dims"], prediction=contract["prediction"], **contract["network"]))
    made.load_state_dict(checkpoint[STUDENT_KEY])
    return made.eval()
