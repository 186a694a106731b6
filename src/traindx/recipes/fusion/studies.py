"""Registered CT and MR of patients: the sarcoma collection, folders of NIfTI, 8-bit slices, and a phantom.

Whatever the source, a study is CT in HU and MR as stored on one grid, the lesion where it is drawn, and where the grid
lies in the world. Splits are by patient.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from traindx.errors import InputError
from traindx.recipes.fusion.phantom import phantom
from traindx.recipes.kit.split import Split, in_seeded_order

Source = Literal["auto", "sts", "slices", "folder", "phantom"]
Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

COLLECTION = "sts_ct_mr_pet"
"""Folder of the soft-tissue-sarcoma collection (Vallieres et al. 2015, CC BY 3.0) below ``TRAINDX_DATA``."""

SLICE_HU = (-200.0, 400.0)
"""Window behind the 8-bit CT of ``slices128.npz``, found by regression on the same slices in HU: bone above 400 HU is
one constant there, so volumes are preferred."""

_GRID_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Study:
    """A patient.

    Attributes:
        id: Name of the patient.
        hu: CT in HU, shape ``(D, H, W)``.
        mr: MR as stored, on the same grid.
        lesion: Where a lesion is drawn.
        affine: Grid to world in mm: applied to (W, H, D) indices, as nibabel has them.
        bone: Bone from a file, if there is one.
        body: Body or brain from a file, if there is one.
    """

    id: str
    hu: Array
    mr: Array
    lesion: Mask
    affine: NDArray[np.float64]
    bone: Mask | None = None
    body: Mask | None = None


def resolve(source: Source, root: Path | None) -> tuple[Source, Path | None]:
    """Where studies come from: a folder that is given, the collection where ``TRAINDX_DATA`` is set, or the phantom.

    Raises:
        InputError: The source needs a folder that is not there.
    """
    if root is None and source in ("auto", "sts", "slices"):
        base = os.environ.get("TRAINDX_DATA")
        root = Path(base) / COLLECTION if base and (Path(base) / COLLECTION).exists() else None
        if root is None and source != "auto":
            raise InputError(f"source {source!r} needs data", expected="--root, or TRAINDX_DATA", do="set either")
    if source == "phantom" or root is None:
        return "phantom", None
    if not root.is_dir():
        raise InputError(f"{root} is not a folder", expected="a folder of studies")
    if source == "auto":
        source = "sts" if any(root.glob("volumes/*.npz")) else "folder"
    return source, root


def on_disk(source: Source, root: Path | None) -> Path | None:
    """The files that studies of a source are read from; None for phantoms, which are drawn.

    Raises:
        InputError: The source needs a folder that is not there.
    """
    kind, folder = resolve(source, root)
    if kind == "phantom" or folder is None:
        return None
    return folder / "slices128.npz" if kind == "slices" else folder


def names(source: Source, root: Path | None, count: int = 41) -> list[str]:
    """All patients of a source, sorted.

    Raises:
        InputError: There is none.
    """
    if source == "phantom" or root is None:
        return [f"phantom-{number:02d}" for number in range(count)]
    if source == "sts":
        found = sorted(path.stem for path in root.glob("volumes/*.npz"))
    elif source == "slices":
        found = sorted(set(np.load(root / "slices128.npz")["patient"].tolist()))
    else:
        found = sorted(path.name for path in root.iterdir() if _image(path, "ct") is not None)
    if not found:
        raise InputError(
            f"{root} holds no study",
            expected="<case>/ct.nii.gz beside <case>/mri.nii.gz, or volumes/*.npz with ct, mr and mask",
        )
    return found


def split(found: Sequence[str], root: Path | None, seed: int, share: float = 0.25) -> Split:
    """The split that ``split.json`` in the root states, or a seeded one by patient.

    Raises:
        InputError: A patient of the file is missing, or on both sides.
    """
    path = root / "split.json" if root is not None else None
    if path is not None and path.exists():
        stated = json.loads(path.read_text(encoding="utf-8"))
        made = Split(train=tuple(stated["train"]), val=tuple(stated["val"]))
        missing = sorted({*made.train, *made.val} - set(found))
        if missing:
            raise InputError(
                f"{path} names {', '.join(missing)}, which are not there", expected="names of patients below its folder"
            )
        return made
    order = in_seeded_order(found, seed)
    held = max(1, round(share * len(found)))
    return Split(train=tuple(sorted(order[held:])), val=tuple(sorted(order[:held])))


def load(source: Source, root: Path | None, chosen: Sequence[str]) -> Iterator[Study]:
    """Read studies one after the other."""
    for name in chosen:
        if source == "phantom" or root is None:
            hu, mr, lesion = phantom(int(name.rsplit("-", 1)[1]))
            yield Study(name, hu, mr, lesion, _affine((3.0, 2.0, 2.0), (0, 0, 0)))
        elif source == "sts":
            yield _from_npz(root / "volumes" / f"{name}.npz")
        elif source == "slices":
            yield _from_slices(root / "slices128.npz", name)
        else:
            yield from_folder(root / name)


def _from_npz(path: Path) -> Study:
    try:
        stored = np.load(path, allow_pickle=False)
        hu, mr, lesion = (stored[key] for key in ("ct", "mr", "mask"))
        affine = _affine(stored["spacing"], stored["origin"])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="ct, mr, mask, spacing and origin") from error
    return _checked(Study(path.stem, hu.astype(np.float32), mr.astype(np.float32), lesion > 0, affine), path)


def _from_slices(path: Path, name: str) -> Study:
    stored = np.load(path)
    mine = stored["patient"] == name
    low, high = SLICE_HU
    hu = stored["ct"][mine].astype(np.float32) / 255 * (high - low) + low
    hu[stored["ct"][mine] == 0] = -1000.0
    pixel = float(stored["pixel_mm"])
    mr = stored["mr"][mine].astype(np.float32)
    return Study(name, hu, mr, stored["mask"][mine] > 0, _affine((pixel, pixel, pixel), (0, 0, 0)))


def from_folder(folder: Path) -> Study:
    """A study of NIfTI: ``ct``, ``mri`` (or ``mr``) and, where they are, ``lesion_mask``, ``bone_mask``, ``body_mask``.

    MR and masks on another grid are brought onto that of CT by their affines; they must be registered.

    Raises:
        InputError: An image is missing or cannot be read.
    """
    ct, mri = _image(folder, "ct"), _image(folder, "mri") or _image(folder, "mr")
    if ct is None or mri is None:
        raise InputError(f"{folder} lacks {'CT' if ct is None else 'MR'}", expected="ct.nii.gz and mri.nii.gz")
    hu, affine = read_nifti(ct)
    mr = _onto(mri, hu.shape, affine, order=1)
    masks: dict[str, Mask] = {}
    for path in sorted(folder.glob("*_mask.nii*")):
        kind = path.name.split("_mask")[0]
        kind = {"brain": "body", "bone": "bone", "body": "body", "skull": "bone"}.get(kind, "lesion")
        found = _onto(path, hu.shape, affine, order=0) > 0.5
        masks[kind] = masks[kind] | found if kind in masks else found
    lesion = masks.get("lesion", np.zeros(hu.shape, dtype=bool))
    return _checked(Study(folder.name, hu, mr, lesion, affine, masks.get("bone"), masks.get("body")), folder)


def from_files(ct: Path, mri: Path) -> Study:
    """A study of two files, without masks; MR is brought onto the grid of CT.

    Raises:
        InputError: A file cannot be read.
    """
    hu, affine = read_nifti(ct)
    name = ct.name.removesuffix(".gz").removesuffix(".nii")
    return _checked(Study(name, hu, _onto(mri, hu.shape, affine, order=1), np.zeros(hu.shape, dtype=bool), affine), ct)


def read_nifti(path: Path) -> tuple[Array, NDArray[np.float64]]:
    """A volume as ``(D, H, W)`` and its affine.

    Raises:
        InputError: It cannot be read, or is not three-dimensional.
    """
    import nibabel

    try:
        image = nibabel.load(path)
        values = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # nibabel raises its own errors, those of gzip and those of the file system
        raise InputError(f"{path} cannot be read: {error}", expected="a NIfTI volume") from error
    if values.ndim != 3:
        raise InputError(f"{path} has shape {values.shape}", expected="three axes")
    return np.ascontiguousarray(values.transpose(2, 1, 0)), np.asarray(image.affine, dtype=np.float64)


def _onto(path: Path, shape: tuple[int, ...], affine: NDArray[np.float64], order: int) -> Array:
    """A volume on the grid of the CT."""
    from scipy import ndimage

    values, own = read_nifti(path)
    if values.shape == shape and np.allclose(own, affine, atol=_GRID_TOLERANCE):
        return values
    step = np.linalg.inv(own) @ affine  # (W, H, D) indices of CT to those of this volume
    flip = [2, 1, 0]
    matrix, offset = step[:3, :3][np.ix_(flip, flip)], step[:3, 3][flip]
    moved = ndimage.affine_transform(values, matrix, offset, output_shape=shape, order=1 if order else 0)
    return moved.astype(np.float32)


def _image(folder: Path, stem: str) -> Path | None:
    return next((path for end in (".nii.gz", ".nii") if (path := folder / f"{stem}{end}").exists()), None)


def _checked(study: Study, where: Path) -> Study:
    if study.hu.shape != study.mr.shape or study.hu.shape != study.lesion.shape:
        raise InputError(
            f"{where}: CT is {study.hu.shape}, MR {study.mr.shape}, mask {study.lesion.shape}", expected="one grid"
        )
    if float(study.hu.min()) > -200:
        raise InputError(
            f"{where}: CT values go from {study.hu.min():.0f} to {study.hu.max():.0f}",
            expected="Hounsfield units, with air at -1000",
            do="apply rescale slope and intercept",
        )
    return study


def _affine(spacing: Any, origin: Any) -> NDArray[np.float64]:
    """Affine for (W, H, D) indices from spacing and origin along D, H, W."""
    affine = np.diag([*(float(mm) for mm in reversed(tuple(spacing))), 1.0])
    affine[:3, 3] = [float(mm) for mm in reversed(tuple(origin))]
    return affine
