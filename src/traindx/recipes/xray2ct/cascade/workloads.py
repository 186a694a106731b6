"""What the stages of a cascade take, for ``--plan``: each with the frozen stages before it, on volumes of its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from traindx.recipes.kit.cost import precision
from traindx.recipes.kit.footprint import Workload
from traindx.recipes.kit.schedule import adamw
from traindx.recipes.xray2ct.cascade.cascade import Cascade, Method, Plan
from traindx.recipes.xray2ct.cascade.denoising import diffusion_loss
from traindx.recipes.xray2ct.cascade.losses import LossWeights, regression_loss
from traindx.recipes.xray2ct.cascade.module import DiffusionModule, RegressionModule, StageModule
from traindx.recipes.xray2ct.cascade.projector import Projector
from traindx.recipes.xray2ct.cascade.stage import DiffusionStage, RegressionStage
from traindx.recipes.xray2ct.geometry import ConeGeometry
from traindx.recipes.xray2ct.module import XrayToCTData

FIELD_MM = 384.0  # of a chest; what a stage takes does not depend on it


class _Parts(nn.Module):
    """What lies on the device: the stages, averaged weights of the last, and the renderer of the radiographs."""

    def __init__(self, plan: Plan, count: int, *, averaged: bool) -> None:
        super().__init__()
        self.cascade = Cascade([plan.stage(number) for number in range(count)])
        self.average = plan.stage(count - 1).requires_grad_(False) if averaged else None
        self.projector = Projector(plan.geometry, plan.views)


def workloads(method: Method, stages: Sequence[Mapping[str, Any]]) -> list[Workload]:
    """One workload a stage.

    Args:
        method: ``regression`` or ``diffusion``.
        stages: Settings of each stage, see :func:`traindx.recipes.kit.cost.settings`.
    """
    kinds: Mapping[Method, type[StageModule]] = {"regression": RegressionModule, "diffusion": DiffusionModule}
    return [_workload(kinds[method], stages[: number + 1]) for number in range(len(stages))]


def _workload(kind: type[StageModule], stages: Sequence[Mapping[str, Any]]) -> Workload:
    values = stages[-1]
    model = dict(values["model"])
    if "weights" in model:
        model["weights"] = LossWeights(**model["weights"])
    module, data = kind(**model), XrayToCTData(**values["data"])
    full, batch = data.options.size, data.options.batch_size
    geometry = ConeGeometry((full,) * 3, (FIELD_MM / full,) * 3, (full,) * 2)
    sizes = tuple(one["model"]["size"] for one in stages)
    networks = tuple(one["model"].get("network", {}) for one in stages)
    plan = Plan(kind.method, sizes, geometry, data.options.window, module.views, networks, module.process)

    _ = plan.process.alphas_cumprod  # a table of numbers, made where there are some

    def parts() -> nn.Module:
        return _Parts(plan, len(stages), averaged=bool(module.ema))

    def loss(parts: nn.Module) -> Tensor:
        assert isinstance(parts, _Parts)
        module._plan, module.projector = plan, parts.projector
        given = {"hu": 1000 * torch.rand(batch, 1, *(full,) * 3) - 1000}
        given |= {view: torch.rand(batch, 1, full, full) for view in module.views}
        target, radiographs = module.drawn(given)
        terms = _terms(module, parts.cascade, target, radiographs)
        return torch.stack(list(terms.values())).sum()

    return Workload(
        f"{len(stages)}: {module.size} voxels a side",
        f"{batch} x {module.size}³" + (f" of {full}³" if full != module.size else ""),
        parts,
        loss,
        lambda parameters: adamw(parameters, module.learning_rate),
        data.epoch_steps,
        precision(values),
    )


def _terms(
    module: StageModule, cascade: Cascade, target: Tensor, radiographs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The loss of a step, with what the stages before draw for it."""
    stage = cascade.current
    if isinstance(module, RegressionModule):
        assert isinstance(stage, RegressionStage)
        earlier = cascade.earlier(radiographs)
        return regression_loss(stage, stage(earlier, radiographs), target, radiographs, module.weights)
    assert isinstance(stage, DiffusionStage)
    assert isinstance(module, DiffusionModule)
    return diffusion_loss(
        stage,
        module.process,
        _before(cascade, module, radiographs),
        target,
        radiographs,
        condition_noise=module.condition_noise,
        physics_weight=module.physics_weight,
    )


@torch.no_grad()
def _before(cascade: Cascade, module: DiffusionModule, radiographs: Mapping[str, Tensor]) -> Tensor | None:
    """A volume of the stage before, at the cost of the sampler's calls: its steps need numbers, which are not there."""
    volume: Tensor | None = None
    count = len(next(iter(radiographs.values())))
    for stage in cascade.stages[:-1]:
        assert isinstance(stage, DiffusionStage)
        start, time = stage.start(volume, count), torch.full((count,), 0.5)
        volume = torch.zeros(count, 1, *(stage.size,) * 3)
        for _ in range(module.conditioning_steps):
            volume = stage(volume, time, time, start, radiographs).float()
    return volume
