"""The network of a stage: a 3D U-Net around a transformer, given features along the rays at every scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from traindx.errors import InputError
from traindx.recipes.xray2ct.cascade.pyramid import PyramidEncoder
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
from traindx.recipes.xray2ct.layers import ResidualBlock, TokenBlock, from_patches, timestep_features, to_patches

TIME_FEATURES = 32
_QUIET = 0.2  # the last layers start small: near what is given, without silencing what comes before


class VolumeUNet(nn.Module):
    """Some volumes and the radiographs in, one volume out, at the resolution of the geometry.

    The finest voxels are handled as patches, ``patch ** 3`` channels on a grid of ``1/patch``, so that convolutions of
    many channels run where there are few voxels; two light convolutions at full resolution follow.

    Args:
        geometry: Where radiographs and volume are; its shape is the volume's.
        volumes: Number of input volumes.
        views: The radiographs that are given.
        times: Number of scalars in [0, 1] that the network is told, such as the time of a diffusion.
        patch: Voxels of a patch each way.
        widths: Channels on the patch grid, on half of it, and so on; all divisible by 4.
        depth: Transformer blocks on the coarsest grid.
        heads: Attention heads.
        encoder_channels: Channels of the radiograph encoder at full resolution.
        lifted: Channels lifted from each view at each scale.
        condition: Length of the vector that modulates every block.
        refine: Channels at full resolution.
        checkpointing: Recompute the activations of every block in the backward pass (Chen et al. 2016).
        encoder: Class of the radiograph encoder.
    """

    def __init__(
        self,
        geometry: ConeGeometry,
        volumes: int,
        *,
        views: tuple[str, ...] = VIEWS,
        times: int = 0,
        patch: int = 2,
        widths: Sequence[int] = (32, 64, 96),
        depth: int = 1,
        heads: int = 4,
        encoder_channels: int = 16,
        lifted: int = 16,
        condition: int = 64,
        refine: int = 8,
        checkpointing: bool = False,
        encoder: type[PyramidEncoder] = PyramidEncoder,
    ) -> None:
        super().__init__()
        size, coarsest = geometry.shape[0], patch * 2 ** (len(widths) - 1)
        if set(geometry.shape) != {size} or size % coarsest:
            raise InputError(
                f"{geometry.shape} voxels cannot be halved {len(widths) - 1} times after patches of {patch}",
                expected=f"a cube with sides divisible by {coarsest}",
            )
        grids = [size // patch >> level for level in range(len(widths))]
        self.patch, self.checkpointing = patch, checkpointing
        self.encoder = encoder(
            geometry, grids, views=views, channels=encoder_channels, lifted=lifted, condition=condition
        )
        seen = self.encoder.lifted_channels
        self.times = times
        if times:
            self.embed_time = nn.Sequential(
                nn.Linear(times * TIME_FEATURES, condition), nn.SiLU(), nn.Linear(condition, condition)
            )
        axis = (torch.arange(grids[0]) + 0.5) * 2 / grids[0] - 1
        position = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))[None]
        self.register_buffer("position", position, persistent=False)
        self.enter = nn.Conv3d(volumes * patch**3 + seen + 3, widths[0], 3, padding=1)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(ResidualBlock(width, width, condition) for width in widths)
        self.reduce = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairs)
        self.join = nn.ModuleList(nn.Conv3d(b + seen, b, 1) for _, b in pairs)
        tokens = grids[-1] ** 3
        self.token_position = nn.Parameter(0.02 * torch.randn(1, tokens, widths[-1])) if depth else None
        self.blocks = nn.ModuleList(TokenBlock(widths[-1], condition, heads) for _ in range(depth))
        self.enlarge = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairs)
        self.up = nn.ModuleList(ResidualBlock(2 * a, a, condition) for a, _ in pairs)
        self.leave = nn.Conv3d(widths[0], patch**3, 3, padding=1)
        last = nn.Conv3d(refine, 1, 3, padding=1)
        self.refine = nn.Sequential(nn.Conv3d(2, refine, 3, padding=1), nn.SiLU(), last)
        with torch.no_grad():
            self.leave.weight.mul_(_QUIET)
            last.weight.mul_(_QUIET)

    def forward(self, volumes: Tensor, radiographs: Mapping[str, Tensor], time: Tensor | None = None) -> Tensor:
        """Compute.

        Args:
            volumes: Shape ``(B, V, D, H, W)``; the first is what the output is a change of.
            radiographs: One image in network values a view, each ``(B, 1, h, w)``.
            time: Shape ``(B, times)``.

        Returns:
            Shape ``(B, 1, D, H, W)``.
        """
        lifted, condition = self.encoder(radiographs)
        if time is not None:
            told = timestep_features(time.flatten(), TIME_FEATURES).view(time.shape[0], -1)
            condition = condition + self.embed_time(told.to(condition))
        condition = F.silu(condition)
        position = self.get_buffer("position").expand(volumes.shape[0], -1, -1, -1, -1)
        x = self.enter(torch.cat((to_patches(volumes, self.patch), lifted[0], position), dim=1))
        kept = []
        for level, block in enumerate(self.down):
            if level:
                kept.append(x)
                x = self.join[level - 1](torch.cat((self.reduce[level - 1](x), lifted[level]), dim=1))
            x = self._run(block, x, condition)
        if self.token_position is not None:
            tokens = x.flatten(2).transpose(1, 2) + self.token_position
            for block in self.blocks:
                tokens = self._run(block, tokens, condition)
            x = tokens.transpose(1, 2).reshape(x.shape)
        for level in range(len(self.up) - 1, -1, -1):
            x = F.interpolate(self.enlarge[level](x), scale_factor=2.0, mode="nearest")
            x = self._run(self.up[level], torch.cat((x, kept[level]), dim=1), condition)
        change = from_patches(self.leave(F.silu(x)), self.patch)
        out: Tensor = change + self.refine(torch.cat((change, volumes[:, :1].to(change)), dim=1))
        return out

    def _run(self, block: Callable[..., Any], x: Tensor, condition: Tensor) -> Tensor:
        if self.checkpointing and self.training and torch.is_grad_enabled():
            out: Tensor = checkpoint(block, x, condition, use_reentrant=False)
        else:
            out = block(x, condition)
        return out
