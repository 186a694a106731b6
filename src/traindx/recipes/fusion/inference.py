"""A trained model on whole studies: any size, batches of slices or overlapping blocks, samples and uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.recipes.fusion import contract
from traindx.recipes.fusion.data import Prepared, derive
from traindx.recipes.fusion.disturbance import AIR_HU
from traindx.recipes.fusion.normalisation import NORMALISATIONS, Normalisation, to_display, to_network
from traindx.recipes.fusion.roi import RoiWeights, roi_terms
from traindx.recipes.fusion.sampling import Energy, draw
from traindx.recipes.fusion.student import Student, student_from
from traindx.recipes.fusion.studies import Study
from traindx.recipes.kit.contract import CONTRACT_KEY
from traindx.recipes.kit.diffusion import Process

Sampler = Literal["ddim", "student"]

TURNS = 8
"""Flips and quarter turns of a slice."""

_BATCH = 8


@dataclass(frozen=True)
class Model:
    """A checkpoint, ready to fuse.

    Attributes:
        network: The denoiser, or the student.
        process: Its diffusion process.
        seen_as: How it sees CT and MR.
        head: Lesion head, if it has one.
        weights: ROI weights that guidance uses.
        guidance: Size of a guided move in units of the noise level.
        dims: 2 for slices, 3 for blocks.
        multiple: Sides must be multiples of this.
        sampler: ``ddim``, or ``student`` for one pass, as a network that was trained for one pass always has.
    """

    network: nn.Module
    process: Process
    seen_as: Normalisation
    head: nn.Module | None
    weights: RoiWeights
    guidance: float
    dims: int
    multiple: int
    sampler: Sampler

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.network.parameters()).device

    def fuse(self, batch: dict[str, Any], turn: int = 0) -> Tensor:
        """Fused images in [-1, 1] for ``ct`` and ``mr``; with guidance, ``fused``, ``soft`` and ``bone`` too.

        Args:
            batch: Images.
            turn: One of the eight flips and quarter turns that the images are fused under and the result is turned
                back from. The model was trained under all of them, so where it is sure they agree.
        """
        if turn:
            turned = {name: _turned(image, turn) for name, image in batch.items() if isinstance(image, Tensor)}
            return _turned_back(self.fuse(turned), turn)
        ct, mr = batch["ct"].to(self.device), batch["mr"].to(self.device)
        if self.sampler == "student":
            with torch.no_grad():
                fused: Tensor = self.network(ct, mr)
            return fused
        return draw(self.process, self.network, ct, mr, self._energy(batch) if self.guidance else None, self.guidance)

    def _energy(self, batch: dict[str, Any]) -> Energy:
        regions = {name: batch[name].to(self.device) for name in ("fused", "soft", "bone")}

        def energy(fused: Tensor) -> Tensor:
            terms = roi_terms(fused, regions, self.weights, self.head)
            return torch.stack(list(terms.values())).sum() if terms else 0 * fused.sum()

        return energy


def load(
    path: Path,
    *,
    sampler: Sampler = "ddim",
    sampling_steps: int = 10,
    guidance: float = 0.0,
    weights: RoiWeights | None = None,
    device: str = "cpu",
) -> Model:
    """Read a checkpoint.

    Raises:
        InputError: It cannot be used, holds no student where one is asked for, or has no steps to guide.
    """
    checkpoint = contract.read(path)
    saved = checkpoint[CONTRACT_KEY]
    denoiser = contract.network_from(checkpoint)
    network: nn.Module = denoiser
    if guidance and (saved.get("one_pass") or sampler == "student"):
        raise InputError(f"guidance {guidance:g} for a network of one pass", expected="0: it has no steps to guide")
    if saved.get("one_pass"):
        network, sampler = Student(denoiser).eval(), "student"
    elif sampler == "student":
        network = student_from(checkpoint, path)
    head = contract.head_from(checkpoint)
    return Model(
        network=network.to(device),
        process=Process.of(saved, sampling_steps),
        seen_as=NORMALISATIONS[saved["normalisation"]["preset"]],
        head=None if head is None else head.to(device),
        weights=weights or contract.weights_from(checkpoint),
        guidance=guidance,
        dims=saved["dims"],
        multiple=2 ** max(saved["network"].get("levels", 3), 4 if head is not None else 0),
        sampler=sampler,
    )


def fuse_study(model: Model, study: Study | Prepared, samples: int = 1) -> tuple[Tensor, Tensor, Prepared]:
    """Fuse a whole study.

    Args:
        model: The model.
        study: Any size.
        samples: Draws a slice, each from other noise and under another turn; the result is their mean.

    Returns:
        The fused volume on the display range and its standard deviation over draws (zeros for one), both
        ``(D, H, W)`` on the grid of the CT, and what was derived from the study.

    Raises:
        InputError: Fewer than one sample.
    """
    if samples < 1:
        raise InputError(f"{samples} samples", expected="1 or more")
    prepared = study if isinstance(study, Prepared) else derive(study)
    total = torch.zeros(prepared.fused.shape)
    squares = torch.zeros(prepared.fused.shape)
    for place, batch in _batches(model, prepared):
        for number in range(samples):
            shown = to_display(model.fuse(batch, number % TURNS)).cpu()
            shown = shown[..., : prepared.fused.shape[-2], : prepared.fused.shape[-1]]
            flat = shown[:, 0] if model.dims == 2 else shown[0, 0, : place.stop - place.start]
            total[place] += flat
            squares[place] += flat.square()
    mean = total / samples
    variance = (squares - samples * mean.square()) / max(1, samples - 1)
    return mean, variance.clamp_min(0).sqrt(), prepared


def measured(model: Model, samples: int = 1) -> Callable[[dict[str, Any]], Tensor]:
    """A predictor from batches of windows to fused images on the display range."""

    def predict(batch: dict[str, Any]) -> Tensor:
        drawn = [to_display(model.fuse(batch, number % TURNS)) for number in range(samples)]
        return torch.stack(drawn).mean(dim=0)

    return predict


def _batches(model: Model, prepared: Prepared) -> Iterator[tuple[slice, dict[str, Any]]]:
    """Padded slices, a few at once, or the whole volume as one block."""
    study = prepared.study
    hu, mr = torch.from_numpy(study.hu), torch.from_numpy(study.mr)
    white, mean, deviation = prepared.reference
    named = {
        "ct": (model.seen_as.ct(hu), float(model.seen_as.ct(torch.tensor(AIR_HU)))),
        "mr": (
            model.seen_as.mr(mr, white, mean, deviation),
            float(model.seen_as.mr(torch.tensor(0.0), white, mean, deviation)),
        ),
        "fused": (to_network(prepared.fused), -1.0),
        "soft": (torch.from_numpy(prepared.where.soft).float(), 0.0),
        "bone": (torch.from_numpy(prepared.where.bone).float(), 0.0),
    }
    depth = hu.shape[0]
    step = _BATCH if model.dims == 2 else depth
    for first in range(0, depth, step):
        place = slice(first, min(depth, first + step))
        batch = {}
        for name, (volume, outside) in named.items():
            block = volume[place][:, None] if model.dims == 2 else volume[place][None, None]
            batch[name] = _padded(block, model.multiple, outside)
        yield place, batch


def _padded(image: Tensor, multiple: int, value: float) -> Tensor:
    missing = [-side % multiple for side in image.shape[2:]]
    return F.pad(image, [n for side in reversed(missing) for n in (0, side)], value=value)


def _turned(image: Tensor, turn: int) -> Tensor:
    flipped = image.flip(-1) if turn >= TURNS // 2 else image
    return torch.rot90(flipped, turn % 4, (-2, -1))


def _turned_back(image: Tensor, turn: int) -> Tensor:
    unturned = torch.rot90(image, -(turn % 4), (-2, -1))
    return unturned.flip(-1) if turn >= TURNS // 2 else unturned
