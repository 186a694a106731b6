"""The lesion head: a small U-Net that finds lesions in fused images. Trained once, then frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.recipes.fusion.model import PATCH, ResidualBlock, depth_to_space, space_to_depth

if TYPE_CHECKING:
    from collections.abc import Iterable


class LesionHead(nn.Module):
    """Fused image in [-1, 1] to logits of *lesion*, at full resolution.

    Args:
        dims: 2 for slices, 3 for blocks.
        channels: Channels at the finest level; the others have twice as many.
        levels: Levels; sides must be divisible by ``2 ** levels``.
    """

    def __init__(self, dims: int = 2, channels: int = 16, levels: int = 4) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        widths = [channels, *(2 * channels for _ in range(levels - 1))]
        self.enter = conv(PATCH**dims, channels, 3, padding=1)
        inputs = [channels, *widths[:-1]]
        self.down = nn.ModuleList(ResidualBlock(dims, i, o, 1) for i, o in zip(inputs, widths, strict=True))
        above = [widths[-1], *reversed(widths[1:])]
        self.up = nn.ModuleList(ResidualBlock(dims, i + o, o, 1) for i, o in zip(above, reversed(widths), strict=True))
        self.leave = conv(channels, PATCH**dims, 1)

    def forward(self, fused: Tensor) -> Tensor:
        """``(B, 1, ...)`` to logits of the same shape."""
        condition = torch.ones(len(fused), 1, device=fused.device)  # its blocks are told no time
        pool = F.avg_pool2d if fused.dim() == 4 else F.avg_pool3d
        h, kept = self.enter(space_to_depth(fused)), []
        for level, block in enumerate(self.down):
            h = block(pool(h, 2) if level else h, condition)
            kept.append(h)
        for level, block in enumerate(self.up):
            if level:
                h = F.interpolate(h, scale_factor=2.0, mode="nearest")
            h = block(torch.cat((h, kept.pop()), dim=1), condition)
        return depth_to_space(self.leave(F.silu(h)), 1)


def head_loss(head: nn.Module, fused: Tensor, lesion: Tensor) -> Tensor:
    """Cross-entropy plus one minus soft Dice (Isensee et al. 2021), over the batch."""
    logits = head(fused)
    p = torch.sigmoid(logits)
    dice = (2 * (p * lesion).sum() + 1) / (p.sum() + lesion.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, lesion) + 1 - dice


def train_head(
    head: LesionHead, batches: Iterable[dict[str, Any]], steps: int, learning_rate: float = 3e-3
) -> LesionHead:
    """Train on targets, where lesions are drawn, and freeze.

    Args:
        head: The head.
        batches: Batches with ``fused`` and ``lesion``; read again when they end.
        steps: Optimiser steps.
        learning_rate: Peak rate of a one-cycle schedule.
    """
    optimizer = torch.optim.AdamW(head.parameters(), learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=max(2, steps))
    done = 0
    head.train()
    while done < steps:
        for batch in batches:
            optimizer.zero_grad()
            # a head must read images that are not quite the target: contrast, brightness and noise vary
            seen = batch["fused"] * (1 + 0.1 * torch.randn(1)) + 0.05 * torch.randn(1)
            seen = seen + 0.03 * torch.rand(1) * torch.randn_like(seen)
            loss = head_loss(head, seen, batch["lesion"])
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            done += 1
            if done >= steps:
                break
    return frozen(head)


def frozen(head: LesionHead) -> LesionHead:
    """The head in evaluation mode, its weights without gradient."""
    head.zero_grad(set_to_none=True)
    return head.eval().requires_grad_(False)


@torch.no_grad()
def dice_of(head: nn.Module, fused: Tensor, lesion: Tensor) -> list[float]:
    """Dice of the head's mask (logit above 0) against the drawn one, image by image; images without lesion left out."""
    found = (head(fused) > 0).float()
    values = []
    for seen, drawn in zip(found, lesion, strict=True):
        if bool(drawn.any()):
            values.append(float(2 * (seen * drawn).sum() / (seen.sum() + drawn.sum())))
    return values
