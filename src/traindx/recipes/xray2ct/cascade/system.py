"""The second stage of a cascade in training as exchangeable parts, small enough for checks and trials."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from traindx.recipes.kit.schedule import WarmupCosine, adamw
from traindx.recipes.xray2ct.cascade.cascade import Cascade, Plan, prior_of
from traindx.recipes.xray2ct.cascade.denoising import diffusion_loss, draw
from traindx.recipes.xray2ct.cascade.ladder import coarsened
from traindx.recipes.xray2ct.cascade.losses import LossWeights, regression_loss
from traindx.recipes.xray2ct.cascade.stage import DiffusionStage, RegressionStage, Stage
from traindx.recipes.xray2ct.data import Data, DataOptions, prepare
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.metrics import psnr_hu

Batch = Mapping[str, Any]

FIRST_STEPS = 80
"""Steps of the first stage, at half the resolution: enough to beat the mean volume, a few seconds."""

NETWORK = {"patch": 1, "widths": [16, 32], "depth": 1, "heads": 2, "encoder_channels": 8, "lifted": 8, "condition": 32}


def terms_of(system: CascadeSystem, cascade: Cascade, batch: Batch) -> dict[str, Tensor]:
    """Loss terms of the current stage: those of the regression, or of the diffusion."""
    stage, radiographs = cascade.current, system.radiographs(batch)
    target = coarsened(batch["ct"], system.plan.sizes[len(cascade.stages) - 1])
    if isinstance(stage, DiffusionStage):
        before = len(cascade.stages) - 1
        earlier = draw(cascade, system.plan.process, radiographs, stages=before, sampling_steps=2) if before else None
        process = system.plan.process
        return diffusion_loss(stage, process, earlier, target, radiographs, physics_weight=system.weights.reprojection)
    assert isinstance(stage, RegressionStage)
    prediction = cascade(radiographs)
    return regression_loss(stage, prediction, target, radiographs, system.weights)


def predicted(system: CascadeSystem, cascade: Cascade, batch: Batch) -> Tensor:
    """Volumes in network values, as in use."""
    radiographs = system.radiographs(batch)
    if system.plan.method == "diffusion":
        return draw(cascade, system.plan.process, radiographs)
    with torch.no_grad():
        volume: Tensor = cascade(radiographs)
    return volume


def validated(system: CascadeSystem, cascade: Cascade) -> dict[str, float]:
    """PSNR over the validation patients, mean over batches; what is drawn is the same in every validation."""
    figures = []
    for index, batch in enumerate(system.data.val_batches()):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(system.seed * 1_000_003 + index)
            volume = system.predict(system, cascade, batch)
        decode = system.window.decode
        figures.append(float(psnr_hu(decode(volume), decode(batch["ct"]))))
    return {"val_psnr": sum(figures) / len(figures)}


def assembled(system: CascadeSystem, stages: list[Stage]) -> Cascade:
    """The stages together, all but the last frozen."""
    return Cascade(stages)


def produced(system: CascadeSystem) -> tuple[str, ...]:
    """Figures that a validation of the recipe's Lightning module logs."""
    return ("val_psnr", "val_psnr_earlier")


@dataclass(frozen=True)
class CascadeSystem:
    """What the training of a second stage is made of. ``dataclasses.replace`` exchanges a part.

    Attributes:
        data: Volumes, radiographs, geometry and window.
        plan: Two stages.
        weights: Weights of the terms; the diffusion knows only the agreement with the radiographs.
        terms: ``(system, cascade, batch) -> {term: scalar}``.
        predict: ``(system, cascade, batch) -> volumes`` in network values.
        assemble: ``(system, stages) -> cascade``: how earlier stages are frozen.
        network: Changes a freshly built stage, ``(system, stage) -> stage``.
        selects: The figure that the best checkpoint is chosen by.
        produces: ``system -> names`` of the figures of a validation.
        validate: ``(system, cascade) -> {name: figure}``: a validation, with the figure that selects.
        learning_rate: Peak learning rate of AdamW.
        steps: Optimiser steps of a trial.
        seed: Seed of the first stage.
    """

    data: Data
    plan: Plan
    weights: LossWeights = field(default_factory=LossWeights)
    terms: Callable[[CascadeSystem, Cascade, Batch], dict[str, Tensor]] = terms_of
    predict: Callable[[CascadeSystem, Cascade, Batch], Tensor] = predicted
    assemble: Callable[[CascadeSystem, list[Stage]], Cascade] = assembled
    network: Callable[[CascadeSystem, Stage], Stage] = lambda _, stage: stage
    selects: str = "val_psnr"
    produces: Callable[[CascadeSystem], tuple[str, ...]] = produced
    validate: Callable[[CascadeSystem, Cascade], dict[str, float]] = validated
    learning_rate: float = 3e-3
    steps: int = 120
    seed: int = 0

    @property
    def window(self) -> HounsfieldWindow:
        """Hounsfield window of the target."""
        return self.data.train.window

    def radiographs(self, batch: Batch) -> dict[str, Tensor]:
        """The given views of a batch."""
        return {view: batch[view] for view in self.plan.views}

    def stage(self, number: int) -> Stage:
        """A stage with fresh weights."""
        volumes = self.window.encode(self.data.train.patients.hu)
        return self.network(self, self.plan.stage(number, prior_of(volumes, number, self.plan.sizes)))

    def build(self) -> Cascade:
        """A trained first stage, and a fresh second one."""
        first = copy.deepcopy(_first(self.data.options, self.window, self.plan_key))
        return self.assemble(self, [first, self.stage(1)])

    @property
    def plan_key(self) -> tuple[Any, ...]:
        """What the first stage depends on, besides the data."""
        return self.plan.method, self.plan.sizes, self.plan.views, self.seed

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW whose rate warms up and falls along a cosine over :attr:`steps`."""
        optimizer = adamw(parameters, self.learning_rate)
        WarmupCosine(self.steps).attach(optimizer)
        return optimizer


def plan_of(data: Data, method: str, sizes: tuple[int, ...], views: tuple[str, ...]) -> Plan:
    """A plan with the small networks of the case."""
    return Plan(method, sizes, data.geometry, data.train.window, views, (NETWORK,) * len(sizes))  # type: ignore[arg-type]


@lru_cache(maxsize=8)
def _first(options: DataOptions, window: HounsfieldWindow, key: tuple[Any, ...]) -> Stage:
    """The first stage, trained for a moment; the same for every case of these data."""
    method, sizes, views, seed = key
    data = prepare(options).windowed(window)
    system = CascadeSystem(data, plan_of(data, method, sizes, views), steps=FIRST_STEPS, seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        cascade = Cascade([system.stage(0)])
        optimizer = system.optimizer(cascade.parameters())
        done = 0
        while done < FIRST_STEPS:
            for batch in data.train_batches():
                optimizer.zero_grad()
                torch.stack(list(system.terms(system, cascade, batch).values())).sum().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                done += 1
    return cascade.current
