"""The recipe as a :class:`traindx.Case`, complete in every part, so that every check can run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import traindx as dx
from traindx.recipes.xray2ct.case_parts import observed, psnr_metric, target_of, volume_of_mu
from traindx.recipes.xray2ct.data import DataOptions, prepare
from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.hounsfield import EVALUATED_HU, HounsfieldWindow
from traindx.recipes.xray2ct.model import Denoiser
from traindx.recipes.xray2ct.objective import reference_render
from traindx.recipes.xray2ct.system import System


def make_case(
    size: int = 32,
    seed: int = 0,
    *,
    source: str = "auto",
    train: int = 48,
    val: int = 8,
    batch_size: int = 4,
    steps: int = 150,
    device: str = "cpu",
    cache: str | None = None,
) -> dx.Case:
    """The recipe as a case.

    Args:
        size: Voxels along each axis; 32 trains in half a minute on one core.
        seed: Seed of the population.
        source: ``embedded``, ``openkbp`` or ``auto``: OpenKBP where ``TRAINDX_DATA`` is set.
        train: Most training volumes.
        val: Most validation volumes.
        batch_size: Volumes in a training batch.
        steps: Optimiser steps of a trial.
        device: Where the model runs.
        cache: Folder for rendered radiographs; None for the user's cache folder.
    """
    options = DataOptions(source=source, size=size, train=train, val=val, seed=seed, batch_size=batch_size, cache=cache)  # type: ignore[arg-type]
    return case_of(System(prepare(options), steps=steps)).replace(device=device)


def case_of(system: System) -> dx.Case:
    """Everything that traindx may touch of a system."""
    process, window, geometry = system.process, system.window, system.data.geometry
    return dx.Case(
        name="xray2ct",
        model=system.build,
        train=system.data.train_batches(),
        val=system.data.val_batches(),
        loss=partial(system.loss, system),
        predict=partial(system.sampler, system),
        target=target_of,
        metrics={"psnr": psnr_metric(window)},
        conditions=VIEWS,
        optimizer=system.optimizer,
        steps=system.steps,
        diffusion=dx.Diffusion(
            alphas_cumprod=process.alphas_cumprod,
            betas=process.betas,
            prediction=process.prediction,
            denoise=system.denoise,
            sample=partial(system.sampler, system),
        ),
        parts=(
            dx.DataRange(-1.0, 1.0),
            window.normaliser(),
            dx.Projection(
                render=partial(system.render, system),
                views=VIEWS,
                spacing_mm=geometry.spacing_mm,
                from_mu=partial(volume_of_mu, window),
                output="line_integral",
                observed=observed,
                geometry="cone",
            ),
            dx.Authoring(
                treatments={
                    "window": _with_window,
                    "projection": _with_reference_projection,
                    "full-resolution-skip": _with_full_resolution,
                },
                extras={"system": system},
            ),
        ),
    )


def system_of(case: dx.Case) -> System:
    """The system behind a case of this recipe."""
    system = case.extras["system"]
    assert isinstance(system, System)
    return system


def changed(case: dx.Case, **parts: Any) -> dx.Case:
    """The same case with some parts of its system exchanged."""
    made = case_of(replace(system_of(case), **parts))
    return made.replace(name=case.name, device=case.device, contexts=case.contexts)


def with_window(case: dx.Case, window: HounsfieldWindow) -> dx.Case:
    """The same case with the target under another Hounsfield window; the metric stays one in HU."""
    return changed(case, data=system_of(case).data.windowed(window))


def _with_window(case: dx.Case, low: float = -1000.0, high: float = 1000.0) -> dx.Case:
    """Treatment ``window``. Air is always kept: around the patient there is nothing else."""
    return with_window(case, HounsfieldWindow(min(float(low), EVALUATED_HU[0]), float(high)))


def _with_reference_projection(case: dx.Case) -> dx.Case:
    """Treatment ``projection``: the renderer that the radiographs were made with."""
    return changed(case, render=reference_render)


def _with_full_resolution(case: dx.Case) -> dx.Case:
    """The recipe's denoiser: its head keeps a path at full resolution."""
    kept = {key: value for key, value in system_of(case).network_options.items() if key == "encoder"}
    return changed(case, network=Denoiser, network_options=kept)
