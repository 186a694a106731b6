"""One NIfTI file: header, affine and voxels."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.data import geometry, limits, volume
from traindx.data.facts import Facts
from traindx.data.names import Names
from traindx.data.reading import NotReadError, UnreadableError, reason_of

_PIECE = 1 << 18


def read(path: str, name: str, names: Names) -> Iterator[Facts]:
    """Facts of one NIfTI volume.

    Args:
        path: The file.
        name: Its path relative to the data folder.
        names: What the name says.

    Raises:
        NotReadError: It is larger than one image may be.
        UnreadableError: Header or voxels cannot be read; truncated files are named apart from damaged ones.
    """
    import nibabel as nib

    try:
        image = nib.load(path)
        proxy = image.dataobj
        packed = path.lower().endswith(".gz")
        shape, dtype = tuple(int(size) for size in proxy.shape), np.dtype(proxy.dtype)
        data = getattr(getattr(proxy, "file_like", None), "name", None) or getattr(proxy, "file_like", path)
        stored = os.path.getsize(data if isinstance(data, str) else path)
        room = stored if packed else max(0, stored - int(proxy.offset))
        limits.check(shape, dtype.itemsize, stored=room, ratio=limits.DEFLATE if packed else 1)
        if isinstance(data, str) and data.lower().endswith(".gz"):
            array = _unpacked(data, proxy)
        else:
            array = np.asanyarray(proxy.get_unscaled())
    except (NotReadError, UnreadableError):
        raise
    except EOFError as error:
        raise UnreadableError(f"truncated: {reason_of(error)}") from None
    except Exception as error:
        raise UnreadableError(f"{type(error).__name__}: {reason_of(error)}") from None
    if array.size == 0:
        raise UnreadableError(f"no voxels, shape {array.shape}")
    if array.dtype.kind == "c":
        raise UnreadableError("complex numbers: magnitude or phase must be chosen first")
    slope, intercept = float(proxy.slope), float(proxy.inter)
    if array.dtype.names:
        array = volume.grey(array)
    facts = volume.begin(name, "nifti", names)
    _place(facts, image)
    volume.describe(facts, array, names, slope, intercept)
    yield facts


def _unpacked(path: str, proxy: Any) -> NDArray[Any]:
    """Stored values of a gzipped volume, in pieces: nibabel holds what it unpacked and a copy of it at once."""
    array = np.empty(proxy.shape, proxy.dtype, order=proxy.order)
    target = array.reshape(-1, order=proxy.order).view(np.uint8).data
    at = 0
    with gzip.open(path) as stream:
        stream.seek(proxy.offset)
        while at < len(target):
            came = stream.readinto(target[at : at + _PIECE])
            if not came:
                raise OSError(f"{len(target)} bytes of voxels are announced, {at} are there")
            at += came
    return array


def _place(facts: Facts, image: object) -> None:
    """Spacing, orientation and affine; files without a usable affine keep them unknown."""
    found = getattr(image, "affine", None)
    affine = np.asarray(found, np.float64) if found is not None else None
    usable = affine is not None and affine.shape == (4, 4)
    if not volume.place(facts, geometry.nifti_to_lps(affine) if affine is not None and usable else None):
        return
    header = getattr(image, "header", {})
    if "sform_code" in header and int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        facts.damage = "neither sform nor qform is set: position and orientation are unknown"
        facts.orient, facts.affine = "", b""
