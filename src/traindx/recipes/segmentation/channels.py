"""One case of several files: nnU-Net keeps every channel in a file of its own, NAME_0000, NAME_0001 and so on.

Four digits at the end of a name need not be a channel's (``scan_0001`` to ``scan_0040`` may be forty patients), so they
are taken for one only where something else says so: a label of the name without them, or, where there are no labels,
that every file has them and every case the channels that the network wants, from 0000 on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from traindx.errors import InputError
from traindx.recipes.segmentation.volumes import Volume, read_volume, stem_of

_CHANNEL = re.compile(r"(.+)_(\d{4})")
_SAME_PLACE = 0.01  # of a voxel: what a round trip of an affine through a header may move a corner by


@dataclass(frozen=True)
class ImageFiles:
    """The image of a case.

    Attributes:
        name: Name of the case, without the number of a channel.
        paths: One file a channel, or one file with all of them.
        numbers: Numbers of the channels; empty for one file with all of them.
    """

    name: str
    paths: tuple[Path, ...]
    numbers: tuple[int, ...] = ()

    def problem(self, channels: int | None) -> str:
        """What is wrong with the channels, in words, or nothing; ``channels`` is how many there should be."""
        if not self.numbers:
            return ""
        wanted = range(channels if channels is not None else len(self.numbers))
        missing = [f"{number:04d}" for number in wanted if number not in self.numbers]
        if missing:
            return f"channel {', '.join(missing)} is missing"
        more = [f"{number:04d}" for number in self.numbers if number not in wanted]
        return f"channel {', '.join(more)} is one too many" if more else ""


def of_training(paths: Sequence[Path], labels: Collection[str]) -> dict[str, ImageFiles]:
    """Images by case, told by the names of the labels."""
    found: dict[str, dict[int, Path]] = {}
    whole: dict[str, ImageFiles] = {}
    for path in paths:
        stem = stem_of(path)
        match = _CHANNEL.fullmatch(stem)
        if match and stem not in labels and match[1] in labels:
            found.setdefault(match[1], {})[int(match[2])] = path
        else:
            whole[stem] = ImageFiles(stem, (path,))
    return {**whole, **{name: _ordered(name, numbered) for name, numbered in found.items()}}


def of_prediction(paths: Sequence[Path], channels: int) -> list[ImageFiles]:
    """Images by case, told by the channels that the network wants; each file a case where they do not fit."""
    found: dict[str, dict[int, Path]] = {}
    for path in paths:
        match = None if path.is_dir() else _CHANNEL.fullmatch(stem_of(path))
        if match is None:
            break
        found.setdefault(match[1], {})[int(match[2])] = path
    else:
        cases = [_ordered(name, numbered) for name, numbered in found.items()]
        # one case that lacks a channel must be named, and not turn all files into cases
        if any(not case.problem(channels) for case in cases):
            return cases
    return [ImageFiles(stem_of(path), (path,)) for path in paths]


def _ordered(name: str, numbered: Mapping[int, Path]) -> ImageFiles:
    numbers = tuple(sorted(numbered))
    return ImageFiles(name, tuple(numbered[number] for number in numbers), numbers)


def read(image: ImageFiles) -> Volume:
    """Read a case, its channels first.

    Raises:
        InputError: A file cannot be read, holds channels of its own, or lies on another grid than the first.
    """
    volumes = [read_volume(path) for path in image.paths]
    first = volumes[0]
    if len(volumes) == 1:
        return first
    for other in volumes[1:]:
        if other.shape != first.shape or other.array.shape[0] != 1 or first.array.shape[0] != 1:
            raise InputError(
                f"{other.path} has shape {other.array.shape} and {first.path.name} has {first.array.shape}",
                expected="channels of one case on one grid, one a file",
                do="resample them to the first",
            )
        corners = np.array([[0, 0, 0, 1], [*first.shape, 1]], dtype=float).T
        shift = float(np.abs(other.affine @ corners - first.affine @ corners).max())
        if shift > _SAME_PLACE * min(first.spacing):
            raise InputError(
                f"{other.path} lies {shift:.2f} mm away from {first.path.name}",
                expected="channels of one case with the same affine",
                do="register and resample them to the first",
            )
    return replace(first, array=np.concatenate([volume.array for volume in volumes]))


def table_of(table: Mapping[str, Any], path: Path) -> tuple[int | None, dict[str, Any]]:
    """Number of channels (None where it is not said) and label table of a ``dataset.json``.

    Args:
        table: Its content: of nnU-Net (``channel_names``), of nnU-Net 1 and the Decathlon (``modality``).
        path: Where it is, for messages.

    Raises:
        InputError: There are no labels, labels are regions, or files are of a kind that is not read.
    """
    labels = table.get("labels")
    if not isinstance(labels, Mapping):
        raise InputError(f"{path} has no readable 'labels'", expected='for example {"background": 0, "tumour": 1}')
    values = [v for value in labels.values() for v in (value if isinstance(value, list) else [value])]
    if "regions_class_order" in table or len(values) != len(set(map(str, values))):
        raise InputError(
            f"the labels of {path} are regions that overlap: {dict(labels)}",
            expected="a class for each value",
            do="declare the values themselves with --data.labels, and join the masks afterwards",
        )
    ending = str(table.get("file_ending", ".nii.gz")).lower()
    if not ending.endswith((".nii", ".nii.gz", ".tif", ".tiff")):
        raise InputError(
            f"{path} says that files end in {ending}", expected="NIfTI or TIFF", do="convert them to .nii.gz"
        )
    names = table.get("channel_names", table.get("modality"))
    return (len(names) if isinstance(names, Mapping | list) else None), dict(labels)
