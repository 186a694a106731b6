"""Faults of the diffusion cascade (postmortems/xray-to-ct-diffusion.md, and what was found behind it)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from traindx.faults.base import Chapter
from traindx.faults.xray2ct.data import augmented_along_other_axes, mirrored_in_training, with_training_patients
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.xray2ct.cascade.case import changed, system_of
from traindx.recipes.xray2ct.cascade.denoising import diffusion_loss
from traindx.recipes.xray2ct.cascade.ladder import coarsened
from traindx.recipes.xray2ct.cascade.stage import DiffusionStage
from traindx.recipes.xray2ct.cascade.system import produced, terms_of

if TYPE_CHECKING:
    from traindx.case import Case
    from traindx.recipes.xray2ct.cascade.cascade import Cascade
    from traindx.recipes.xray2ct.cascade.system import CascadeSystem
    from traindx.recipes.xray2ct.data import Data

RECIPE, DOCUMENT = "xray2ct_cascade", "xray-to-ct-diffusion"

Time = Callable[[Process, Tensor], Tensor]


def network_time(process: Process, t: Tensor) -> Tensor:
    """Time as in training."""
    return process.network_time(t)


def raw_time(process: Process, t: Tensor) -> Tensor:
    """The timestep itself."""
    return t.float()


@torch.no_grad()
def draw_by_own_loop(
    system: CascadeSystem, cascade: Cascade, batch: Mapping[str, Any], *, wrong: bool, time: Time
) -> Tensor:
    """The document's sampling loop over the stages.

    Args:
        system: The system.
        cascade: The stages.
        batch: Radiographs.
        wrong: Recover the noise by the document's formula instead of the right one.
        time: How the network is told the time.
    """
    process, radiographs = system.plan.process, system.radiographs(batch)
    volume: Tensor | None = None
    for stage in cascade.stages:
        assert isinstance(stage, DiffusionStage)
        scheduler = process.scheduler()
        scheduler.set_timesteps(process.sampling_steps)
        count = len(radiographs[stage.views[0]])
        start = stage.start(volume, count)
        timesteps = [int(step) for step in scheduler.timesteps]
        x = torch.randn(count, 1, stage.size, stage.size, stage.size)
        for number, timestep in enumerate(timesteps):
            t = torch.full((count,), timestep)
            alpha_bar = process.alphas_cumprod[timestep]
            pred_v = stage(x, time(process, t), process.alpha_bar(t), start, radiographs)
            pred_x0 = alpha_bar.sqrt() * x - (1 - alpha_bar).sqrt() * pred_v
            if wrong:
                pred_noise = (alpha_bar.sqrt() * x - pred_x0) / (1 - alpha_bar).sqrt()
            else:
                pred_noise = (x - alpha_bar.sqrt() * pred_x0) / (1 - alpha_bar).sqrt()
            last = number + 1 == len(timesteps)
            before = torch.ones(()) if last else process.alphas_cumprod[timesteps[number + 1]]
            x = before.sqrt() * pred_x0 + (1 - before).sqrt() * pred_noise
        volume = x
    assert volume is not None
    return volume


def terms_without_earlier(system: CascadeSystem, cascade: Cascade, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """The training step whose data loader gives no earlier volume: ``batch.get("prev_stage")`` is always None."""
    stage = cascade.current
    assert isinstance(stage, DiffusionStage)
    target = coarsened(batch["ct"], stage.size)
    return diffusion_loss(stage, system.plan.process, batch.get("prev_stage"), target, system.radiographs(batch))


def validated_by_loss(system: CascadeSystem, cascade: Cascade) -> dict[str, float]:
    """The diffusion loss over the validation patients, at timesteps and with noise drawn anew."""
    with torch.no_grad():
        losses = [float(sum(terms_of(system, cascade, batch).values())) for batch in system.data.val_batches()]
    return {"val_loss": sum(losses) / len(losses)}


def with_redrawn_selection(case: Case) -> Case:
    """Choose the best checkpoint by :func:`validated_by_loss`."""
    names = (*produced(system_of(case)), "val_loss")
    return changed(case, selects="val_loss", produces=lambda _: names, validate=validated_by_loss)


def built_without_average(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the document's training script builds from its settings: the moving average is in them, and not built."""
    process = Process(settings["prediction"], shift=settings["shift"], sampling_steps=settings["sampling_steps"])
    return process, settings["sizes"], settings["learning_rate"], settings["steps"]


def with_unread_average(case: Case) -> Case:
    """Build by :func:`built_without_average` from settings that ask for an average of the weights."""
    system = system_of(case)
    process = system.plan.process
    settings = {
        "sizes": system.plan.sizes,
        "prediction": process.prediction,
        "shift": process.shift,
        "sampling_steps": process.sampling_steps,
        "learning_rate": system.learning_rate,
        "steps": system.steps,
        "use_ema": True,
        "ema_decay": 0.999,
    }
    return case.replace(deployment__settings=settings, deployment__configure=built_without_average)


def _sampled(wrong: bool, time: Time, case: Case) -> Case:
    return changed(case, predict=partial(draw_by_own_loop, wrong=wrong, time=time))


def _of_data(change: Callable[[Data], Data], case: Case) -> Case:
    return changed(case, data=change(system_of(case).data))


def _without_earlier(case: Case) -> Case:
    return changed(case, terms=terms_without_earlier)


def _on_training_patients(data: Data) -> Data:
    return with_training_patients(data, len(data.val))


_CHAPTER = Chapter(RECIPE, DOCUMENT)

FAULTS = (
    _CHAPTER.fault(
        "cascade-ddim-epsilon",
        "every stage recovers the noise by (sqrt(abar) x - x0) / sqrt(1 - abar), in use and in validation",
        partial(_sampled, True, network_time),
        "S501",
        "right",
        "the primary root cause, +20 dB",
        "a real fault, inlined in every validation loop too, so that every reported figure was one of it",
    ),
    _CHAPTER.fault(
        "cascade-raw-time",
        "every stage is told t / T in training and t in sampling",
        partial(_sampled, False, raw_time),
        "S505",
        "right",
        "time conditioning is random in use, +3 dB",
        "a real fault; what it is worth depends on the head",
    ),
    _CHAPTER.fault(
        "earlier-volume-always-none",
        "the second stage is trained without the volume of the first: the key it is read from is never in a batch",
        _without_earlier,
        "M207",
        "wrong",
        "not mentioned: later stages refine the earlier ones",
        "the cascade is no cascade: a later stage learns from the mean volume, and is given another in use",
    ),
    _CHAPTER.fault(
        "selection-on-redrawn-loss",
        "the best checkpoint is chosen by a diffusion loss with noise and timesteps drawn anew",
        with_redrawn_selection,
        "E808",
        "wrong",
        "not mentioned",
        "6 'new bests' in 40 evaluations of one unchanged model",
    ),
    _CHAPTER.fault(
        "average-never-read",
        "the settings ask for an average of the weights, and nothing reads them",
        with_unread_average,
        "C1107",
        "wrong",
        "not mentioned",
        "the last weights are validated and kept: there was never an average",
    ),
    _CHAPTER.fault(
        "augmented-along-other-axes",
        "augmentation mirrors images and volume along different axes, in validation too",
        partial(_of_data, augmented_along_other_axes),
        "D117",
        "wrong",
        "not mentioned",
        "in half of the samples the radiographs are not those of the volume",
    ),
    _CHAPTER.fault(
        "radiographs-mirrored-in-training",
        "radiographs are mirrored in training and not in use",
        partial(_of_data, mirrored_in_training),
        "D117",
        "wrong",
        "not mentioned",
        "the network learns the mirror image of the rays it is given in use",
    ),
    _CHAPTER.fault(
        "evaluated-on-training-patients",
        "validation reads the training patients",
        partial(_of_data, _on_training_patients),
        "E806",
        "wrong",
        "not mentioned",
        "every reported figure is one of patients that were trained on",
    ),
)
