"""Building blocks of the denoiser: time features, adaptive normalisation, residual and transformer blocks, patches."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SMALL = 0.02  # standard deviation of what could start at zero, so that no input is ignored at initialisation
_GROUPS = 4


def timestep_features(time: Tensor, count: int) -> Tensor:
    """Sines and cosines of time in [0, 1] with frequencies from 1 to 1000 (Vaswani et al. 2017, section 3.5).

    Args:
        time: Shape ``(B,)``.
        count: Number of features, even.

    Returns:
        Shape ``(B, count)``.
    """
    frequencies = torch.logspace(0, 3, count // 2, device=time.device, dtype=torch.float32)
    angle = time.float()[:, None] * frequencies
    return torch.cat((angle.sin(), angle.cos()), dim=1)


def to_patches(volume: Tensor, size: int) -> Tensor:
    """``(B, C, D, H, W)`` to ``(B, C * size ** 3, D / size, H / size, W / size)``."""
    b, c, d, h, w = volume.shape
    cut = volume.view(b, c, d // size, size, h // size, size, w // size, size)
    return cut.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, c * size**3, d // size, h // size, w // size)


def from_patches(patches: Tensor, size: int) -> Tensor:
    """The inverse of :func:`to_patches`."""
    b, c, d, h, w = patches.shape
    split = patches.view(b, c // size**3, size, size, size, d, h, w)
    return split.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, c // size**3, d * size, h * size, w * size)


class AdaptiveGroupNorm(nn.Module):
    """Group normalisation whose scale and shift come from a condition (Perez et al. 2018, FiLM).

    Args:
        channels: Channels of the volume.
        condition: Length of the condition vector.
    """

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, channels, affine=False)
        self.modulate = nn.Linear(condition, 2 * channels)
        nn.init.normal_(self.modulate.weight, std=_SMALL)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalise ``(B, C, D, H, W)`` under a condition ``(B, n)``."""
        scale, shift = self.modulate(condition)[:, :, None, None, None].chunk(2, dim=1)
        out: Tensor = self.norm(x) * (1 + scale) + shift
        return out


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions with adaptive normalisation and a shortcut.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        condition: Length of the condition vector.
    """

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.norm_in = AdaptiveGroupNorm(inputs, condition)
        self.conv_in = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.norm_out = AdaptiveGroupNorm(outputs, condition)
        self.conv_out = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv3d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``(B, inputs, D, H, W)`` to ``(B, outputs, D, H, W)``."""
        hidden = self.conv_in(F.silu(self.norm_in(x, condition)))
        hidden = self.conv_out(F.silu(self.norm_out(hidden, condition)))
        out: Tensor = self.shortcut(x) + hidden
        return out


class TokenBlock(nn.Module):
    """Transformer block with adaptive layer normalisation and gates (Peebles & Xie 2023, DiT).

    The gates start at one half instead of zero, so that the block takes part from the first step.

    Args:
        channels: Width of the tokens.
        condition: Length of the condition vector.
        heads: Attention heads.
    """

    def __init__(self, channels: int, condition: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(channels, elementwise_affine=False)
        self.norm_mlp = nn.LayerNorm(channels, elementwise_affine=False)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.join = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.modulate = nn.Linear(condition, 6 * channels)
        nn.init.normal_(self.modulate.weight, std=_SMALL)
        gates = torch.tensor([0.0, 0.0, 0.5, 0.0, 0.0, 0.5])
        with torch.no_grad():
            self.modulate.bias.copy_(gates.repeat_interleave(channels))

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """``(B, N, C)`` to ``(B, N, C)`` under a condition ``(B, n)``."""
        scale_a, shift_a, gate_a, scale_m, shift_m, gate_m = self.modulate(condition)[:, None].chunk(6, dim=-1)
        tokens = tokens + gate_a * self._attend(self.norm_attention(tokens) * (1 + scale_a) + shift_a)
        out: Tensor = tokens + gate_m * self.mlp(self.norm_mlp(tokens) * (1 + scale_m) + shift_m)
        return out

    def _attend(self, tokens: Tensor) -> Tensor:
        b, n, c = tokens.shape
        query, key, value = self.qkv(tokens).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1 / math.sqrt(c // self.heads))
        joined: Tensor = self.join(mixed.transpose(1, 2).reshape(b, n, c))
        return joined
