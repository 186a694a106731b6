"""Other networks for CT from two radiographs, to be trained beside the recipes in the same time on the same patients.

All take the radiographs as the recipes hand them out (network values, one image a view) and give a volume in network
values. Own code after the published design, scaled to what one processor trains in minutes; blocks of MONAI where it
has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from monai.networks.nets import BasicUNet, DiffusionModelUNet
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.recipes.kit.diffusion import Process
from traindx.recipes.xray2ct.encoder import back_project
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry

Radiographs = Mapping[str, Tensor]


class LiftingUNet(nn.Module):
    """Features of each radiograph, spread back along its rays, and a plain 3D U-Net over both (MONAI's ``BasicUNet``).

    Args:
        geometry: Where radiographs and volume are.
        channels: Channels that are lifted from each view.
        features: Channels of the U-Net, see ``BasicUNet``.
    """

    def __init__(
        self, geometry: ConeGeometry, channels: int = 8, features: Sequence[int] = (16, 16, 32, 64, 96, 16)
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({view: _plain_encoder(channels) for view in VIEWS})
        for view in VIEWS:
            self.register_buffer(f"rays_{view}", geometry.lifting_grid(view), persistent=False)
        self.volume = BasicUNet(3, len(VIEWS) * channels, 1, features, upsample="nontrainable")

    def forward(self, radiographs: Radiographs) -> Tensor:
        """Images ``(B, 1, h, w)`` to a volume ``(B, 1, D, H, W)``."""
        lifted = [
            back_project(self.encoders[view](radiographs[view]), self.get_buffer(f"rays_{view}")) for view in VIEWS
        ]
        volume: Tensor = self.volume(torch.cat(lifted, dim=1))
        return volume


def _plain_encoder(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (1, channels, channels):
        layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.GroupNorm(2, channels), nn.SiLU()]
    return nn.Sequential(*layers)


class X2CT(nn.Module):
    """The generator of X2CT-GAN (Ying et al. 2019, CVPR, section 3.2) without its adversary.

    Each view has a densely connected 2D encoder and a 3D decoder. Connection A takes the bottleneck to three dimensions
    by a fully connected layer, connection B repeats 2D features along the third axis, and connection C gives the mean
    of both decoders' features, in the axes of the volume, to a third decoder, which makes the volume.

    The paper has parallel views of 128 pixels and five levels. Here are four for 64, fewer channels, and each image is
    first cropped to the shadow of the volume's central plane: repetition assumes that pixels and voxels line up.

    Args:
        geometry: Where radiographs and volume are; a cube whose side is 64, or another multiple of 16.
        widths: Channels of the encoders, finest level first.
        decoded: Channels of the decoders, finest level first; one fewer than levels are fed by skips.
        growth: Channels that each layer of a dense module adds.
        dropout: On the fully connected layer.
    """

    def __init__(
        self,
        geometry: ConeGeometry,
        widths: Sequence[int] = (12, 24, 48, 96, 128),
        decoded: Sequence[int] = (8, 12, 24, 48, 64),
        growth: int = 12,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        size = geometry.shape[0]
        coarsest = size >> (len(widths) - 1)
        for view, axis in (("frontal", 1), ("lateral", 2)):
            middle = geometry.shape[axis] // 2
            plane = geometry.lifting_grid(view).narrow(axis, middle - 1, 2).mean(dim=axis)
            self.register_buffer(f"plane_{view}", plane, persistent=False)
        self.branches = nn.ModuleDict(
            {view: _Branch(view, coarsest, widths, decoded, growth, dropout) for view in VIEWS}
        )
        self.coarsest = _block3d(decoded[-1], decoded[-1])
        self.enlarge = nn.ModuleList(nn.ConvTranspose3d(b, a, 4, 2, 1) for a, b in pairwise(decoded))
        self.fuse = nn.ModuleList(_block3d(2 * a, a) for a in decoded[:-1])
        self.leave = nn.Conv3d(decoded[0], 1, 3, padding=1)

    def forward(self, radiographs: Radiographs) -> Tensor:
        """Images ``(B, 1, h, w)`` to a volume ``(B, 1, D, H, W)``."""
        seen = []
        for view in VIEWS:
            image = radiographs[view].float()
            plane = self.get_buffer(f"plane_{view}").expand(len(image), -1, -1, -1)
            seen.append(self.branches[view](F.grid_sample(image, plane, align_corners=False)))
        both = [(frontal + lateral) / 2 for frontal, lateral in zip(*seen, strict=True)]
        x = self.coarsest(both[-1])
        for level in range(len(self.fuse) - 1, -1, -1):
            x = self.fuse[level](torch.cat((self.enlarge[level](x), both[level]), dim=1))
        volume: Tensor = self.leave(x)
        return volume


class _Branch(nn.Module):
    """Encoder and decoder of one view; returns the decoder's features of all levels, finest first."""

    def __init__(
        self, view: str, coarsest: int, widths: Sequence[int], decoded: Sequence[int], growth: int, dropout: float
    ) -> None:
        super().__init__()
        self.axis = 3 if view == "frontal" else 4  # what the view integrates over, in (B, C, D, H, W)
        self.shape = (decoded[-1], coarsest, coarsest, coarsest)
        self.stem = nn.Conv2d(1, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Dense(a, b, growth) for a, b in pairwise(widths))
        flat, volume = widths[-1] * coarsest**2, decoded[-1] * coarsest**3
        self.connect_a = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(flat, volume), nn.ReLU())
        self.connect_b = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths, decoded, strict=True))
        self.smooth_b = nn.ModuleList(_block3d(count, count) for count in decoded[1:-1])
        self.enlarge = nn.ModuleList(nn.ConvTranspose3d(b, a, 4, 2, 1) for a, b in pairwise(decoded))
        self.join = nn.ModuleList(_block3d(2 * a, a) for a in decoded[:-1])
        self.join_coarsest = _block3d(2 * decoded[-1], decoded[-1])

    def forward(self, image: Tensor) -> list[Tensor]:
        levels = [self.stem(image)]
        for module in self.down:
            levels.append(module(levels[-1]))
        x = self.connect_a(levels[-1]).unflatten(1, self.shape)
        x = self.join_coarsest(torch.cat((x, self._expanded(levels, len(levels) - 1)), dim=1))
        found = [x]
        for level in range(len(self.join) - 1, -1, -1):
            skip = self._expanded(levels, level)
            if level > 0:  # at full resolution the block after the skip alone would cost more than all that is coarser
                skip = self.smooth_b[level - 1](skip)
            x = self.join[level](torch.cat((self.enlarge[level](x), skip), dim=1))
            found.append(x)
        return found[::-1]

    def _expanded(self, levels: list[Tensor], level: int) -> Tensor:
        """Connection B: the same at every voxel along the axis that the view integrates over."""
        flat = F.relu(self.connect_b[level](levels[level])).unsqueeze(self.axis)
        count = [-1] * 5
        count[self.axis] = flat.shape[2]
        return flat.expand(count)


class _Dense(nn.Module):
    """Halve the resolution, add the features of some layers that each see all before, compress."""

    def __init__(self, inputs: int, outputs: int, growth: int, layers: int = 3) -> None:
        super().__init__()
        self.halve = nn.Sequential(nn.InstanceNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, inputs, 4, 2, 1))
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.InstanceNorm2d(inputs + n * growth),
                nn.ReLU(),
                nn.Conv2d(inputs + n * growth, growth, 3, padding=1),
            )
            for n in range(layers)
        )
        self.compress = nn.Conv2d(inputs + layers * growth, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.halve(x)
        for layer in self.layers:
            x = torch.cat((x, layer(x)), dim=1)
        out: Tensor = self.compress(x)
        return out


def _block3d(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, padding=1), nn.InstanceNorm3d(outputs), nn.ReLU())


def projection_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the mean along each axis (Ying et al. 2019, equation 6, orthogonal projections)."""
    parts = [F.l1_loss(prediction.mean(dim=axis), target.mean(dim=axis)) for axis in (2, 3, 4)]
    return torch.stack(parts).mean()


class ConditionedDiffusion(nn.Module):
    """MONAI's 3D ``DiffusionModelUNet`` with both radiographs, back-projected, as further channels of its input.

    It predicts v of the recipe's process and is drawn from by the recipe's DDIM: MONAI's own takes evenly spread
    timesteps but steps by ``T // steps``, so it goes on from another noise level than it reached.

    Args:
        geometry: Where radiographs and volume are.
        process: The diffusion process.
        channels: Channels of the levels, all divisible by 8; the coarsest has attention.
    """

    def __init__(self, geometry: ConeGeometry, process: Process, channels: Sequence[int] = (8, 16, 32, 64)) -> None:
        super().__init__()
        self.process, self.shape = process, geometry.shape
        for view in VIEWS:
            self.register_buffer(f"rays_{view}", geometry.lifting_grid(view), persistent=False)
        last = len(channels) - 1
        self.network = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=1 + len(VIEWS),
            out_channels=1,
            num_res_blocks=1,
            channels=channels,
            attention_levels=[level == last for level in range(len(channels))],
            norm_num_groups=8,
            num_head_channels=32,
        )

    def given(self, radiographs: Radiographs) -> Tensor:
        """Both views along their rays, ``(B, 2, D, H, W)``."""
        return torch.cat(
            [back_project(radiographs[view].float(), self.get_buffer(f"rays_{view}")) for view in VIEWS], 1
        )

    def loss(self, target: Tensor, radiographs: Radiographs) -> Tensor:
        """Weighted squared error of v at random timesteps; see :meth:`Process.loss`."""
        x_t, noise, t = self.process.noised_at_random(target)
        output = self.network(torch.cat((x_t, self.given(radiographs)), dim=1), t).float()
        return self.process.loss(output, target, noise, t)

    def forward(self, radiographs: Radiographs) -> Tensor:
        """Draw volumes ``(B, 1, D, H, W)``."""
        given = self.given(radiographs)

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            output: Tensor = self.network(torch.cat((x, given), dim=1), t).float()
            return output

        return self.process.draw(denoise, torch.randn(len(given), 1, *self.shape))
