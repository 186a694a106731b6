"""What is at fault: an output at half the resolution, and conditions pooled to a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.faults.base import Fault
from traindx.recipes.fusion.case import changed, system_of
from traindx.recipes.fusion.model import Denoiser, depth_to_space

if TYPE_CHECKING:
    from traindx.case import Case


class HalfResolutionDenoiser(Denoiser):
    """The described U-Net: its decoder ends at half the resolution and is up-sampled."""

    def __init__(self, dims: int = 2, *, channels: int = 32, **options: Any) -> None:
        super().__init__(dims, channels=channels, **options)
        self.half_head = (nn.Conv2d if dims == 2 else nn.Conv3d)(channels, 1, 3, padding=1)
        del self.leave, self.refine, self.gain, self.offset

    def forward(self, x_t: Tensor, time: Tensor, alpha_bar: Tensor, ct: Tensor, mr: Tensor) -> Tensor:
        """Predict; arguments as those of the recipe's denoiser."""
        features = self.features(x_t, time, torch.cat((ct, mr), dim=1))
        half = self.half_head(F.silu(features))
        return F.interpolate(half, size=x_t.shape[2:], mode="bilinear" if self.dims == 2 else "trilinear")


class PooledConditionDenoiser(Denoiser):
    """The described conditioning: both images go through an encoder that ends in a vector, added to that of time."""

    def __init__(self, dims: int = 2, *, channels: int = 32, **options: Any) -> None:
        super().__init__(dims, channels=channels, **options)
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        pool = nn.AdaptiveAvgPool2d if dims == 2 else nn.AdaptiveAvgPool3d
        self.condition_encoder = nn.Sequential(
            conv(2, channels, 1),
            nn.SiLU(),
            conv(channels, channels, 1, stride=2),
            nn.SiLU(),
            pool(1),
            nn.Flatten(),
            nn.Linear(channels, 4 * channels),
            nn.LayerNorm(4 * channels),
        )
        del self.gain, self.offset
        for name, weight in self.named_parameters():
            if name.endswith(
                "modulate.weight"
            ):  # the vector shall be recorded: it fails for want of place, not of size
                nn.init.normal_(weight, std=0.2)

    def estimate(self, x_t: Tensor, time: Tensor, ct: Tensor, mr: Tensor) -> Tensor:
        """h from the noisy image and a vector."""
        both = torch.cat((ct, mr), dim=1)
        pooled = self.condition_encoder(both)
        nothing = torch.zeros_like(both)
        maps = depth_to_space(self.leave(F.silu(self.features(x_t, time, nothing, pooled))), 2)
        maps = maps + self.refine(torch.cat((maps, x_t, nothing), dim=1))
        residual: Tensor = maps[:, 1:]
        return residual


class DocumentDenoiser(HalfResolutionDenoiser):
    """Both at once: no full resolution, and no condition but a vector."""

    def __init__(self, dims: int = 2, *, channels: int = 32, **options: Any) -> None:
        super().__init__(dims, channels=channels, **options)
        self.condition_encoder = PooledConditionDenoiser(dims, channels=channels).condition_encoder

    def forward(self, x_t: Tensor, time: Tensor, alpha_bar: Tensor, ct: Tensor, mr: Tensor) -> Tensor:
        """Predict; arguments as those of the recipe's denoiser."""
        both = torch.cat((ct, mr), dim=1)
        features = self.features(x_t, time, torch.zeros_like(both), self.condition_encoder(both))
        half = self.half_head(F.silu(features))
        return F.interpolate(half, size=x_t.shape[2:], mode="bilinear" if self.dims == 2 else "trilinear")


def _exchanged(network: type[Denoiser]) -> Any:
    def apply(case: Case) -> Case:
        if system_of(case).network is not Denoiser:
            raise InputError(f"the network is {system_of(case).network} already", expected="the healthy network")
        return changed(case, network=network)

    return apply


DOCUMENT = "mri-ct-fusion"

FAULTS = (
    Fault(
        name="half-resolution",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="the denoiser's output is at half the resolution and up-sampled",
        apply=_exchanged(HalfResolutionDenoiser),
        expected_rule="M210",
        documented_diagnosis="wrong",
        claim="",
        truth="most of the noise that is to be predicted lies outside what the head can express; one frozen sample "
        "cannot be learned",
    ),
    Fault(
        name="pooled-condition",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="CT and MR are pooled to one vector",
        apply=_exchanged(PooledConditionDenoiser),
        expected_rule="M205",
        documented_diagnosis="wrong",
        claim="the model ignores CT because its signal is weak",
        truth="it sees neither: flipping the MR changes next to nothing",
    ),
    Fault(
        name="pooled-condition-half-resolution",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="conditions pooled to a vector and an output at half the resolution, as the document's network is",
        apply=_exchanged(DocumentDenoiser),
        expected_rule="M210",
        documented_diagnosis="wrong",
        claim="",
        truth="either alone keeps the model from fusing anything",
    ),
)
