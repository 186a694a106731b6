"""Where cases come from: folders of volumes and labels, and the two array archives that the project's benchmarks use.

A source lists cases without reading their voxels, and reads one case at a time. What cannot be read is reported
(:class:`Unreadable`) and the rest goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.errors import InputError
from traindx.recipes.segmentation import channels as files
from traindx.recipes.segmentation.channels import ImageFiles
from traindx.recipes.segmentation.volumes import list_volumes, read_volume, stem_of

LAYOUTS: tuple[tuple[str, str], ...] = (
    ("imagesTr", "labelsTr"),
    ("images", "labels"),
    ("images", "masks"),
    ("train_images", "train_labels"),
)
"""Folder names of images and labels that are recognised: Medical Segmentation Decathlon, and plain ones."""


LABELS: Mapping[str, Mapping[str, int] | None] = {
    "folder": None,  # as its dataset.json says, else every value above 0 is a class
    "hippocampus": {"background": 0, "anterior": 1, "posterior": 2},
}
"""Data sets whose label values have a meaning that is known: Task04 of the Medical Segmentation Decathlon."""


@dataclass(frozen=True)
class RawCase:
    """One case as read, before any preprocessing.

    Attributes:
        image: Shape ``(channels, D, H, W)``.
        label: Label values of the file, shape ``(D, H, W)``; None where there is no label.
        affine: Voxel index to mm, shape ``(4, 4)``.
        labelled: Names of the classes that were looked for in this case; None means all of them. A class that is
            missing here is *unlabelled*: voxels marked background may belong to it.
        label_dtype: Data type of the label on disk.
    """

    image: NDArray[Any]
    label: NDArray[Any] | None
    affine: NDArray[np.float64]
    labelled: tuple[str, ...] | None = None
    label_dtype: str = "uint8"


@dataclass(frozen=True)
class CaseRef:
    """A case that can be read.

    Attributes:
        name: Unique name.
        patient: Patient it belongs to: splits never part the cases of one patient.
        read: Reads it. Raises :class:`~traindx.errors.InputError`.
    """

    name: str
    patient: str
    read: Callable[[], RawCase]


@dataclass(frozen=True)
class Unreadable:
    """A case that was left out, and why."""

    name: str
    reason: str


def read_pair(image: ImageFiles, label: Path | None) -> RawCase:
    """Read an image of one or several files and its label, which must share their grid.

    Raises:
        InputError: A file cannot be read, or the grids differ by more than a hundredth of a voxel.
    """
    volume = files.read(image)
    if label is None:
        return RawCase(volume.array, None, volume.affine)
    mask = read_volume(label)
    if mask.array.shape[0] != 1 or mask.shape != volume.shape:
        raise InputError(
            f"{label} has shape {mask.array.shape} and its image {image.name} has {volume.array.shape}",
            expected="image and label on one grid",
            do="resample the label to the image with nearest neighbour",
        )
    if volume.header is not None and mask.header is not None:
        corners = np.array([[0, 0, 0, 1], [*volume.shape, 1]], dtype=float).T
        shift = float(np.abs(volume.affine @ corners - mask.affine @ corners).max())
        if shift > 0.01 * min(volume.spacing):
            raise InputError(
                f"{label} lies {shift:.2f} mm away from its image {image.name}",
                expected="image and label with the same affine",
                do="check which of the two affines is right",
            )
    return RawCase(volume.array, mask.array[0], volume.affine, label_dtype=str(mask.dtype))


def folder_cases(root: Path, patient: Callable[[str], str] = str) -> tuple[list[CaseRef], list[Unreadable]]:
    """Cases of a folder: pairs of the same file name in two sub-folders.

    Args:
        root: Holds two sub-folders of :data:`LAYOUTS`.
        patient: Case name to patient.

    Returns:
        Cases sorted by name; images without label, labels without image, and images that lack a channel.

    Raises:
        InputError: No layout is recognised or no pair is found.
    """
    for images, labels in LAYOUTS:
        if (root / images).is_dir() and (root / labels).is_dir():
            break
    else:
        raise InputError(
            f"{root} has no known layout",
            expected="sub-folders " + " or ".join(f"{a}/ and {b}/" for a, b in LAYOUTS),
        )
    found_labels = {stem_of(path): path for path in list_volumes(root / labels)}
    found_images = files.of_training(list_volumes(root / images), found_labels)
    channels, _ = _table(root)
    wrong = {name: reason for name, image in found_images.items() if (reason := image.problem(channels))}
    cases = [
        CaseRef(name, patient(name), partial(read_pair, found_images[name], found_labels[name]))
        for name in sorted((found_images.keys() & found_labels.keys()) - wrong.keys())
    ]
    if not cases:
        raise InputError(f"no image in {root / images} has a label of the same name in {root / labels}")
    lonely = [Unreadable(name, "image without label") for name in sorted(found_images.keys() - found_labels.keys())]
    lonely += [Unreadable(name, "label without image") for name in sorted(found_labels.keys() - found_images.keys())]
    lonely += [Unreadable(name, reason) for name, reason in sorted(wrong.items())]
    return cases, lonely


def folder_labels(root: Path) -> dict[str, Any] | None:
    """The label table of ``dataset.json`` (Decathlon and nnU-Net notation), or None.

    Raises:
        InputError: It cannot be read, or says what is not supported; see
            :func:`~traindx.recipes.segmentation.channels.table_of`.
    """
    return _table(root)[1]


def _table(root: Path) -> tuple[int | None, dict[str, Any] | None]:
    """Number of channels and label table of ``dataset.json``, where there is one."""
    path = root / "dataset.json"
    if not path.exists():
        return None, None
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} has no readable 'labels': {error}") from error
    if not isinstance(table, dict):
        raise InputError(f"{path} has no readable 'labels'", expected="a table in JSON")
    return files.table_of(table, path)


OPENKBP_ORGANS = {
    "brain stem": (1,),
    "spinal cord": (2,),
    "right parotid": (3,),
    "left parotid": (4,),
    "oesophagus": (5,),
    "larynx": (6,),
    "mandible": (7,),
}
"""Organs of the OpenKBP archive (Babier et al., Med Phys 48:5549, 2021) and their label values."""

_OPENKBP_COLUMNS = ("Brainstem", "SpinalCord", "RightParotid", "LeftParotid", "Esophagus", "Larynx", "Mandible")


def openkbp_cases(root: Path, *, organs: Sequence[str] | None = None) -> list[CaseRef]:
    """Cases of ``ct64.npz``: 64³ CT with organs of which not every one was contoured in every patient.

    Args:
        root: Folder with ``ct64.npz`` and ``cases.csv``.
        organs: Leave out patients in whom none of these was contoured; default: all organs.
    """
    import csv

    archive = np.load(root / "ct64.npz", allow_pickle=False)
    hu, lab, spacing, ids = (archive[key] for key in ("hu", "lab", "spacing", "ids"))
    with (root / "cases.csv").open(encoding="utf-8") as file:
        has = {
            row["id"]: tuple(
                name
                for name, column in zip(OPENKBP_ORGANS, _OPENKBP_COLUMNS, strict=True)
                if row[f"has_{column}"] == "1"
            )
            for row in csv.DictReader(file)
        }

    def read(index: int) -> RawCase:
        affine = np.diag([*np.broadcast_to(spacing[index], (3,)).astype(float), 1.0])
        return RawCase(hu[index][None], lab[index], affine, labelled=has[str(ids[index])])

    wanted = set(organs or OPENKBP_ORGANS)
    return [
        CaseRef(str(name), str(name), partial(read, index))
        for index, name in enumerate(ids)
        if wanted & set(has[str(name)])
    ]


def sarcoma_cases(root: Path, channels: Sequence[str] = ("ct", "mr", "pet")) -> list[CaseRef]:
    """Cases of ``volumes/STS_*.npz``: registered CT, MR and PET with the tumour mask."""

    def read(path: Path) -> RawCase:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in (*channels, "mask") if name not in archive]
            if missing:
                raise InputError(f"{path} has no {', '.join(missing)}")
            image = np.stack([archive[name].astype(np.float32) for name in channels])
            affine = np.diag([*np.broadcast_to(archive["spacing"], (3,)).astype(float), 1.0])
            return RawCase(image, archive["mask"].astype(np.uint8), affine)

    return [CaseRef(path.stem, path.stem, partial(read, path)) for path in sorted((root / "volumes").glob("*.npz"))]


def list_cases(
    root: Path, *, channels: Sequence[str] | None = None, patient: Callable[[str], str] = str
) -> tuple[list[CaseRef], list[Unreadable], dict[str, Any] | None]:
    """Cases, what was left out, and the declared label table of any folder this recipe understands.

    Raises:
        InputError: The folder does not exist or is not understood.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder", expected="a data set", do="pass --data.root")
    if (root / "ct64.npz").exists():
        return openkbp_cases(root), [], {"background": 0, **{k: list(v) for k, v in OPENKBP_ORGANS.items()}}
    if (root / "volumes").is_dir() and any((root / "volumes").glob("STS_*.npz")):
        return sarcoma_cases(root, channels or ("ct", "mr", "pet")), [], {"background": 0, "tumour": 1}
    cases, lonely = folder_cases(root, patient)
    return cases, lonely, folder_labels(root)
