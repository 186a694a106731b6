"""What a fusion training takes, for ``--plan``: the network and its loss on windows of the preset's size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from traindx.recipes.fusion.lesion import LesionHead, frozen
from traindx.recipes.fusion.module import Fusion, FusionData
from traindx.recipes.fusion.system import System
from traindx.recipes.kit.cost import precision
from traindx.recipes.kit.footprint import Workload
from traindx.recipes.kit.schedule import adamw


class _Parts(nn.Module):
    """What lies on the device: the network, and the frozen lesion head where there is one."""

    def __init__(self, system: System, head: nn.Module | None) -> None:
        super().__init__()
        self.network, self.head = system.build(), head


def workloads(values: Mapping[str, Any]) -> list[Workload]:
    """One workload.

    Args:
        values: Settings of a preset, see :func:`traindx.recipes.kit.cost.settings`.
    """
    fusion, data = Fusion(**values["model"]), FusionData(**values["data"])
    options, dims = data.options, 2 if data.options.depth == 1 else 3
    window = (options.size, options.size) if dims == 2 else (options.depth, options.size, options.size)
    shape = (options.batch_size, 1, *window)
    system = System(
        SimpleNamespace(dims=dims),  # type: ignore[arg-type]  # the network needs no more of the data
        fusion.process,
        network_options=fusion.network_options,
        weights=fusion.weights,
        roi_weight=fusion.roi_weight,
    )

    _ = fusion.process.alphas_cumprod  # a table of numbers, made where there are some

    def module() -> nn.Module:
        return _Parts(system, frozen(LesionHead(dims, **fusion.head_options)) if fusion.head_steps else None)

    def loss(parts: nn.Module) -> Tensor:
        assert isinstance(parts, _Parts)
        batch = {name: torch.rand(shape) for name in ("ct", "mr", "fused")}
        batch |= {name: torch.ones(shape) for name in ("soft", "bone", "lesion")}
        terms = system.loss(replace(system, head=parts.head), parts.network, batch)
        return torch.stack(list(terms.values())).sum()

    return [
        Workload(
            "fusion",
            " x ".join(map(str, shape)),
            module,
            loss,
            lambda parameters: adamw(parameters, fusion.learning_rate),
            data.epoch_steps,
            precision(values),
        )
    ]
