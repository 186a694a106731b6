"""Faults of depth lifting: 512 channels squeezed into one, and the documented fix that broadcasts silently."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.faults.base import Fault
from traindx.faults.xray2ct.sampler import sample_with_raw_time
from traindx.recipes.xray2ct.case import changed, system_of
from traindx.recipes.xray2ct.encoder import RadiographEncoder, back_project
from traindx.recipes.xray2ct.model import Denoiser
from traindx.recipes.xray2ct.sampling import ddim

if TYPE_CHECKING:
    from traindx.case import Case
    from traindx.recipes.xray2ct.geometry import ConeGeometry
    from traindx.recipes.xray2ct.system import System

DEPTH_FEATURES = 512


class DepthLifting(RadiographEncoder):
    """Rich features along the rays, then one channel of them, weakly weighted."""

    def __init__(self, geometry: ConeGeometry, patch: int, channels: int, lifted: int, condition: int) -> None:
        super().__init__(geometry, patch, channels, DEPTH_FEATURES // 2, condition)
        self.depth_to_volume = nn.Conv3d(DEPTH_FEATURES, 1, kernel_size=1)
        self.lifted_channels = 1

    def forward(self, frontal: Tensor, lateral: Tensor) -> tuple[Tensor, Tensor]:
        """Encode; returns a depth prior ``(B, 1, d, h, w)`` and the summary."""
        depth_features, summary = super().forward(frontal, lateral)
        depth_prior = self.depth_to_volume(depth_features)
        return 0.1 * depth_prior, summary


def with_one_channel(case: Case) -> Case:
    """Lift through :class:`DepthLifting`."""
    return changed(case, network_options={**system_of(case).network_options, "encoder": DepthLifting})


class AveragedViews(RadiographEncoder):
    """Both views are encoded alike, without a place on the detector, and averaged before they are lifted."""

    def forward(self, frontal: Tensor, lateral: Tensor) -> tuple[Tensor, Tensor]:
        """Encode; arguments and results as those of the recipe's encoder."""
        where = torch.zeros_like(self.get_buffer("where")).expand(len(frontal), -1, -1, -1)
        images = (torch.cat((image, where), dim=1) for image in (frontal, lateral))
        features = torch.stack([self.wide(self.local(image)) for image in images]).mean(dim=0)
        lifted = back_project(self.to_lift(features), self.get_buffer("rays_frontal"))
        pooled = features.mean(dim=(2, 3))
        return torch.cat((lifted, lifted), dim=1), self.summarise(torch.cat((pooled, pooled), dim=1))


def with_averaged_views(case: Case) -> Case:
    """Encode through :class:`AveragedViews`."""
    return changed(case, network_options={**system_of(case).network_options, "encoder": AveragedViews})


class UnplacedTokens(RadiographEncoder):
    """Tokens of both radiographs that do not know where they come from, attended to by a query for each voxel."""

    def __init__(self, geometry: ConeGeometry, patch: int, channels: int, lifted: int, condition: int) -> None:
        super().__init__(geometry, patch, channels, lifted, condition)
        self.grid = geometry.coarser(patch).shape
        self.norm = nn.LayerNorm(2 * channels)
        self.queries = nn.Parameter(0.02 * torch.randn(1, math.prod(self.grid), 2 * channels))
        self.values = nn.Linear(2 * channels, self.lifted_channels)

    def forward(self, frontal: Tensor, lateral: Tensor) -> tuple[Tensor, Tensor]:
        """Encode; arguments and results as those of the recipe's encoder."""
        where = torch.zeros_like(self.get_buffer("where")).expand(len(frontal), -1, -1, -1)
        parts = []
        for index, image in enumerate((frontal, lateral)):
            features = self.wide(self.local(torch.cat((image, where), dim=1))) + self.view[index]
            parts.append(self.norm(features.flatten(2).transpose(1, 2)))
        tokens = torch.cat(parts, dim=1)
        found = F.scaled_dot_product_attention(self.queries.expand(len(tokens), -1, -1), tokens, self.values(tokens))
        pooled = torch.cat([part.mean(dim=1) for part in parts], dim=1)
        return found.transpose(1, 2).reshape(len(found), -1, *self.grid), self.summarise(pooled)


def with_unplaced_tokens(case: Case) -> Case:
    """Encode through :class:`UnplacedTokens`."""
    return changed(case, network_options={**system_of(case).network_options, "encoder": UnplacedTokens})


class SeventeenChannels(Denoiser):
    """The documented fix: 16 depth channels beside the noisy volume, in a backbone that emits what it is given."""

    def __init__(self, geometry: ConeGeometry, *, refine_channels: int = 8, **options: Any) -> None:
        super().__init__(geometry, refine_channels=refine_channels, **options)
        in_channels = 1 + 16  # noisy volume + depth features
        self.refine[-1] = nn.Conv3d(refine_channels, in_channels, 3, padding=1)


@torch.no_grad()
def sample_first_channel(system: System, model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """DDIM on the one channel that is the volume."""
    scheduler = system.process.scheduler()
    scheduler.set_timesteps(system.process.sampling_steps)
    x = torch.randn((len(batch["frontal"]), 1, *system.data.geometry.shape), device=batch["frontal"].device)
    for timestep in scheduler.timesteps.tolist():
        t = torch.full((len(x),), timestep, device=x.device)
        output = system.call(model, x, t, system.sampling_time(system.process, t), batch)
        x = scheduler.step(output[:, :1], timestep, x).prev_sample
    return x


def with_seventeen_channels(case: Case) -> Case:
    """Exchange the network for :class:`SeventeenChannels`, and read its first channel in sampling."""
    system = system_of(case)
    if system.network is not Denoiser or system.sampler not in (ddim, sample_with_raw_time):
        raise InputError("the network or the sampler was exchanged already", expected="the healthy ones")
    return changed(case, network=SeventeenChannels, sampler=sample_first_channel)


FAULTS = (
    Fault(
        name="depth-lifting-one-channel",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title="512 channels of lifted radiograph features are projected to one, times 0.1",
        apply=with_one_channel,
        expected_rule="M201",
        documented_diagnosis="right",
        claim="99.8 % of the information is lost; 16 channels are worth +1 dB",
        truth="a real fault; the network learns later and less from the radiographs",
    ),
    Fault(
        name="views-averaged",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title="features of both views are averaged, without position and without telling the views apart",
        apply=with_averaged_views,
        expected_rule="M211",
        documented_diagnosis="wrong",
        claim="not mentioned",
        truth="exchanging the frontal and the lateral radiograph changes exactly nothing",
    ),
    Fault(
        name="tokens-without-position",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title="tokens of the radiographs are attended to without a position",
        apply=with_unplaced_tokens,
        expected_rule="M205",
        documented_diagnosis="wrong",
        claim="not mentioned",
        truth="attention is blind to the order of its keys: the volume knows what the radiographs show, and not where",
    ),
    Fault(
        name="seventeen-channels",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title="the fix for depth lifting makes the network emit 17 channels, broadcast against 1 in the loss",
        apply=with_seventeen_channels,
        expected_rule="M208",
        documented_diagnosis="harm",
        claim="16 depth channels beside the noisy volume preserve anatomical priors, +1 dB",
        truth="the loss compares 17 channels with one and says nothing; sampling crashes or must pick a channel",
    ),
)
