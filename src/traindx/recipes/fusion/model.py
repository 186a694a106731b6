r"""The denoiser: a U-Net that sees CT and MR at every scale, around a head that keeps the full resolution.

The network works on patches of two pixels each way (a space-to-depth step, so nothing is lost), and at every level of
the U-Net both images are concatenated, averaged to that level. Nothing is pooled to a vector.

Its head states the fusion: per pixel a weight w and a residual r, from which

.. math:: h = w\,CT + (1 - w)\,MR + r

estimates the fused image at full resolution. What diffusion needs follows analytically from h, as in the
preconditioning of Karras et al. 2022 (EDM, table 1): h is taken for the mean of a Gaussian of standard error e, and the
posterior given x_t yields v. So the noise in v passes at full resolution whatever the U-Net can express.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.recipes.fusion.alignment import Aligner
from traindx.recipes.kit.diffusion import from_estimate
from traindx.recipes.xray2ct.layers import timestep_features

if TYPE_CHECKING:
    from traindx.case import PredictionType

TIME_FEATURES = 32
PATCH = 2
_SMALL = 0.02  # of what could start at zero, so that no input is ignored at initialisation


class Denoiser(nn.Module):
    """Predict v, epsilon or x0 of a noisy fused image, given CT and MR.

    Args:
        dims: 2 for slices, 3 for blocks.
        prediction: What is returned.
        channels: Channels at the finest level; the others have twice as many.
        levels: Levels of the U-Net; sides must be divisible by ``2 ** levels``.
        refine_channels: Channels of the last convolutions, at full resolution.
        head_error: e above, in network units.
        align: Move MR to where CT says it belongs before anything else; slices only.

    Raises:
        InputError: Blocks are to be aligned.
    """

    def __init__(
        self,
        dims: int = 2,
        *,
        prediction: PredictionType = "v",
        channels: int = 32,
        levels: int = 3,
        refine_channels: int = 12,
        head_error: float = 0.03,
        align: bool = False,
    ) -> None:
        super().__init__()
        if align and dims != 2:
            raise InputError("blocks cannot be aligned", expected="depth 1, or align false")
        self.dims = dims
        self.prediction: PredictionType = prediction
        self.levels = levels
        self.head_error = head_error
        conv = _convolution(dims)
        condition = 4 * channels
        self.embed_time = nn.Sequential(nn.Linear(TIME_FEATURES, condition), nn.SiLU(), nn.Linear(condition, condition))
        widths = [channels, *(2 * channels for _ in range(levels - 1))]
        self.enter = conv(3 * PATCH**dims, channels, 3, padding=1)
        inputs = [channels, *widths[:-1]]
        self.down = nn.ModuleList(
            ResidualBlock(dims, given + 2, width, condition) for given, width in zip(inputs, widths, strict=True)
        )
        self.middle = ResidualBlock(dims, widths[-1] + 2, widths[-1], condition)
        above = [widths[-1], *reversed(widths[1:])]
        self.up = nn.ModuleList(
            ResidualBlock(dims, given + width + 2, width, condition)
            for given, width in zip(above, reversed(widths), strict=True)
        )
        self.leave = conv(channels, 2 * PATCH**dims, 3, padding=1)
        last = conv(refine_channels, 2, 3, padding=1)
        self.refine = nn.Sequential(conv(5, refine_channels, 3, padding=1), nn.SiLU(), last)
        # gain and offset that bring each image into the range of the fused one; identity under the joint preset
        self.gain, self.offset = nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(2))
        with torch.no_grad():  # begin near the average of both images, without silencing what comes before
            self.leave.weight.mul_(0.2)
            last.weight.mul_(0.2)
        self.align = Aligner() if align else None

    def forward(self, x_t: Tensor, time: Tensor, alpha_bar: Tensor, ct: Tensor, mr: Tensor) -> Tensor:
        r"""Predict.

        Args:
            x_t: Noisy fused images, shape ``(B, 1, ...)``.
            time: t / T, shape ``(B,)``.
            alpha_bar: :math:`\\bar\\alpha_t`, shape ``(B,)``.
            ct: CT as the network sees it, the shape of ``x_t``.
            mr: MR likewise.

        Raises:
            InputError: Sides cannot be halved as often as the U-Net has levels.
        """
        if any(side % 2**self.levels for side in x_t.shape[2:]):
            raise InputError(
                f"images of {tuple(x_t.shape[2:])} cannot be halved {self.levels} times",
                expected=f"sides divisible by {2**self.levels}",
                do="pad them, as traindx predict does",
            )
        alpha_bar = alpha_bar.to(x_t.dtype).view(-1, *(1,) * (self.dims + 1))
        a, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        return from_estimate(self.estimate(x_t, time, ct, mr), self.head_error, x_t, a, sigma, self.prediction)

    def estimate(self, x_t: Tensor, time: Tensor, ct: Tensor, mr: Tensor) -> Tensor:
        """h: the fused image as the network sees it in everything it is given."""
        if self.align is not None:
            mr = self.align(ct, mr)[0]
        return self.fused(x_t, time, ct, mr)

    def fused(self, x_t: Tensor, time: Tensor, ct: Tensor, mr: Tensor) -> Tensor:
        """h of images that are aligned."""
        both = torch.cat((ct, mr), dim=1)
        maps = depth_to_space(self.leave(F.silu(self.features(x_t, time, both))), 2)
        maps = maps + self.refine(torch.cat((maps, x_t, both), dim=1))
        weight, residual = torch.sigmoid(maps[:, :1]), maps[:, 1:]
        in_range = [image * gain + offset for image, gain, offset in zip((ct, mr), self.gain, self.offset, strict=True)]
        fused: Tensor = weight * in_range[0] + (1 - weight) * in_range[1] + residual
        return fused

    def features(self, x_t: Tensor, time: Tensor, both: Tensor, extra: Tensor | float = 0.0) -> Tensor:
        """The U-Net on patches: ``(B, 1, ...)`` and both images ``(B, 2, ...)`` to features at half the resolution.

        Args:
            x_t: Noisy fused images.
            time: t / T, shape ``(B,)``.
            both: CT and MR.
            extra: Added to the embedding of time.
        """
        condition = F.silu(self.embed_time(timestep_features(time, TIME_FEATURES)) + extra)
        h = self.enter(space_to_depth(torch.cat((x_t, both), dim=1)))
        scale, kept = _pooled(both), []
        scales = []
        for level, block in enumerate(self.down):
            if level:
                h, scale = _pooled(h), _pooled(scale)
            h = block(torch.cat((h, scale), dim=1), condition)
            kept.append(h)
            scales.append(scale)
        h = self.middle(torch.cat((h, scale), dim=1), condition)
        for level, block in enumerate(self.up):
            if level:
                h = F.interpolate(h, scale_factor=2.0, mode="nearest")
            h = block(torch.cat((h, kept.pop(), scales.pop()), dim=1), condition)
        features: Tensor = h
        return features


class ResidualBlock(nn.Module):
    """Two convolutions, each after a normalisation over channels, with scale and shift by time, and a shortcut.

    Features are normalised pixel by pixel over channels (Karras et al. 2024, *EDM2*, eq. 30), not over the image: a
    window of a slice then gives what the whole slice gives there, however much air is around it.

    Args:
        dims: 2 or 3.
        inputs: Channels in.
        outputs: Channels out.
        condition: Length of the embedding of time.
    """

    def __init__(self, dims: int, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        conv = _convolution(dims)
        self.conv_in = conv(inputs, outputs, 3, padding=1)
        self.conv_out = conv(outputs, outputs, 3, padding=1)
        self.modulate = nn.Linear(condition, 2 * outputs)
        nn.init.normal_(self.modulate.weight, std=_SMALL)
        nn.init.zeros_(self.modulate.bias)
        self.shortcut = conv(inputs, outputs, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``(B, inputs, ...)`` to ``(B, outputs, ...)``."""
        hidden = self.conv_in(x)
        modulation = self.modulate(condition).view(x.shape[0], -1, *(1,) * (x.dim() - 2))
        scale, shift = modulation.chunk(2, dim=1)
        hidden = self.conv_out(F.silu(_normalised(hidden) * (1 + scale) + shift))
        out: Tensor = self.shortcut(x) + hidden
        return out


def space_to_depth(image: Tensor) -> Tensor:
    """``(B, C, H, W)`` to ``(B, 4 C, H / 2, W / 2)``; blocks likewise, with 8 C."""
    dims = image.dim() - 2
    shape = [n for side in image.shape[2:] for n in (side // PATCH, PATCH)]
    split = image.reshape(*image.shape[:2], *shape)
    coarse, fine = range(2, 2 + 2 * dims, 2), range(3, 3 + 2 * dims, 2)
    return split.permute(0, 1, *fine, *coarse).reshape(
        image.shape[0], image.shape[1] * PATCH**dims, *(side // PATCH for side in image.shape[2:])
    )


def depth_to_space(patches: Tensor, channels: int) -> Tensor:
    """The inverse of :func:`space_to_depth` for that many channels."""
    dims = patches.dim() - 2
    split = patches.reshape(patches.shape[0], channels, *(PATCH,) * dims, *patches.shape[2:])
    order = [axis for place in range(dims) for axis in (2 + dims + place, 2 + place)]
    return split.permute(0, 1, *order).reshape(
        patches.shape[0], channels, *(PATCH * side for side in patches.shape[2:])
    )


def _normalised(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-4)


def _pooled(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2) if x.dim() == 4 else F.avg_pool3d(x, 2)


def _convolution(dims: int) -> type[nn.Conv2d] | type[nn.Conv3d]:
    return nn.Conv2d if dims == 2 else nn.Conv3d
