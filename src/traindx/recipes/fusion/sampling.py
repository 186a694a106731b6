r"""Drawing fused images: deterministic DDIM by diffusers from pure noise, guided by the ROI loss where asked to.

A guided step moves the estimate :math:`\hat x_0` against the gradient of the ROI loss by

.. math:: \hat x_0 \leftarrow \hat x_0 - s\, \sigma_t\, g / rms(g)

so the move is s times the noise level, however large or small the gradient is: it can neither vanish (a raw gradient of
1e-5 does) nor run away, and it ends where the noise ends. Compare Chung et al. 2023, *DPS*, eq. 16, which divides by
the residual for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from traindx.recipes.fusion.parts import Parts
from traindx.recipes.fusion.roi import roi_terms
from traindx.recipes.kit.diffusion import Process

Energy = Callable[[Tensor], Tensor]

_LARGEST = 3.0  # of a move, in root mean squares: gradients of SSIM have long tails


def ddim(system: Parts, model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Draw a fused image for each pair by the process of a system; see :func:`draw`."""
    energy = roi_energy(system, batch) if system.guidance else None
    return draw(system.process, model, batch["ct"], batch["mr"], energy, system.guidance)


def draw(
    process: Process,
    model: nn.Module,
    ct: Tensor,
    mr: Tensor,
    energy: Energy | None = None,
    scale: float = 0.0,
) -> Tensor:
    """Draw a fused image for each pair; see :meth:`~traindx.recipes.kit.diffusion.Process.draw`.

    Args:
        process: The diffusion process that the model was trained with.
        model: The network.
        ct: CT as the network sees it, shape ``(B, 1, ...)``.
        mr: MR likewise.
        energy: What guidance lowers: images in [-1, 1] to a scalar.
        scale: Size s of a guided move in units of the noise level; 0 for none.

    Returns:
        Network values, the shape of ``ct``; not clipped.
    """

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        output: Tensor = model(x, process.network_time(t), process.alpha_bar(t), ct, mr)
        return output if energy is None or not scale else guided(process, output, x, t, energy, scale)

    return process.draw(denoise, torch.randn_like(ct))


def guided(process: Process, output: Tensor, x_t: Tensor, t: Tensor, energy: Energy, scale: float) -> Tensor:
    """The output whose implied image is one normalised step further down the energy."""
    x0 = process.to_x0(output, x_t, t)
    _, sigma = process.coefficients(t, x0)
    return process.from_x0(x0 - scale * sigma * direction(energy, x0), x_t, t)


def direction(energy: Energy, x0: Tensor) -> Tensor:
    """Gradient of the energy over its root mean square where there is one, limited to ±3; 0 where there is none.

    The mean is over pixels with a gradient: regions may be small, and a mean over the whole image would make the move
    in them the larger the smaller they are.
    """
    with torch.enable_grad():
        place = x0.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(energy(place), place)
    felt = (gradient != 0).flatten(1).sum(dim=1).clamp_min(1)
    # in double precision, where the square of a small gradient does not vanish
    size = (gradient.double().flatten(1).square().sum(dim=1) / felt).sqrt().view(-1, *(1,) * (x0.dim() - 1))
    unit = torch.where(size > 0, gradient / size.clamp_min(1e-200), torch.zeros_like(gradient))
    return unit.clamp(-_LARGEST, _LARGEST).to(x0.dtype)


def roi_energy(system: Parts, batch: Mapping[str, Any]) -> Energy:
    """The ROI loss of a batch, as guidance lowers it; no lesion need be drawn: F* follows from CT and MR."""

    def energy(fused: Tensor) -> Tensor:
        terms = roi_terms(fused, batch, system.weights, system.head)
        return torch.stack(list(terms.values())).sum() if terms else 0 * fused.sum()

    return energy


def repeated(sample: Callable[[], Tensor], count: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of several draws: the fused image, and how sure the model is of each pixel.

    Args:
        sample: Draws once; each call must start from other noise.
        count: Draws, two or more.

    Returns:
        Both of the shape of one draw.
    """
    drawn = torch.stack([sample() for _ in range(count)])
    return drawn.mean(dim=0), drawn.std(dim=0)
