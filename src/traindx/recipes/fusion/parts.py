"""What the loss and the sampler ask of a system, so that neither needs to know how it is put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from traindx.recipes.fusion.roi import RoiWeights
from traindx.recipes.kit.diffusion import Process


class Parts(Protocol):
    """The parts of :class:`~traindx.recipes.fusion.system.System` that others use; see there."""

    @property
    def process(self) -> Process:
        """The diffusion process."""

    @property
    def weights(self) -> RoiWeights:
        """Weights of the ROI loss."""

    @property
    def roi_weight(self) -> float:
        """Weight of the whole ROI loss beside the diffusion loss."""

    @property
    def head(self) -> nn.Module | None:
        """Frozen lesion head, if there is one."""

    @property
    def guidance(self) -> float:
        """Size of a guided move in sampling, in units of the noise level; 0 for none."""

    def denoise(self, model: nn.Module, x_t: Tensor, t: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Call the network as training does."""
