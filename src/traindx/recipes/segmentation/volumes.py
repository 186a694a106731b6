"""Reading volumes and writing masks: NIfTI, TIFF stacks and DICOM series.

Arrays keep the axis order of the file: ``(x, y, z)`` for NIfTI, ``(page, row, column)`` for TIFF, and ``(column, row,
slice)`` for a DICOM series, whose slices are put in order by their position. The affine says
where that is in the world, and it is written back unchanged.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.errors import InputError
from traindx.recipes.kit import dicom_series
from traindx.recipes.kit.dicom_series import Series

NIFTI_SUFFIXES = (".nii", ".nii.gz")
TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = NIFTI_SUFFIXES + TIFF_SUFFIXES


@dataclass(frozen=True)
class Volume:
    """A volume as it lies in its file.

    Attributes:
        array: Shape ``(channels, D, H, W)`` with D, H, W in the order of the file; dtype of the file (after the
            file's own rescaling, if it has one).
        affine: Voxel index to millimetres, shape ``(4, 4)``; diagonal for TIFF.
        dtype: Data type on disk.
        path: Where it came from.
        header: NIfTI header to be written back, or None.
        series: The DICOM series that it was read from, or None.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]
    dtype: np.dtype[Any]
    path: Path
    header: Any = None
    series: Series | None = None

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along the three axes of the array."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Size along the three axes."""
        d, h, w = self.array.shape[1:]
        return int(d), int(h), int(w)


def suffix_of(path: Path) -> str:
    """The suffix that counts, lower case: ``.nii.gz`` and not ``.gz``."""
    name = path.name.lower()
    return next((suffix for suffix in (".nii.gz", *SUFFIXES) if name.endswith(suffix)), path.suffix.lower())


def stem_of(path: Path) -> str:
    """The file name without the suffix of :func:`suffix_of`; a folder keeps its whole name."""
    return path.name if path.is_dir() else path.name[: len(path.name) - len(suffix_of(path))]


def is_stack_folder(path: Path) -> bool:
    """True for a folder that holds TIFF files and nothing else: one page a file."""
    if not path.is_dir():
        return False
    inside = [item for item in path.iterdir() if not item.name.startswith(".")]
    return bool(inside) and all(item.is_file() and suffix_of(item) in TIFF_SUFFIXES for item in inside)


def list_volumes(folder: Path) -> list[Path]:
    """Every volume in a folder (not recursive), sorted by name: files, and folders of TIFF pages or DICOM slices."""
    return sorted(
        item
        for item in folder.iterdir()
        if not item.name.startswith(".")
        and ((item.is_file() and suffix_of(item) in SUFFIXES) or is_stack_folder(item) or dicom_series.is_series(item))
    )


def read_volume(path: Path) -> Volume:
    """Read a NIfTI file, a TIFF stack, or a folder of TIFF pages or DICOM slices.

    Raises:
        InputError: The file is missing, damaged, of another kind, or not a volume of three dimensions.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    try:
        if dicom_series.is_series(path):
            volume = _read_dicom(path)
        elif path.is_dir() or suffix_of(path) in TIFF_SUFFIXES:
            volume = _read_tiff(path)
        elif suffix_of(path) in NIFTI_SUFFIXES:
            volume = _read_nifti(path)
        else:
            raise InputError(
                f"{path} is of a kind that cannot be read",
                expected=f"one of {', '.join(SUFFIXES)}, or the folder of a DICOM series",
            )
    except InputError:
        raise
    except (OSError, EOFError, ValueError, KeyError, zlib.error, RuntimeError) as error:
        raise InputError(
            f"{path} cannot be read: {error}",
            expected="a complete NIfTI file or TIFF stack",
            do="copy the file again from its source",
        ) from error
    if volume.array.size == 0:
        raise InputError(f"{path} holds no voxel (shape {volume.array.shape})")
    return volume


def _read_nifti(path: Path) -> Volume:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image: Any = nib.load(path)
    except ImageFileError as error:
        raise InputError(f"{path} is not a NIfTI file: {error}") from error
    array = np.asanyarray(image.dataobj)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim == 5 and array.shape[3] == 1:  # NIfTI keeps vectors in the fifth dimension, after time
        array = array[:, :, :, 0]
    if array.ndim == 4:
        array = np.moveaxis(array, -1, 0)
    elif array.ndim == 3:
        array = array[None]
    else:
        raise InputError(f"{path} has {array.ndim} dimensions", expected="3, or 4 with channels last")
    return Volume(array, np.asarray(image.affine, dtype=np.float64), image.get_data_dtype(), path, image.header)


def _read_dicom(path: Path) -> Volume:
    series = dicom_series.read(path)
    return Volume(series.values[None], series.affine, np.dtype(np.int16), path, series=series)


def _read_tiff(path: Path) -> Volume:
    import tifffile

    if path.is_dir():
        pages = [tifffile.imread(item) for item in sorted(path.iterdir()) if suffix_of(item) in TIFF_SUFFIXES]
        if len({page.shape for page in pages}) != 1 or pages[0].ndim != 2:
            raise InputError(
                f"the pages of {path} differ in size or are not grey: {sorted({page.shape for page in pages})}"
            )
        array, spacing = np.stack(pages), (1.0, 1.0, 1.0)
    else:
        with tifffile.TiffFile(path) as file:
            array = file.asarray()
            spacing = _tiff_spacing(file)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3:
        raise InputError(f"{path} has {array.ndim} dimensions", expected="a stack of grey pages")
    return Volume(array[None], np.diag([*spacing, 1.0]), array.dtype, path)


def _tiff_spacing(file: Any) -> tuple[float, float, float]:
    """Spacing from ImageJ metadata where it is in millimetres or micrometres, else 1."""
    metadata = file.imagej_metadata or {}
    unit = {"mm": 1.0, "millimeter": 1.0, "um": 1e-3, "micron": 1e-3, "\\u00B5m": 1e-3}.get(metadata.get("unit", ""))
    if unit is None:
        return 1.0, 1.0, 1.0

    def pixel(tag: str) -> float:
        value = file.pages[0].tags.get(tag)
        return value.value[1] / value.value[0] * unit if value is not None and value.value[0] else 1.0

    return float(metadata.get("spacing", 1.0)) * unit, pixel("YResolution"), pixel("XResolution")


def write_mask(path: Path, mask: NDArray[Any], like: Volume) -> None:
    """Write a mask in the place of the volume it was made from.

    Args:
        path: Target; a NIfTI suffix writes NIfTI, a TIFF suffix a multi-page TIFF.
        mask: Shape ``(D, H, W)`` in the axis order of ``like``; its dtype is the dtype on disk.
        like: The volume that was segmented; its affine (with the qform and sform codes) is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix_of(path) in TIFF_SUFFIXES:
        import tifffile

        tifffile.imwrite(path, mask, compression="zlib", photometric="minisblack")
        return
    import nibabel as nib

    image = nib.Nifti1Image(mask, like.affine)
    if like.header is not None:
        for form in ("qform", "sform"):
            matrix, code = getattr(like.header, f"get_{form}")(coded=True)
            if code:
                getattr(image, f"set_{form}")(matrix, int(code))
        image.header.set_xyzt_units(*like.header.get_xyzt_units())
    image.header.set_data_dtype(mask.dtype)
    image.header.set_slope_inter(1, 0)
    nib.save(image, path)
