"""The recipe as a :class:`traindx.Case`, complete in every part, so that every check can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import traindx as dx
from traindx.recipes.fusion import scores
from traindx.recipes.fusion.data import Data, DataOptions, prepare
from traindx.recipes.fusion.lesion import LesionHead, train_head
from traindx.recipes.fusion.model import Denoiser
from traindx.recipes.fusion.normalisation import NORMALISATIONS, TISSUES, to_display
from traindx.recipes.fusion.pictures import plane
from traindx.recipes.fusion.roi import PRESETS, RoiWeights
from traindx.recipes.fusion.sampling import repeated, roi_energy
from traindx.recipes.fusion.studies import Source
from traindx.recipes.fusion.system import System

NEGLIGIBLE_DB = 0.3
"""Differences below this are of no importance: two trainings that differ in nothing but the seed differ by more."""

GUIDANCE = 0.1
"""Strength of guidance that examinations try, in units of the noise level."""

DRAWS = 3

SETTINGS = ("roi_weight", "learning_rate", "guidance", "steps")
"""Settings of a system beside the ROI weights."""

_CEILING_DB = 60.0


def make_case(
    size: int = 64,
    seed: int = 0,
    *,
    source: Source = "auto",
    root: str | Path | None = None,
    train: int = 12,
    val: int = 6,
    batch_size: int = 8,
    channels: int = 16,
    steps: int = 150,
    head_steps: int = 60,
    preset: str = "default",
    device: str = "cpu",
) -> dx.Case:
    """The recipe as a case.

    Args:
        size: Pixels along each side of a window.
        seed: Seed of the split.
        source: ``sts``, ``slices``, ``folder``, ``phantom``, or ``auto``: the sarcoma collection where
            ``TRAINDX_DATA`` is set, else the phantom.
        root: Folder of the studies.
        train: Most training patients.
        val: Most validation patients.
        batch_size: Windows in a training batch.
        channels: Channels of the network at its finest level.
        steps: Optimiser steps of a trial.
        head_steps: Steps that the lesion head is trained for.
        preset: ROI preset.
        device: Where the model runs.
    """
    options = DataOptions(
        source=source,
        root=Path(root) if root is not None else None,
        size=size,
        val_size=size,
        train=train,
        val=val,
        slices=2,
        batch_size=batch_size,
        seed=seed,
    )
    data, head = _prepared(options, head_steps)
    system = System(data, network_options={"channels": channels}, head=head, weights=PRESETS[preset], steps=steps)
    return case_of(system).replace(device=device)


@cache
def _prepared(options: DataOptions, head_steps: int) -> tuple[Data, LesionHead]:
    """Data and a small lesion head trained on them; the same for every case of a process."""
    data = prepare(options)
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        head = train_head(LesionHead(data.dims, channels=8), data.train_batches(), head_steps)
    return data, head


def case_of(system: System) -> dx.Case:
    """Everything that traindx may touch of a system."""
    process, seen_as = system.process, system.data.train.seen_as
    return dx.Case(
        name="fusion",
        model=system.build,
        train=system.data.train_batches(),
        val=system.data.val_batches(),
        loss=partial(system.loss, system),
        predict=partial(system.sampler, system),
        target=_target,
        metrics={"psnr": dx.Metric(_psnr, unit="dB", negligible=NEGLIGIBLE_DB)},
        conditions=("ct", "mr"),
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
            dx.Normaliser(seen_as.ct, seen_as.hu, unit="HU", tissues=dict(TISSUES), raw=_hu),
            dx.Guidance(sample=partial(_guided_sample, system), energy=partial(_roi_energy, system), scale=GUIDANCE),
            dx.Deployment(
                uncertainty=partial(_uncertainty, system),
                selects="fusion_score",
                produces=produced,
                settings={**vars(system.weights), **{name: getattr(system, name) for name in SETTINGS}},
                configure=partial(configured, system),
                picture=_picture,
            ),
            dx.Authoring(
                treatments={
                    "window": _with_window,
                    "renormalise": _renormalised,
                    "full-resolution-skip": _with_full_resolution,
                    "spatial-conditioning": _with_full_resolution,
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


def produced() -> tuple[str, ...]:
    """Figures that a validation produces."""
    return (*scores.NAMES, "fusion_score")


def configured(system: System, settings: Mapping[str, Any]) -> System:
    """The system that some settings describe."""
    weights = RoiWeights(settings["alpha"], settings["beta"], settings["gamma"])
    return replace(system, weights=weights, **{name: settings[name] for name in SETTINGS})


def _guided_sample(system: System, model: nn.Module, batch: dict[str, Any], scale: float) -> Tensor:
    return system.sampler(replace(system, guidance=scale), model, batch)


def _roi_energy(system: System, fused: Tensor, batch: dict[str, Any]) -> Tensor:
    return roi_energy(system, batch)(fused)


def _uncertainty(system: System, model: nn.Module, batch: dict[str, Any]) -> Tensor:
    return repeated(lambda: system.sampler(system, model, batch), DRAWS)[1]


def _picture(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(plane(image)), torch.from_numpy(plane(mask, mask=True))


def _with_window(case: dx.Case, **_: float) -> dx.Case:
    """Treatment ``window``: conditions under the joint preset, which holds every tissue the task needs."""
    return changed(case, data=system_of(case).data.seen_as(NORMALISATIONS["joint"]))


def _renormalised(case: dx.Case, **_: float) -> dx.Case:
    """Treatment ``renormalise``: CT and MR in one range."""
    return _with_window(case)


def _with_full_resolution(case: dx.Case) -> dx.Case:
    """The recipe's denoiser: both images at every scale, and a head at full resolution."""
    kept = {name: value for name, value in system_of(case).network_options.items() if name == "channels"}
    return changed(case, network=Denoiser, network_options=kept)


def _psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """PSNR on the display range, data range 1, at most 60 dB an image, averaged over images."""
    error = (to_display(prediction) - to_display(target)).square().flatten(1).mean(dim=1)
    return (-10 * error.clamp_min(10 ** (-_CEILING_DB / 10)).log10()).mean()


def _target(batch: dict[str, Any]) -> Tensor:
    fused: Tensor = batch["fused"]
    return fused


def _hu(batch: dict[str, Any]) -> Tensor:
    hu: Tensor = batch["hu"]
    return hu
