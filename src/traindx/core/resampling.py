"""What an up-sampled coarse grid can express."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


def resampling_matrix(size_in: int, size_out: int, mode: str, align_corners: bool | None) -> Tensor:
    """The matrix ``(size_out, size_in)`` of one axis of :func:`torch.nn.functional.interpolate`."""
    linear = {"linear", "bilinear", "trilinear"}
    one_axis = "linear" if mode in linear else "nearest-exact" if mode == "nearest-exact" else "nearest"
    basis = torch.eye(size_in, dtype=torch.float64)[:, None]
    corners = align_corners if one_axis == "linear" else None
    resampled: Tensor = F.interpolate(basis, size=size_out, mode=one_axis, align_corners=corners)[:, 0]
    return resampled.T


def outside_span(target: Tensor, matrices: list[Tensor]) -> Tensor:
    """What is left of a target after its best representation by an up-sampled coarse grid (least squares, separable).

    Args:
        target: ``(B, C, *spatial)``.
        matrices: One up-sampling matrix ``(fine, coarse)`` an axis.
    """
    fit = exact = target.double()
    for axis, matrix in enumerate(matrices):
        basis = torch.linalg.qr(matrix.double())[0].to(exact.device)
        fit = torch.movedim(torch.movedim(fit, axis + 2, -1) @ basis @ basis.T, -1, axis + 2)
    return exact - fit
