"""One NRRD (``.nrrd``, ``.nhdr``) or MetaImage file (``.mha``, ``.mhd``).

NRRD goes through pynrrd. MetaImage is a header of ``key = value`` lines and values raw or deflated, so it is read here:
SimpleITK, which reads it, is 260 MB; tests compare with it where it is installed. Both formats can name another file
for their values; one outside the folder of the header is not opened. Sources: teem.sourceforge.net/nrrd/format.html,
itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.data import limits, volume
from traindx.data.facts import Facts
from traindx.data.names import Names
from traindx.data.reading import NotReadError, UnreadableError, reason_of

_MET = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_TO_LPS = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
_MOST_HEADER = 1 << 16


def read(path: str, name: str, names: Names) -> Iterator[Facts]:
    """Facts of one volume.

    Args:
        path: The file, or the header of two.
        name: Its path relative to the data folder.
        names: What the name says.

    Raises:
        NotReadError: pynrrd is not installed, or the volume is larger than one image may be.
        UnreadableError: Header or voxels cannot be read.
    """
    array, lps = load(path)
    facts = volume.begin(name, "volume", names)
    if lps is not None:
        volume.place(facts, lps)
    volume.describe(facts, array, names)
    yield facts


def load(path: str) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
    """Values with axes (x, y, ...) and the (3, 4) matrix of indices to LPS mm, where the header has one.

    Raises:
        NotReadError: See :func:`read`.
        UnreadableError: See :func:`read`.
    """
    try:
        with open(path, "rb") as stream:
            nrrd = stream.read(4) == b"NRRD"
        array, lps = _nrrd(path) if nrrd else _metaimage(path)
    except (NotReadError, UnreadableError, FileNotFoundError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableError(f"{type(error).__name__}: {reason_of(error)}") from None
    if array.size == 0 or array.ndim < 2:
        raise UnreadableError(f"no voxels, shape {array.shape}")
    return array, lps


def beside(path: str, named: str) -> str:
    """The file of values that a header names, in the folder of the header or below.

    Raises:
        UnreadableError: It lies outside, or does not exist.
    """
    folder = os.path.realpath(os.path.dirname(path) or ".")
    found = os.path.realpath(os.path.join(folder, named))
    if not found.startswith(folder + os.sep):
        raise UnreadableError(f"its values lie outside of its folder, in {os.path.basename(named)}: not opened")
    if not os.path.isfile(found):
        raise UnreadableError(f"the file of its values, {os.path.basename(named)}, does not exist")
    return found


def _metaimage(path: str) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
    """Values with axes (x, y, ...), and the matrix to LPS."""
    with open(path, "rb") as stream:
        head = stream.read(_MOST_HEADER)
    fields: dict[str, str] = {}
    at = 0
    for line in re.finditer(rb"[^\n]*\n?", head):
        key, equals, value = line.group().decode("latin-1").partition("=")
        if not equals:
            break
        fields[key.strip().lower()] = value.strip()
        at = line.end()
        if key.strip().lower() == "elementdatafile":
            break
    if "elementdatafile" not in fields or "dimsize" not in fields:
        raise UnreadableError("not a MetaImage header: no DimSize or no ElementDataFile")
    sizes = tuple(int(size) for size in fields["dimsize"].split())
    width = _MET.get(fields.get("elementtype", ""))
    if width is None:
        raise UnreadableError(f"unknown ElementType {fields.get('elementtype', '(none)')}")
    big = "true" in (fields.get("binarydatabyteordermsb", "").lower(), fields.get("elementbyteordermsb", "").lower())
    dtype = np.dtype((">" if big else "<") + width)
    channels = int(fields.get("elementnumberofchannels", "1"))
    if channels != 1:
        raise NotReadError(f"a field of {channels} values a voxel")
    named = fields["elementdatafile"]
    if named.upper() == "LOCAL":
        file = path
    elif named.upper().startswith("LIST") or "%" in named:
        raise NotReadError("its slices lie in a list of files")
    else:
        file, at = beside(path, named), 0
    packed = fields.get("compresseddata", "").lower() == "true"
    stored = os.path.getsize(file)
    skipped = int(fields.get("headersize", "0"))
    number = limits.check(sizes, dtype.itemsize, stored=stored - at, ratio=limits.DEFLATE if packed else 1)
    if skipped == -1:
        at = stored - number
    elif skipped > 0:
        at = skipped
    with open(file, "rb") as stream:
        stream.seek(at)
        data = zlib.decompressobj(wbits=47).decompress(stream.read(), number) if packed else stream.read(number)
    if len(data) != number:
        raise UnreadableError(f"truncated: {number} bytes expected, {len(data)} there")
    return np.frombuffer(data, dtype).reshape(sizes, order="F"), _metaimage_place(fields, len(sizes))


def _metaimage_place(fields: Mapping[str, str], axes: int) -> NDArray[np.float64] | None:
    """``TransformMatrix`` lists the directions of the axes one after another, in LPS."""

    def numbers(*keys: str) -> list[float]:
        return next(([float(part) for part in fields[key].split()] for key in keys if key in fields), [])

    spacing = numbers("elementspacing", "elementsize") or [1.0] * axes
    offset = numbers("offset", "position", "origin") or [0.0] * axes
    matrix = numbers("transformmatrix", "rotation", "orientation") or np.eye(axes).reshape(-1).tolist()
    if axes != 3 or len(spacing) != 3 or len(offset) != 3 or len(matrix) != 9:
        return None
    directions = np.asarray(matrix).reshape(3, 3).T
    return np.column_stack((directions * np.asarray(spacing), offset))


def _nrrd(path: str) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
    try:
        import nrrd
    except ImportError:
        raise NotReadError("NRRD needs pynrrd: pip install pynrrd") from None
    header = nrrd.read_header(path)
    sizes = tuple(int(size) for size in header["sizes"])
    dtype = nrrd.reader._determine_datatype(header) if "type" in header else None
    if dtype is None or np.dtype(dtype).kind not in "uif":
        raise UnreadableError(f"values of type {header.get('type', '(none)')}")
    named = header.get("data file", header.get("datafile"))
    if named is not None and (not isinstance(named, str) or named.startswith("LIST") or "%" in named):
        raise NotReadError("its slices lie in a list of files")
    file = path if named is None else beside(path, named)
    packed = header.get("encoding", "raw") not in ("raw", "txt", "text", "ascii", "hex")
    ratio = limits.DEFLATE if header.get("encoding") in ("gz", "gzip", "raw") else 1 << 16
    limits.check(sizes, np.dtype(dtype).itemsize, stored=os.path.getsize(file), ratio=ratio if packed else 1)
    with open(file, "rb") as stream:
        if named is None:
            header = nrrd.read_header(stream)
        array = nrrd.read_data(header, stream if named is None else None, path if named is not None else None)
    return np.asarray(array), _nrrd_place(header, array.ndim)


def _nrrd_place(header: Mapping[str, Any], axes: int) -> NDArray[np.float64] | None:
    directions, turned = header.get("space directions"), _TO_LPS.get(str(header.get("space", "")).lower())
    if directions is None or axes != 3 or np.shape(directions) != (3, 3):
        spacings = header.get("spacings")
        if spacings is None or len(spacings) != 3:
            return None
        return np.column_stack((np.diag(np.asarray(spacings, np.float64)), np.zeros(3)))
    origin = np.asarray(header.get("space origin", np.zeros(3)), np.float64)
    signs = np.asarray(turned or (1, 1, 1), np.float64)
    return np.column_stack((np.asarray(directions, np.float64).T, origin)) * signs[:, None]
