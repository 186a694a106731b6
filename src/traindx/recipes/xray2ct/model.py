r"""The denoiser: radiograph encoder, back-projection of its features, a 3D U-Net around a transformer.

The noisy volume is cut into patches of ``patch`` voxels each way, so that convolutions run on a coarser grid; below it
the transformer sees one token for every ``token_stride`` of that grid. A head that leaves this path at the coarse grid
could not express noise. Two things keep the full resolution: every patch carries ``patch ** 3`` values in and out, and
the output is refined by convolutions that see the noisy volume itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.recipes.kit.diffusion import from_estimate, posterior_mean
from traindx.recipes.xray2ct.encoder import RadiographEncoder
from traindx.recipes.xray2ct.geometry import ConeGeometry
from traindx.recipes.xray2ct.layers import ResidualBlock, TokenBlock, from_patches, timestep_features, to_patches

if TYPE_CHECKING:
    from traindx.case import PredictionType

Head = Literal["x0", "direct"]


class Denoiser(nn.Module):
    r"""Predict v, epsilon or x0 of a noisy volume, given the radiographs.

    With ``head="x0"`` the network estimates :math:`x_0` by h with an assumed standard error e, and the output follows
    analytically: the posterior mean of a Gaussian :math:`x_0 \sim N(h, e^2)` observed as
    :math:`x_t = a x_0 + \sigma\epsilon` is :math:`\hat x_0 = h + a e^2 (x_t - a h) / (a^2 e^2 + \sigma^2)`, whence
    :math:`v = \sigma (a (1 - e^2) x_t - h) / (a^2 e^2 + \sigma^2)`. This is the preconditioning of Karras et al. 2022
    (EDM, table 1) around h instead of 0; it leaves no division by a vanishing :math:`\sigma`, and the noise in v passes
    at full resolution whatever the network can express. With ``head="direct"`` the network's own output is taken.

    Args:
        geometry: Where radiographs and volume are; its shape is the volume's.
        prediction: ``v``, ``epsilon`` or ``sample``: what is returned.
        head: See above.
        channels: Channels of the convolutions on the patch grid.
        patch: Voxels of a patch each way.
        token_stride: Patches of a token each way.
        token_channels: Width of the transformer.
        depth: Transformer blocks.
        attention_heads: Heads of the attention.
        encoder_channels: Channels of the radiograph encoder at full resolution.
        lifted_channels: Channels back-projected from each view.
        refine_channels: Channels of the refinement at full resolution.
        head_error: e above, in network units.
        encoder: Class of the radiograph encoder.
        prior: Mean training volume in network values, shape ``(1, 1, D, H, W)``, and the standard deviation of
            patients around it; kept with the weights. The network starts from what the noisy volume alone tells
            under this prior, and learns what is different about a patient.
    """

    def __init__(
        self,
        geometry: ConeGeometry,
        *,
        prediction: PredictionType = "v",
        head: Head = "x0",
        channels: int = 32,
        patch: int = 2,
        token_stride: int = 2,
        token_channels: int = 64,
        depth: int = 2,
        attention_heads: int = 2,
        encoder_channels: int = 16,
        lifted_channels: int = 16,
        refine_channels: int = 8,
        head_error: float = 0.05,
        encoder: type[RadiographEncoder] = RadiographEncoder,
        prior: tuple[Tensor, float] | None = None,
    ) -> None:
        super().__init__()
        if any(count % (patch * token_stride) for count in geometry.shape):
            raise InputError(
                f"volume {geometry.shape} cannot be cut into patches of {patch} and tokens of {token_stride} patches",
                expected=f"sides divisible by {patch * token_stride}",
            )
        self.geometry = geometry
        self.prediction: PredictionType = prediction
        self.head: Head = head
        self.patch = patch
        self.head_error = head_error
        width = 2 * token_channels
        self.embed_time = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.encoder = encoder(geometry, patch, encoder_channels, lifted_channels, width)
        grid = tuple(count // patch for count in geometry.shape)
        self.register_buffer("position", _positions(grid), persistent=False)
        self.enter = nn.Conv3d(patch**3 + self.encoder.lifted_channels + 3, channels, 3, padding=1)
        self.down = ResidualBlock(channels, channels, width)
        self.to_tokens = nn.Conv3d(channels, token_channels, token_stride, stride=token_stride)
        tokens = math.prod(count // token_stride for count in grid)
        self.token_position = nn.Parameter(0.02 * torch.randn(1, tokens, token_channels))
        self.blocks = nn.ModuleList(TokenBlock(token_channels, width, attention_heads) for _ in range(depth))
        self.from_tokens = nn.ConvTranspose3d(token_channels, channels, token_stride, stride=token_stride)
        self.up = ResidualBlock(2 * channels, channels, width)
        self.leave = nn.Conv3d(channels, patch**3, 3, padding=1)
        mean, deviation = prior if prior is not None else (torch.zeros(1, 1, *geometry.shape), 1.0)
        self.register_buffer("prior_mean", mean.clone())
        self.register_buffer("prior_deviation", torch.tensor(float(deviation)))
        last = nn.Conv3d(refine_channels, 1, 3, padding=1)
        self.refine = nn.Sequential(nn.Conv3d(2, refine_channels, 3, padding=1), nn.SiLU(), last)
        with torch.no_grad():  # begin near the prior, without silencing what comes before
            self.leave.weight.mul_(_QUIET)
            last.weight.mul_(_QUIET)

    def forward(self, x_t: Tensor, time: Tensor, alpha_bar: Tensor, frontal: Tensor, lateral: Tensor) -> Tensor:
        r"""Predict.

        Args:
            x_t: Noisy volumes, shape ``(B, 1, D, H, W)``.
            time: t / T, shape ``(B,)``.
            alpha_bar: :math:`\bar\alpha_t`, shape ``(B,)``.
            frontal: Radiographs in network values, shape ``(B, 1, h, w)``.
            lateral: The same from the side.

        Returns:
            What ``prediction`` says, shape ``(B, 1, D, H, W)``.
        """
        alpha_bar = alpha_bar.to(x_t.dtype).view(-1, 1, 1, 1, 1)
        a, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        lifted, seen = self.encoder(frontal, lateral)
        condition = F.silu(self.embed_time(timestep_features(time, TIME_FEATURES)) + seen)
        # without the radiographs: pure noise tells nothing, and the prior mean stands in its place
        start = posterior_mean(self.get_buffer("prior_mean"), self.get_buffer("prior_deviation"), x_t, a, sigma)
        if self.head == "direct":
            return self._difference(x_t, lifted, condition)
        return from_estimate(
            start + self._difference(start, lifted, condition), self.head_error, x_t, a, sigma, self.prediction
        )

    def _difference(self, start: Tensor, lifted: Tensor, condition: Tensor) -> Tensor:
        position = self.get_buffer("position").expand(start.shape[0], -1, -1, -1, -1)
        fine = self.enter(torch.cat((to_patches(start, self.patch), lifted, position), dim=1))
        fine = self.down(fine, condition)
        coarse = self.to_tokens(fine)
        tokens = coarse.flatten(2).transpose(1, 2) + self.token_position
        for block in self.blocks:
            tokens = block(tokens, condition)
        coarse = self.from_tokens(tokens.transpose(1, 2).reshape(coarse.shape))
        fine = self.up(torch.cat((coarse, fine), dim=1), condition)
        difference = from_patches(self.leave(F.silu(fine)), self.patch)
        refined: Tensor = difference + self.refine(torch.cat((difference, start), dim=1))
        return refined


TIME_FEATURES = 32
_QUIET = 0.2


def _positions(grid: tuple[int, ...]) -> Tensor:
    """Coordinates in [-1, 1] along D, H, W, shape ``(1, 3, *grid)``."""
    axes = [(torch.arange(count) + 0.5) * 2 / count - 1 for count in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
