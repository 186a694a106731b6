"""One NIfTI file: header, affine and voxels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from traindx.data import geometry, pixels
from traindx.data.facts import Facts
from traindx.data.names import Names
from traindx.data.reading import UnreadableError, reason_of


def read(path: str, name: str, names: Names) -> Iterator[Facts]:
    """Facts of one NIfTI volume.

    Args:
        path: The file.
        name: Its path relative to the data folder.
        names: What the name says.

    Raises:
        UnreadableError: Header or voxels cannot be read; truncated files are named apart from damaged ones.
    """
    import nibabel as nib

    try:
        image = nib.load(path)
        array = np.asanyarray(image.dataobj)
    except EOFError as error:
        raise UnreadableError(f"truncated: {reason_of(error)}") from None
    except Exception as error:
        raise UnreadableError(f"{type(error).__name__}: {reason_of(error)}") from None
    if array.size == 0:
        raise UnreadableError(f"no voxels, shape {array.shape}")
    if array.dtype.names:  # RGB volumes are structured arrays
        array = np.mean([array[name] for name in array.dtype.names[:3]], axis=0, dtype=np.float32)
    if array.dtype.kind == "c":
        raise UnreadableError("complex numbers: magnitude or phase must be chosen first")
    facts = Facts(name, kind="nifti", collection=names.collection, name=names.name, case_key=names.case)
    facts.split, facts.patient = names.split, names.patient
    facts.shape = "x".join(str(size) for size in array.shape)
    facts.height, facts.width = int(array.shape[0]), int(array.shape[1]) if array.ndim > 1 else 1
    facts.bits = array.dtype.itemsize * 8
    _place(facts, image, array.shape)
    counted = pixels.measure(facts, array)
    facts.role, facts.role_from = names.role, "name" if names.role else ""
    if not facts.role:
        facts.role_from = "content"
        facts.role = "mask" if pixels.looks_like_labels(array, counted) else "image"
    if facts.role == "mask":
        pixels.measure_labels(facts, array, counted)
    else:
        facts.modality, facts.modality_from = names.modality, "name" if names.modality else ""
        if facts.modality == "CT":
            facts.histogram = pixels.hu_histogram(counted)
    spatial = array.reshape(*array.shape[:3], -1)[..., 0] if array.ndim > 3 else array
    facts.thumb = pixels.thumbnail(spatial.transpose(), facts.p01, facts.p99)
    facts.digest = pixels.fingerprint(facts, array)
    yield facts


def _place(facts: Facts, image: object, shape: tuple[int, ...]) -> None:
    """Spacing, orientation and affine; files without a usable affine keep them unknown."""
    affine = (
        np.asarray(getattr(image, "affine", None), np.float64) if getattr(image, "affine", None) is not None else None
    )
    if affine is None or affine.shape != (4, 4) or not np.all(np.isfinite(affine)):
        facts.damage = "no usable affine"
        return
    lps = geometry.nifti_to_lps(affine)
    sizes = geometry.voxel_sizes(lps)
    if min(sizes) < 1e-6:
        facts.damage = f"the affine gives voxels of {sizes[0]:g} x {sizes[1]:g} x {sizes[2]:g} mm"
        return
    facts.orient, facts.oblique = geometry.orientation_code(lps[:, :3])
    facts.affine = geometry.pack(lps)
    facts.spacing0, facts.spacing1, facts.spacing2 = sizes
    header = getattr(image, "header", {})
    if "sform_code" in header and int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        facts.damage = "neither sform nor qform is set: position and orientation are unknown"
        facts.orient, facts.affine = "", b""
