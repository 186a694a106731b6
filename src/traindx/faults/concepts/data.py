"""Faults of the data's path: boxes left behind, boxes that vanish, a CT window, augmented validation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from traindx import Case
from traindx.faults.base import Fault
from traindx.recipes.concepts.boxes import Boxes, masks
from traindx.recipes.concepts.case import redrawn, setup_of, with_concept
from traindx.recipes.concepts.data import Batch
from traindx.recipes.concepts.pipeline import IDENTITY, apply, drawn, normalise, to_network

CT_WINDOW = (-160.0, 240.0)
"""Level 40, width 400 HU: the soft-tissue window of a CT pipeline."""


def unflipped_boxes(case: Case) -> Case:
    """The image is augmented, its boxes are those of the file."""
    setup = setup_of(case)
    size = setup.architecture.map_size

    def left_behind(batch: Batch, boxes: list[Boxes]) -> Batch:
        return {**batch, "boxes": boxes, "masks": masks(boxes, setup.concepts, size)}

    def path(raw: Tensor, boxes: Tensor, split: str) -> tuple[Tensor, Tensor]:
        draw = drawn(setup.augmentation, int(torch.randint(2**31, ()))) if split == "train" else IDENTITY
        image, _ = apply(normalise(raw), with_concept(boxes), draw, setup.architecture.size)
        return to_network(image), boxes

    return case.replace(train=redrawn(case, left_behind), data_path__apply=path)


def vanished_boxes(case: Case) -> Case:
    """Corners are rounded to whole cells of a map four times as coarse: small boxes have no cell left."""
    setup = setup_of(case)
    rows, columns = (side // 4 for side in setup.architecture.map_size)

    def coarse(boxes: Boxes) -> np.ndarray:
        out = np.zeros((setup.concepts, rows, columns), np.float32)
        for concept, x0, y0, x1, y1 in boxes:
            top, left = round(y0 * rows), round(x0 * columns)
            out[int(concept), top : round(y1 * rows), left : round(x1 * columns)] = 1
        return out.repeat(4, axis=1).repeat(4, axis=2)

    def rounded(batch: Batch, _: list[Boxes]) -> Batch:
        return {**batch, "masks": torch.from_numpy(np.stack([coarse(one) for one in batch["boxes"]]))}

    return case.replace(train=redrawn(case, rounded))


def ct_window(case: Case) -> Case:
    """The window of a CT pipeline, in Hounsfield units, on the grey values of a 12-bit radiograph."""
    setup = setup_of(case)
    low, high = CT_WINDOW

    def windowed(raw: Tensor) -> Tensor:
        return ((raw.float() - low) / (high - low)).clamp(0, 1)

    def path(raw: Tensor, boxes: Tensor, split: str) -> tuple[Tensor, Tensor]:
        draw = drawn(setup.augmentation, int(torch.randint(2**31, ()))) if split == "train" else IDENTITY
        image, there = apply(windowed(raw), with_concept(boxes), draw, setup.architecture.size)
        return to_network(image), torch.from_numpy(there[:, 1:].copy())

    def through(batches: list[Batch], images: np.ndarray) -> list[Batch]:
        made = []
        for batch in batches:
            raw = torch.from_numpy(images[batch["index"].numpy()].astype(np.float32))[:, None]
            made.append(Batch(**{**batch, "image": to_network(windowed(raw))}))
        return made

    # without augmentation, so that an image is what the window alone leaves of it
    train = [setup.train.batch(batch["index"].tolist()) for batch in case.batches("train")]
    return case.replace(
        train=through(train, setup.train.data.images),
        val=through(list(case.batches("val")), setup.val.data.images),
        data_path__apply=path,
    )


def augmented_validation(case: Case) -> Case:
    """Validation images go through the training transform, drawn anew at every pass."""
    setup = setup_of(case)

    def path(raw: Tensor, boxes: Tensor, split: str) -> tuple[Tensor, Tensor]:
        draw = drawn(setup.augmentation, int(torch.randint(2**31, ())))
        image, there = apply(normalise(raw), with_concept(boxes), draw, setup.architecture.size)
        return to_network(image), torch.from_numpy(there[:, 1:].copy())

    known = [batch["index"].tolist() for batch in case.batches("val")]

    def val() -> list[Batch]:
        return [setup.val.batch(indices, setup.augmentation, int(torch.randint(2**31, ()))) for indices in known]

    return case.replace(val=val, data_path__apply=path)


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="unflipped-boxes",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="images are augmented, their boxes are not",
        apply=unflipped_boxes,
        expected_rule="D119",
        documented_diagnosis="wrong",
        claim="",
        truth="the lesion lies inside its box in .35 of the training images, and in all test images",
    ),
    Fault(
        name="vanished-boxes",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="small boxes have no cell on the map that the loss draws them on",
        apply=vanished_boxes,
        expected_rule="D127",
        documented_diagnosis="wrong",
        claim="",
        truth="77 % of 8-pixel boxes vanish on 14 x 14 cells, and the lesion is pushed down",
    ),
    Fault(
        name="ct-window",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="a CT window is applied to radiographs",
        apply=ct_window,
        expected_rule="D126",
        documented_diagnosis="wrong",
        claim="",
        truth="nearly all grey values of a 12-bit radiograph lie above the window and become white",
    ),
    Fault(
        name="augmented-validation",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="validation images are augmented",
        apply=augmented_validation,
        expected_rule="D119",
        documented_diagnosis="wrong",
        claim="",
        truth="one and the same model scores differently each time",
    ),
)
