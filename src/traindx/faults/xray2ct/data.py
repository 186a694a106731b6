"""Faults of the data: known patients in validation, and radiographs that part from their volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from traindx.recipes.xray2ct.data import Radiographed
from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.sources import Patients

if TYPE_CHECKING:
    from collections.abc import Callable

    from traindx.recipes.xray2ct.data import Data


def with_training_patients(data: Data, count: int) -> Data:
    """The last ``count`` validation patients are exchanged for the first training patients."""
    kept = len(data.val) - count

    def mixed(val: Tensor, train: Tensor) -> Tensor:
        return torch.cat((val[:kept], train[:count]))

    patients = Patients(
        mixed(data.val.patients.hu, data.train.patients.hu),
        (*data.val.patients.ids[:kept], *data.train.patients.ids[:count]),
        data.val.patients.spacing_mm,
    )
    images = {view: mixed(image, data.train.radiographs[view]) for view, image in data.val.radiographs.items()}
    return replace(data, val=Radiographed(patients, images, data.val.window))


class Changed(Radiographed):
    """Volumes whose items are changed when they are handed out.

    Args:
        of: The volumes.
        change: ``item -> item``.
    """

    def __init__(self, of: Radiographed, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        super().__init__(of.patients, of.radiographs, of.window)
        self.change = change

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.change(super().__getitem__(index))


def flipped_along_other_axes(item: Mapping[str, Any]) -> dict[str, Any]:
    """One augmentation for images and volumes: ``flip(-1)`` of a radiograph, ``flip(1)`` of the volume, half the time.

    The last axis of a radiograph runs from the patient's right to the left, the first of a volume from head to feet.
    """
    found = dict(item)
    if float(torch.rand(())) < 0.5:
        found |= {view: item[view].flip(-1) for view in VIEWS}
        found |= {name: item[name].flip(1) for name in ("ct", "hu")}
    return found


def with_mirrored_radiographs(item: Mapping[str, Any]) -> dict[str, Any]:
    """Radiographs as they hang on the light box, mirrored; the volume as it lies."""
    return {**item, **{view: item[view].flip(-1) for view in VIEWS}}


def augmented_along_other_axes(data: Data) -> Data:
    """:func:`flipped_along_other_axes`, for training and validation."""
    parts = (Changed(part, flipped_along_other_axes) for part in (data.train, data.val))
    train, val = parts
    return replace(data, train=train, val=val)


def mirrored_in_training(data: Data) -> Data:
    """:func:`with_mirrored_radiographs`, for training only."""
    return replace(data, train=Changed(data.train, with_mirrored_radiographs))
