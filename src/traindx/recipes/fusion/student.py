"""A feed-forward student of the sampler: one pass instead of many, distilled from what the sampler draws.

The student is the denoiser's own network at pure noise: it estimates the fused image from CT and MR alone. Its targets
are the *mean of several draws* of the teacher, which is what it can express: it has no noise to tell draws apart by.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from traindx.errors import InputError
from traindx.recipes.fusion.model import Denoiser

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
        time = torch.ones(len(ct), device=ct.device)
        return self.denoiser.estimate(torch.zeros_like(ct), time, ct, mr)


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
