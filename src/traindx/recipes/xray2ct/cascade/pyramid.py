"""Radiographs at several scales, each lifted along the rays onto the volume grid of its scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.recipes.xray2ct.cascade.ladder import at_size
from traindx.recipes.xray2ct.encoder import back_project
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry

_SMALLEST = 4  # pixels a side of the coarsest features
_GROUPS = 4


class PyramidEncoder(nn.Module):
    """A 2D U-Net over each radiograph, whose features are spread back along the rays at every scale that is asked for.

    Every pixel knows where it is on the detector and which view it belongs to, so exchanging the views changes the
    result. Coarse features reach the fine ones (Lin et al. 2017, *Feature pyramid networks*): a rib is told from a
    vessel by what surrounds it.

    Args:
        geometry: Where radiographs and volume are.
        grids: Voxels a side of the volume grids that features are lifted to, finest first.
        views: The radiographs that are given, one or two.
        channels: Channels at full resolution; they double with every halving up to four times as many.
        lifted: Channels lifted from each view at each scale.
        condition: Length of the summary vector.
    """

    def __init__(
        self,
        geometry: ConeGeometry,
        grids: Sequence[int],
        *,
        views: tuple[str, ...] = VIEWS,
        channels: int = 16,
        lifted: int = 16,
        condition: int = 64,
    ) -> None:
        super().__init__()
        if not views or set(views) - set(VIEWS) or len(set(views)) < len(views):
            raise InputError(f"the views are {', '.join(views) or 'none'}", expected="frontal, lateral, or both")
        self.views = views
        self.lifted_channels = lifted * len(views)
        pixels = min(geometry.pixels)
        scales = 1 + int(math.log2(pixels // _SMALLEST))
        widths = [channels * min(4, 2**scale) for scale in range(scales)]
        inputs = 3 + len(VIEWS)
        self.down = nn.ModuleList(
            _Block(inputs if scale == 0 else widths[scale - 1], width, stride=1 if scale == 0 else 2)
            for scale, width in enumerate(widths)
        )
        up = {str(scale): _Block(widths[scale] + widths[scale + 1], widths[scale]) for scale in range(scales - 1)}
        self.scale_of = [min(scales - 1, max(0, round(math.log2(pixels / grid)))) for grid in grids]
        # nothing finer than the finest grid is lifted; weights without a gradient would stop DistributedDataParallel
        self.up = nn.ModuleDict({name: block for name, block in up.items() if int(name) >= min(self.scale_of)})
        self.to_lift = nn.ModuleList(nn.Conv2d(widths[scale], lifted, 1) for scale in self.scale_of)
        self.summarise = nn.Linear(len(views) * widths[-1], condition)
        for number, grid in enumerate(grids):
            for view in views:
                rays = at_size(geometry, grid).lifting_grid(view)
                self.register_buffer(f"rays_{number}_{view}", rays, persistent=False)
        rows, columns = geometry.pixels
        y, x = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
        which = torch.eye(len(VIEWS))[[VIEWS.index(view) for view in views]]
        place = torch.stack((y, x)).expand(len(views), 2, rows, columns)
        told = torch.cat((place, which[:, :, None, None].expand(-1, -1, rows, columns)), dim=1)
        self.register_buffer("told", told, persistent=False)

    def forward(self, radiographs: Mapping[str, Tensor]) -> tuple[list[Tensor], Tensor]:
        """Encode.

        Args:
            radiographs: One image in network values a view, each ``(B, 1, h, w)``.

        Returns:
            Features at every voxel of every grid, ``(B, lifted_channels, d, h, w)`` each; and a summary of all views,
            ``(B, condition)``.
        """
        images = torch.stack([radiographs[view] for view in self.views], dim=1)  # (B, V, 1, h, w)
        count = images.shape[0]
        told = self.get_buffer("told").expand(count, -1, -1, -1, -1).to(images)
        x = torch.cat((images, told), dim=2).flatten(0, 1)
        features = []
        for block in self.down:
            x = block(x)
            features.append(x)
        pooled = x.mean(dim=(2, 3)).view(count, -1)
        for scale in range(len(self.down) - 2, min(self.scale_of) - 1, -1):
            above = F.interpolate(features[scale + 1], size=features[scale].shape[2:], mode="bilinear")
            features[scale] = self.up[str(scale)](torch.cat((features[scale], above), dim=1))
        lifted = []
        for number, (scale, project) in enumerate(zip(self.scale_of, self.to_lift, strict=True)):
            flat = project(features[scale]).unflatten(0, (count, len(self.views)))
            rays = [self.get_buffer(f"rays_{number}_{view}").to(flat) for view in self.views]
            parts = [back_project(flat[:, index], grid) for index, grid in enumerate(rays)]
            lifted.append(torch.cat(parts, dim=1))
        summary: Tensor = self.summarise(pooled)
        return lifted, summary


class _Block(nn.Module):
    """Two convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm_first, self.norm_second = nn.GroupNorm(_GROUPS, outputs), nn.GroupNorm(_GROUPS, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, stride, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.second(F.silu(self.norm_first(self.first(x))))
        out: Tensor = self.shortcut(x) + F.silu(self.norm_second(hidden))
        return out
