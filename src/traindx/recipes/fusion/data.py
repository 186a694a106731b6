"""Batches: windows of slices (or blocks of volumes) with both images, their target and regions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from traindx.errors import InputError
from traindx.recipes.fusion import studies
from traindx.recipes.fusion.disturbance import AIR_HU, UNDISTURBED, Disturbances, Disturbed, drawn
from traindx.recipes.fusion.normalisation import (
    MR_PERCENTILE,
    NORMALISATIONS,
    Normalisation,
    ct_display,
    mr_display,
    to_network,
)
from traindx.recipes.fusion.studies import Source, Study
from traindx.recipes.fusion.target import Regions, fused_target, regions
from traindx.recipes.kit.split import Split

Transform = Callable[[dict[str, Any]], dict[str, Any]]

_LEAST_TISSUE = 0.02  # of a slice; emptier ones hold nothing to fuse


@dataclass(frozen=True)
class DataOptions:
    """Which patients, and how they are cut and handed out.

    Attributes:
        source: See :func:`~traindx.recipes.fusion.studies.resolve`.
        root: Folder of the studies; ``TRAINDX_DATA`` by default.
        size: Voxels of a window along rows and columns; of a slice, what is larger is cut, what is smaller is padded.
        depth: Slices of a block; 1 for single slices and a network in two dimensions.
        val_size: The same for validation, where windows lie around the lesion and do not move.
        train: Most training patients.
        val: Most validation patients.
        slices: Slices (or blocks) of a validation patient, evenly spaced over the lesion.
        batch_size: Windows in a training batch.
        seed: Seed of the split.
        normalisation: Preset of how the network sees CT and MR.
        augment: Flip and turn training windows, all images and masks alike.
        disturbances: The most of what is done to CT and MR as the network sees them, in training and validation; the
            target and what figures compare with stay those of the clean pair.
    """

    source: Source = "auto"
    root: Path | None = None
    size: int = 96
    depth: int = 1
    val_size: int = 128
    train: int = 1000
    val: int = 1000
    slices: int = 5
    batch_size: int = 8
    seed: int = 0
    normalisation: str = "joint"
    augment: bool = True
    disturbances: Disturbances = UNDISTURBED


@dataclass(frozen=True)
class Prepared:
    """A study with all that is derived from it, as float32 tensors of shape ``(D, H, W)``.

    Attributes:
        study: What was read.
        ct: CT on the display range.
        mr: MR on the display range.
        fused: The target F* on the display range.
        where: Regions.
        reference: Intensity of MR that is white, and mean and deviation over the body.
    """

    study: Study
    ct: Tensor
    mr: Tensor
    fused: Tensor
    where: Regions
    reference: tuple[float, float, float]

    def at(self, first: int, count: int = 1) -> Prepared:
        """Some of its slices, with the brightness of the whole volume."""
        part = slice(first, first + count)
        study, where = self.study, self.where
        bone = study.bone[part] if study.bone is not None else None
        body = study.body[part] if study.body is not None else None
        cut = Study(study.id, study.hu[part], study.mr[part], study.lesion[part], study.affine, bone, body)
        regions_cut = Regions(*(getattr(where, name)[part] for name in vars(where)))
        return Prepared(cut, self.ct[part], self.mr[part], self.fused[part], regions_cut, self.reference)


def derive(study: Study) -> Prepared:
    """Normalise a study for display, segment it, and make its target.

    Raises:
        InputError: MR is empty where the body is.
    """
    hu, mr = torch.from_numpy(study.hu), torch.from_numpy(study.mr)
    inside = study.mr[(study.hu > studies.SLICE_HU[0]) & (study.mr > 0)]
    if not inside.size:
        raise InputError(f"{study.id}: MR is zero wherever CT shows a body", expected="registered images")
    white = float(np.percentile(inside, MR_PERCENTILE))
    reference = (white, float(inside.mean()), float(inside.std()))
    ct_shown, mr_shown = ct_display(hu), mr_display(mr, white)
    where = regions(study.hu, mr_shown.numpy(), study.bone, study.body)
    fused = torch.from_numpy(fused_target(ct_shown.numpy(), mr_shown.numpy(), where))
    return Prepared(study, ct_shown, mr_shown, fused, where, reference)


@dataclass(frozen=True)
class Window:
    """Where a window lies: slice range and centre in its study."""

    study: int
    first: int
    row: int
    column: int


class Windows(Dataset[dict[str, Any]]):
    """Windows of prepared studies.

    An item holds, each of shape ``(1, H, W)`` (``(1, D, H, W)`` for blocks):

    ``ct``, ``mr`` as the network sees them; ``fused``, the target in [-1, 1]; ``hu``; ``ct_display``, ``mr_display``;
    the regions ``soft``, ``bone``, ``lesion`` as 0 and 1; and ``id``. Under disturbances ``shift`` too, ``(2, H, W)``:
    rows and columns from each pixel to where the moved MR shows what belongs there.

    Args:
        prepared: Studies.
        options: How they are cut.
        training: Windows move and turn at random; else they lie still around the lesion.
        seen_as: How the network sees CT and MR.
        transform: Changes an item at the end; faults use it.
    """

    def __init__(
        self,
        prepared: Sequence[Prepared],
        options: DataOptions,
        training: bool,
        seen_as: Normalisation,
        transform: Transform | None = None,
    ) -> None:
        self.prepared = list(prepared)
        self.options = options
        self.training = training
        self.seen_as = seen_as
        self.transform = transform
        self.size = options.size if training else options.val_size
        self.windows = [window for number in range(len(self.prepared)) for window in self._of(number)]
        self.disturbed: list[Disturbed] = []
        if options.disturbances:
            self.disturbed = [Disturbed(this.study, this.reference[0]) for this in self.prepared]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.item(index)

    def item(self, index: int, generator: torch.Generator | None = None) -> dict[str, Any]:
        """A window; a training window moves and turns as the generator (the global one by default) says.

        Disturbances follow from the same generator; those of a validation window are always the same.
        """
        window = self.windows[index]
        turn = (0, False)
        if self.training:
            reach = self.size // 3
            move = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
            body = self.prepared[window.study].where.body[window.first]
            rows, columns = np.nonzero(body)
            row = int(np.clip(window.row + move[0], rows.min(), rows.max()))
            column = int(np.clip(window.column + move[1], columns.min(), columns.max()))
            window = replace(window, row=row, column=column)
            if self.options.augment:
                drawn = torch.randint(0, 8, (1,), generator=generator).item()
                turn = (int(drawn) % 4, int(drawn) >= 4)
        if self.disturbed and not self.training:
            generator = torch.Generator().manual_seed(index)
        made = self._cut(window, turn, generator)
        return self.transform(made) if self.transform is not None else made

    def _cut(self, window: Window, turn: tuple[int, bool], generator: torch.Generator | None) -> dict[str, Any]:
        this = self.prepared[window.study]
        white, mean, deviation = this.reference

        def cut(volume: Tensor | NDArray[Any], outside: float = 0.0) -> Tensor:
            return turned(self._block(torch.as_tensor(volume), window, outside), turn)[None].float()

        hu, mr = cut(this.study.hu, AIR_HU), cut(this.study.mr)
        more: dict[str, Any] = {}
        if self.disturbed:
            disturbance = drawn(self.options.disturbances, generator)
            block = self.disturbed[window.study].block(disturbance, *self._place(window), generator)
            flat = [part.squeeze(-3) if self.options.depth == 1 else part for part in block]
            hu, mr = (turned(part, turn)[None] for part in flat[:2])
            more["shift"] = turned_vectors(flat[2], turn)
        return {
            **more,
            "ct": self.seen_as.ct(hu),
            "mr": self.seen_as.mr(mr, white, mean, deviation),
            "fused": to_network(cut(this.fused)),
            "hu": hu,
            "ct_display": cut(this.ct),
            "mr_display": cut(this.mr),
            "soft": cut(this.where.soft),
            "bone": cut(this.where.bone),
            "lesion": cut(this.study.lesion & this.where.soft),
            "id": this.study.id,
        }

    def _block(self, volume: Tensor, window: Window, outside: float) -> Tensor:
        """Cut or pad a volume to the window; one slice loses its axis."""
        depth = self.options.depth
        corner, shape = self._place(window)
        out = torch.full(shape, outside, dtype=torch.float32)
        here, there = [], []
        for start, length, limit in zip(corner, shape, volume.shape, strict=True):
            low, high = max(0, start), min(limit, start + length)
            there.append(slice(low, max(low, high)))
            here.append(slice(low - start, max(low, high) - start))
        out[tuple(here)] = volume[tuple(there)].float()
        return out[0] if depth == 1 else out

    def _place(self, window: Window) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """First voxel of a window, which may lie outside, and its shape."""
        corner = (window.first, window.row - self.size // 2, window.column - self.size // 2)
        return corner, (self.options.depth, self.size, self.size)

    def _of(self, number: int) -> Iterator[Window]:
        this, depth = self.prepared[number], self.options.depth
        area = this.where.body.mean(axis=(1, 2))
        usable = [z for z in range(max(1, len(area) - depth + 1)) if area[z] > _LEAST_TISSUE]
        if not self.training:
            lesion = np.flatnonzero(this.study.lesion.any(axis=(1, 2)))
            drawn = [z for z in usable if z + depth // 2 in lesion] or usable
            picks = np.linspace(0, len(drawn) - 1, self.options.slices + 2)[1:-1]
            usable = sorted({drawn[round(place)] for place in picks}) if drawn else []
        for z in usable:
            rows, columns = np.nonzero(this.where.body[min(z + depth // 2, len(area) - 1)])
            if rows.size == 0:
                continue
            middle = ((int(axis.min()) + int(axis.max())) // 2 for axis in (rows, columns))
            yield Window(number, z, *middle)


def turned(image: Tensor, turn: tuple[int, bool]) -> Tensor:
    """An image flipped along columns where the turn says so, then turned by its number of quarters."""
    flipped = image.flip(-1) if turn[1] else image
    return torch.rot90(flipped, turn[0], (-2, -1)).contiguous()


def turned_vectors(field: Tensor, turn: tuple[int, bool]) -> Tensor:
    """A field of vectors ``(2, ..., H, W)`` along rows and columns, turned as images are, and its vectors with it."""
    rows, columns = turned(field, turn)
    if turn[1]:
        columns = -columns
    for _ in range(turn[0]):
        rows, columns = -columns, rows
    return torch.stack((rows, columns))


@dataclass(frozen=True)
class Data:
    """Everything a training needs.

    Attributes:
        options: How it was made.
        train: Training windows.
        val: Validation windows.
        split: Patients of both sides.
    """

    options: DataOptions
    train: Windows
    val: Windows
    split: Split = field(default_factory=lambda: Split(train=(), val=()))

    @property
    def dims(self) -> int:
        """2 for slices, 3 for blocks."""
        return 2 if self.options.depth == 1 else 3

    def train_batches(self) -> DataLoader[dict[str, Any]]:
        """Shuffled batches, in an order drawn from the global torch seed at each pass."""
        return DataLoader(self.train, min(self.options.batch_size, len(self.train)), shuffle=True, drop_last=True)

    def val_batches(self) -> DataLoader[dict[str, Any]]:
        """Validation batches in their fixed order, at most eight windows each."""
        return DataLoader(self.val, min(8, len(self.val)))

    def seen_as(self, normalisation: Normalisation) -> Data:
        """The same windows under another normalisation of the conditions; the target stays as it is."""
        return self._with(lambda part: Windows(part.prepared, part.options, part.training, normalisation))

    def transformed(self, transform: Transform) -> Data:
        """The same windows, each changed by a function."""

        def both(part: Windows) -> Windows:
            first = part.transform
            chained = transform if first is None else lambda item: transform(first(item))
            return Windows(part.prepared, part.options, part.training, part.seen_as, chained)

        return self._with(both)

    def _with(self, change: Callable[[Windows], Windows]) -> Data:
        return Data(self.options, change(self.train), change(self.val), self.split)


def prepare(options: DataOptions) -> Data:
    """Read, segment and split studies.

    Raises:
        InputError: There are no data, too few patients, or an option that does not exist.
    """
    if options.normalisation not in NORMALISATIONS:
        raise InputError(f"normalisation {options.normalisation!r} is unknown", expected=", ".join(NORMALISATIONS))
    source, root = studies.resolve(options.source, options.root)
    found = studies.names(source, root)
    if len(found) < 2:
        raise InputError(f"there is one study, {found[0]}", expected="two or more, to hold one out")
    split = studies.split(found, root, options.seed)
    split = Split(train=split.train[: options.train], val=split.val[: options.val])
    seen_as = NORMALISATIONS[options.normalisation]
    train, val = (
        Windows([derive(study) for study in studies.load(source, root, chosen)], options, training, seen_as)
        for chosen, training in ((split.train, True), (split.val, False))
    )
    for side, part in (("training", train), ("validation", val)):
        if not len(part):
            raise InputError(f"no {side} slice holds a body", expected="CT in HU with tissue above -300")
    return Data(options, train, val, split)
