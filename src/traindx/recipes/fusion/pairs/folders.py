"""Pairs of registered images: two files, or a folder with one folder for each modality and equal names in both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from traindx.errors import InputError
from traindx.recipes.fusion.pairs import images
from traindx.recipes.fusion.pairs.images import Image, Range

_AFFINE_TOLERANCE = 1e-3  # mm


@dataclass(frozen=True)
class Pair:
    """Two registered images of one size.

    Attributes:
        name: Of the pair.
        a: First image, such as CT, PET or SPECT.
        b: Second image, such as MR.
    """

    name: str
    a: Image
    b: Image

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Luminance of both on [0, 1], slices as a batch: ``(D, 1, H, W)``."""
        first, second = (torch.from_numpy(np.ascontiguousarray(image.luminance))[:, None] for image in (self.a, self.b))
        return first, second

    @property
    def coloured(self) -> Image | None:
        """The image that has colour."""
        return next((image for image in (self.a, self.b) if image.rest is not None), None)

    @property
    def bits(self) -> int:
        """Bits of the fused picture: 16 where either image has more than 8."""
        return 8 if max(self.a.bits, self.b.bits) == 8 else 16

    @property
    def suffix(self) -> str:
        """Suffix of the fused image."""
        return ".nii.gz" if self.a.affine is not None else ".png"

    def write(self, path: Path, fused: Tensor) -> float:
        """Write a fused luminance ``(D, 1, H, W)`` with the colour and on the grid of this pair; see `images.write`."""
        coloured = self.coloured
        rest = None if coloured is None else coloured.rest
        return images.write(path, fused[:, 0].numpy(), rest, self.bits, self.a.affine)


def read_pair(a: Path, b: Path, ranges: tuple[Range | None, Range | None] = (None, None), name: str = "") -> Pair:
    """Two files as a pair.

    Args:
        a: First image.
        b: Second image.
        ranges: Values of each that are 0 and 1, see :mod:`~traindx.recipes.fusion.pairs.images`.
        name: Of the pair; that of the first file by default.

    Raises:
        InputError: A file cannot be read; sizes, grids or kinds differ; or both images have colour.
    """
    first, second = images.read(a, ranges[0]), images.read(b, ranges[1])
    grids = [image.affine for image in (first, second) if image.affine is not None]
    if len(grids) == 1:
        raise InputError(f"{a} and {b} are a picture and a volume", expected="two pictures, or two NIfTI volumes")
    if first.luminance.shape != second.luminance.shape:
        sizes = [" x ".join(map(str, image.luminance.shape[image.affine is None :])) for image in (first, second)]
        raise InputError(
            f"{a} is {sizes[0]} and {b} is {sizes[1]}",
            expected="two registered images of one size",
            do="register and resample one onto the other first",
        )
    if grids and not np.allclose(grids[0], grids[1], atol=_AFFINE_TOLERANCE):
        raise InputError(f"{a} and {b} lie on different grids", expected="one affine", do="resample one onto the other")
    if first.rest is not None and second.rest is not None:
        raise InputError(
            f"{a} and {b} both have colour, and a fused image can keep that of one",
            expected="colour in one of them",
            do="turn the other one to grey",
        )
    return Pair(name or images.stem(a), first, second)


@dataclass(frozen=True)
class Folder:
    """Pairs below one folder.

    Attributes:
        root: The folder.
        modalities: Names of its two folders, sorted: those of image A and image B.
        files: The two files of each pair by name.
    """

    root: Path
    modalities: tuple[str, str]
    files: dict[str, tuple[Path, Path]]

    def read(self, name: str, ranges: tuple[Range | None, Range | None] = (None, None)) -> Pair:
        """One of its pairs."""
        return read_pair(*self.files[name], ranges, name)


def folder_of_pairs(root: Path) -> Folder:
    """Find the pairs of a folder; nothing is read yet.

    Raises:
        InputError: It has not two folders with images, or an image has no partner of its name.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder", expected="a folder with one folder for each of two modalities")
    sides = {
        below.name: {images.stem(path): path for path in sorted(below.iterdir()) if images.is_image(path)}
        for below in sorted(root.iterdir())
        if below.is_dir() and not below.name.startswith(".")
    }
    sides = {name: files for name, files in sides.items() if files}
    if len(sides) != 2:
        raise InputError(
            f"{root} holds {len(sides)} folders with images{': ' if sides else ''}{', '.join(sides)}",
            expected="two, one for each modality, with equal names in both, such as ct/7.png and mri/7.png",
        )
    (first, ours), (second, theirs) = sides.items()
    alone = [f"{first}/{ours[name].name}" for name in sorted(set(ours) - set(theirs))]
    alone += [f"{second}/{theirs[name].name}" for name in sorted(set(theirs) - set(ours))]
    if alone:
        more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
        raise InputError(
            f"in {root} {', '.join(alone[:3])}{more} {'has' if len(alone) == 1 else 'have'} no partner",
            expected="each name in both folders",
            do="rename or remove what is alone",
        )
    return Folder(root, (first, second), {name: (ours[name], theirs[name]) for name in sorted(ours)})


def patients(names: Sequence[str], pattern: str = "") -> dict[str, str]:
    """Patient of each image, so that no patient is in two parts of a split.

    Args:
        names: Names of images.
        pattern: Regular expression whose first group (or whole match) is the patient. By default the name less the
            last three digits, which number the slices in most collections; where all names would be of one patient,
            each is its own.

    Raises:
        InputError: The pattern is wrong, or a name does not match it.
    """
    if not pattern:
        found = {name: re.sub(r"[-_ .]*\d{1,3}$", "", name) or name for name in names}
        return found if len(set(found.values())) > 1 else {name: name for name in names}
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"the pattern {pattern!r} is wrong: {error}", expected="a regular expression") from error
    found = {}
    for name in names:
        match = expression.search(name)
        if match is None:
            raise InputError(f"{name} does not match {pattern!r}", expected="a patient in each name")
        found[name] = match.group(1) if match.groups() else match.group(0)
    return found
