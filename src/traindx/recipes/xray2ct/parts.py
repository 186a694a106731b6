"""What the loss and the sampler ask of a system, so that neither needs to know how it is put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from traindx.recipes.kit.diffusion import Process
from traindx.recipes.xray2ct.data import Data
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow


class Parts(Protocol):
    """The parts of :class:`~traindx.recipes.xray2ct.system.System` that others use; see there."""

    @property
    def data(self) -> Data:
        """Volumes, radiographs, geometry and window."""

    @property
    def process(self) -> Process:
        """The diffusion process."""

    @property
    def window(self) -> HounsfieldWindow:
        """Hounsfield window of the target."""

    @property
    def physics_weight(self) -> float:
        """Weight of the physics loss."""

    @property
    def sampling_time(self) -> Callable[[Process, Tensor], Tensor]:
        """How the sampler tells the network the time."""

    def denoise(self, model: nn.Module, x_t: Tensor, t: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Call the network as training does."""

    def rendered(self, volume: Tensor, view: str) -> Tensor:
        """Line integrals through volumes in network values, by the renderer of the physics loss."""
