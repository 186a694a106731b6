"""The second stage of both cascades as a :class:`traindx.Case`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import traindx as dx
from traindx.recipes.xray2ct.cascade.cascade import Cascade, Method
from traindx.recipes.xray2ct.cascade.denoising import draw
from traindx.recipes.xray2ct.cascade.stage import DiffusionStage, Stage
from traindx.recipes.xray2ct.cascade.system import CascadeSystem, plan_of
from traindx.recipes.xray2ct.case_parts import observed, psnr_metric, target_of, volume_of_mu
from traindx.recipes.xray2ct.data import DataOptions, prepare
from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.hounsfield import EVALUATED_HU, HounsfieldWindow
from traindx.recipes.xray2ct.radiograph import mu_from_hu


def regression(size: int = 16, seed: int = 0, **options: Any) -> dx.Case:
    """The second stage of the progressive regression; see :func:`make_case`."""
    return make_case("regression", size, seed, **options)


def diffusion(size: int = 16, seed: int = 0, **options: Any) -> dx.Case:
    """The second stage of the diffusion cascade; see :func:`make_case`."""
    return make_case("diffusion", size, seed, **options)


def make_case(
    method: Method,
    size: int = 16,
    seed: int = 0,
    *,
    source: str = "auto",
    train: int = 48,
    val: int = 8,
    batch_size: int = 4,
    steps: int = 120,
    device: str = "cpu",
    cache: str | None = None,
) -> dx.Case:
    """The recipe as a case.

    Args:
        method: ``regression`` or ``diffusion``.
        size: Voxels a side of the second stage; the first has half of them and is trained when a model is first built.
        seed: Seed of the population and of the first stage.
        source: ``embedded``, ``openkbp`` or ``auto``: OpenKBP where ``TRAINDX_DATA`` is set.
        train: Most training volumes.
        val: Most validation volumes.
        batch_size: Volumes in a training batch.
        steps: Optimiser steps of a trial.
        device: Where the model runs.
        cache: Folder for rendered radiographs; None for the user's cache folder.
    """
    options = DataOptions(source=source, size=size, train=train, val=val, seed=seed, batch_size=batch_size, cache=cache)  # type: ignore[arg-type]
    data = prepare(options)
    system = CascadeSystem(data, plan_of(data, method, (size // 2, size), VIEWS), steps=steps, seed=seed)
    return case_of(system).replace(device=device)


def case_of(system: CascadeSystem) -> dx.Case:
    """Everything that traindx may touch of a system."""
    window, geometry, process = system.window, system.data.geometry, system.plan.process
    diffusion_parts = None
    if system.plan.method == "diffusion":
        diffusion_parts = dx.Diffusion(
            alphas_cumprod=process.alphas_cumprod,
            betas=process.betas,
            prediction=process.prediction,
            denoise=partial(_denoise, system),
            sample=partial(system.predict, system),
            network=_current,
        )
    return dx.Case(
        name="xray2ct_regression" if system.plan.method == "regression" else "xray2ct_cascade",
        model=system.build,
        train=system.data.train_batches(),
        val=system.data.val_batches(),
        loss=partial(system.terms, system),
        predict=partial(system.predict, system),
        target=target_of,
        metrics={"psnr": psnr_metric(window)},
        conditions=system.plan.views,
        optimizer=system.optimizer,
        steps=system.steps,
        diffusion=diffusion_parts,
        parts=(
            dx.DataRange(-1.0, 1.0),
            window.normaliser(),
            dx.Projection(
                render=partial(_render, system),
                views=system.plan.views,
                spacing_mm=geometry.spacing_mm,
                from_mu=partial(volume_of_mu, window),
                output="line_integral",
                observed=observed,
                geometry="cone",
            ),
            dx.Deployment(
                selects=system.selects,
                produces=partial(system.produces, system),
                validate=partial(system.validate, system),
            ),
            dx.Authoring(
                treatments={"window": _with_window, "frozen-in-evaluation": _with_still_stages},
                extras={"system": system},
            ),
        ),
    )


def system_of(case: dx.Case) -> CascadeSystem:
    """The system behind a case of these recipes."""
    system = case.extras["system"]
    assert isinstance(system, CascadeSystem)
    return system


def changed(case: dx.Case, **parts: Any) -> dx.Case:
    """The same case with some parts of its system exchanged."""
    made = case_of(replace(system_of(case), **parts))
    return made.replace(
        name=case.name, device=case.device, contexts=case.contexts, steps=case.steps, full_run=case.full_run
    )


def with_window(case: dx.Case, window: HounsfieldWindow) -> dx.Case:
    """The same case with the target under another Hounsfield window; the metric stays one in HU."""
    system = system_of(case)
    return changed(case, data=system.data.windowed(window), plan=replace(system.plan, window=window))


def _with_window(case: dx.Case, low: float = -1000.0, high: float = 1000.0) -> dx.Case:
    """Treatment ``window``. Air is always kept: around the patient there is nothing else."""
    return with_window(case, HounsfieldWindow(min(float(low), EVALUATED_HU[0]), float(high)))


def _with_still_stages(case: dx.Case) -> dx.Case:
    """Treatment ``frozen-in-evaluation``: earlier stages stay in evaluation mode, in the cascade as it is assembled."""
    system = system_of(case)

    def still(of: CascadeSystem, stages: list[Stage]) -> Cascade:
        return Cascade(list(system.assemble(of, stages).stages))  # type: ignore[arg-type]

    return changed(case, assemble=still)


def _current(model: nn.Module) -> nn.Module:
    """The network that a diffusion calls: the stage that learns."""
    return model.current if isinstance(model, Cascade) else model


def _denoise(system: CascadeSystem, model: nn.Module, x_t: Tensor, t: Tensor, batch: Mapping[str, Any]) -> Tensor:
    """Call the second stage as training does, from what a first one draws."""
    assert isinstance(model, Cascade)
    process, radiographs, stage = system.plan.process, system.radiographs(batch), model.current
    assert isinstance(stage, DiffusionStage)
    with torch.random.fork_rng(devices=[]):  # the earlier volume is a condition: the same whatever t and x_t are
        torch.manual_seed(0)
        earlier = draw(model, process, radiographs, stages=1, sampling_steps=2)
    output: Tensor = stage(
        x_t, process.network_time(t), process.alpha_bar(t), stage.start(earlier, len(x_t)), radiographs
    )
    return output


def _render(system: CascadeSystem, volume: Tensor, view: str) -> Tensor:
    """Line integrals through volumes in network values, by the projector of the re-projection term."""
    from traindx.recipes.xray2ct.cascade.projector import Projector

    projector = Projector(system.data.geometry, (view,)).to(volume.device)
    image: Tensor = projector(mu_from_hu(system.window.decode(volume)), view)
    return image
