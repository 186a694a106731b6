"""One DICOM file: header, pixels, and what is wrong with it."""

from __future__ import annotations

import math
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traindx.data import geometry, limits, pixels
from traindx.data.dicom_header import Header, file_meta, from_pydicom, identifiers, read_plain
from traindx.data.facts import Facts
from traindx.data.names import Names
from traindx.data.reading import NotAnImageError, NotReadError, UnreadableError, reason_of

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage: the file DICOMDIR (PS3.10 8.6)."""

_RLE = "1.2.840.10008.1.2.5"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PACKED = frozenset((_RLE, "1.2.840.10008.1.2.1.99"))

LARGEST_PLAIN = 64 << 20
"""Files beyond this are left to pydicom, which reads the pixels only when they are asked for."""

FOLDER_SERIES = "folder:"
"""Stands before the folder where a file has no SeriesInstanceUID: the slices of one folder are then one series."""

NOT_PICTURES = frozenset(
    [
        "ANN",
        "OSS",
        "POS",
        "RESP",
        "EPS",
        "EEG",
        "EMG",
        "RWV",
        "STAIN",
        "M3D",
        "BDUS",
        "DICOMDIR",
        "RTPLAN",
        "RTSTRUCT",
        "RTRECORD",
        "SR",
        "PR",
        "KO",
        "REG",
        "FID",
        "PLAN",
        "AU",
        "DOC",
        "ECG",
        "HD",
        "SMR",
        "SEGPLAN",
    ]
)
"""Modalities of objects without pixels (DICOM PS3.3 C.7.3.1.1.1)."""


JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")


def read(path: str, name: str, names: Names) -> Iterator[Facts]:
    """Facts of one DICOM file (a multi-frame file is one volume).

    Args:
        path: The file.
        name: Its path relative to the data folder.
        names: What the name says.

    Raises:
        NotAnImageError: A well-formed object without pixels, such as a radiotherapy plan.
        NotReadError: It is larger than one image may be, or its decoder is not installed.
        UnreadableError: Anything else that yields no pixels.
    """
    header, array = load(path)
    facts = Facts(name, kind="dicom", name=names.name, split=names.split)
    _describe(facts, header, names)
    facts.damage = header.damage
    facts.identifiers = identifiers(header)
    facts.shape = "x".join(str(size) for size in array.shape)
    facts.dtype = array.dtype.newbyteorder("=").name
    if header.samples > 1 and array.ndim > 2 and array.shape[-1] in (3, 4):
        facts.photometric = "colour"
        array, _ = pixels.grey(array)
    facts.height, facts.width = int(array.shape[-2]), int(array.shape[-1])
    dtype = facts.dtype
    if facts.role == "mask":
        counted = pixels.measure(facts, array)
        pixels.measure_labels(facts, array, counted)
        slope, intercept = 1.0, 0.0
    else:
        slope, intercept = header.slope or 1.0, header.intercept or 0.0
        counted = pixels.measure(facts, array, slope=slope, intercept=intercept)
        if header.window_center is not None and header.window_width is not None:
            facts.window_center, facts.window_width = header.window_center, header.window_width
            padding = None if header.padding is None else header.padding * slope + intercept
            pixels.measure_window(facts, counted, padding)
        if facts.modality == "CT":
            facts.histogram = pixels.hu_histogram(counted)
    facts.dtype = dtype
    thumb = pixels.flat_thumbnail(array) * np.float32(slope) + np.float32(intercept)
    facts.thumb = pixels.to_bytes(thumb, facts.p01, facts.p99)
    facts.digest = pixels.fingerprint(facts, array)
    yield facts


def load(path: str) -> tuple[Header, NDArray[Any]]:
    """Header and stored values of a DICOM file.

    Raises:
        NotAnImageError: See :func:`read`.
        UnreadableError: See :func:`read`.
    """
    if os.path.getsize(path) <= LARGEST_PLAIN:
        with open(path, "rb") as stream:
            data = stream.read()
        _check_inflated(data)
        header = read_plain(data)
        array = None if header is None else _plain_pixels(data, header)
        if header is not None and array is not None:
            return header, array
    return _load_with_pydicom(path)


def _check_inflated(data: bytes) -> None:
    """Refuse a deflated file (PS3.5 A.5) that would inflate to more than one image may take."""
    if _DEFLATED not in data[:2048] or len(data) * limits.DEFLATE <= limits.allowed():
        return
    try:
        _, at = file_meta(data)
    except (struct.error, IndexError, ValueError):
        return
    inflate = zlib.decompressobj(-15)
    size, rest = 0, data[at:]
    try:
        while rest and not inflate.eof:
            size += len(inflate.decompress(rest, 1 << 20))
            rest = inflate.unconsumed_tail
            limits.check((size,), 1)
    except zlib.error:
        return


def _plain_pixels(data: bytes, header: Header) -> NDArray[Any] | None:
    """Stored values where they can be taken as they lie; None where pydicom must decode them."""
    frames = header.frames if header.frames is not None else 1.0
    count = int(header.rows * header.columns * frames)
    width = header.bits_allocated // 8
    if not header.has_pixels or header.samples != 1 or header.bits_allocated not in (8, 16) or count <= 0:
        return None
    if frames != int(frames) or header.pixels_length not in (count * width, count * width + count * width % 2):
        return None
    kind = "i" if header.signed else "u"
    array = np.frombuffer(data, f"<{kind}{width}", count=count, offset=header.pixels_at)
    stored = header.bits_stored
    if stored != header.bits_allocated:  # bits beyond BitsStored may hold overlays: pydicom knows how to cut them
        low, high = (-(1 << stored - 1), (1 << stored - 1) - 1) if header.signed else (0, (1 << stored) - 1)
        if not stored or int(array.min()) < low or int(array.max()) > high:
            return None
    shape = (header.rows, header.columns)
    return array.reshape((int(frames), *shape) if frames > 1 else shape)


def _load_with_pydicom(path: str) -> tuple[Header, NDArray[Any]]:
    import pydicom
    from pydicom.errors import InvalidDicomError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, defer_size=LARGEST_PLAIN)
        except InvalidDicomError:
            raise UnreadableError(
                "not DICOM, or its beginning is missing: no file meta header and no DICM prefix"
            ) from None
        except Exception as error:
            # pydicom quotes values: they may be somebody's
            reason = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", reason_of(error))
            raise UnreadableError(f"the header cannot be read: {reason}") from None
        header = from_pydicom(dataset)
        media = str(getattr(getattr(dataset, "file_meta", None), "MediaStorageSOPClassUID", ""))
        if MEDIA_DIRECTORY in (header.sop_class, media):
            raise NotAnImageError("a DICOM directory (DICOMDIR), an index without pixels")
        cut = _cut_short(dataset)
        if not header.has_pixels:
            if header.modality in NOT_PICTURES and not cut:
                raise NotAnImageError(f"{header.modality} object, no pixels")
            if header.sop_class and not cut and not _may_hold_pixels(header.sop_class):
                raise NotAnImageError(f"{_class_name(header.sop_class)}, no pixels")
            what = f"{header.modality or 'DICOM'} object without pixel data"
            raise UnreadableError(f"{what}, {cut}" if cut else what)
        _check_size(header, dataset)
        try:
            array = dataset.pixel_array
        except Exception as error:
            lacking = _decoder(error, header.transfer_syntax)
            if lacking:
                raise NotReadError(lacking) from None
            raise UnreadableError(f"the pixels are {cut}" if cut else f"no pixels: {reason_of(error)}") from None
        header.damage = _sign_contradicted(dataset, header)
    if array.ndim < 2 or array.size == 0:
        raise UnreadableError(f"the pixels have shape {array.shape}")
    return header, array


def _check_size(header: Header, dataset: FileDataset) -> None:
    """Compare the size that the header promises with the pixels that are there, before they are decoded."""
    frames = int(header.frames) if header.frames else 1
    shape: tuple[int, ...] = (frames, header.rows, header.columns, max(header.samples, 1))
    element = dataset.get_item(0x7FE00010)
    length = getattr(element, "length", None)
    value = getattr(element, "value", None)
    stored = length if isinstance(length, int) and length != 0xFFFFFFFF else None
    if header.transfer_syntax.startswith("1.2.840.10008.1.2.4.") or header.transfer_syntax in _PACKED:
        stored = len(value) if isinstance(value, bytes) and header.transfer_syntax == _RLE else None
    bits = max(header.bits_allocated, 1)
    if bits == 1:
        shape, bits = (math.prod(shape) // 8 + 1,), 8
        stored = None
    # A run of RLE shrinks 128 bytes to 2 (PS3.5 G.3.1); halved chroma (YBR_FULL_422) holds three values in two.
    ratio = 64 if header.transfer_syntax in _PACKED else 2
    limits.check(shape, -(-bits // 8), stored=stored, ratio=ratio)


_LATER = {"1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression"}
"""Transfer syntaxes (PS3.5 A) that pydicom has no name for yet."""


def _decoder(error: Exception, syntax: str) -> str:
    """Says which package would decode the pixels, or that none here does; empty where the file is at fault."""
    from pydicom.uid import UID

    if isinstance(error, NotImplementedError) or "with 1 bits allocated" in str(error):
        bits = " of one bit a pixel" if "1 bits" in str(error) else ""
        return f"{_LATER.get(syntax) or UID(syntax).name}{bits} is not decoded by pydicom"
    if "missing dependencies" not in str(error):
        return ""
    package = "pylibjpeg-openjpeg" if syntax in JPEG_2000 else "pylibjpeg-libjpeg"
    return f"{UID(syntax).name} needs a decoder: pip install pylibjpeg {package}"


def _may_hold_pixels(sop_class: str) -> bool:
    name = _class_name(sop_class)
    return not name.endswith("Storage") or any(word in name for word in ("Image", "Dose", "Segmentation Storage"))


def _class_name(sop_class: str) -> str:
    from pydicom.uid import UID

    return str(UID(sop_class).name)


def _cut_short(dataset: FileDataset) -> str:
    """Says how much is missing where the file ends inside its last element."""
    last: Any = next(reversed(list(dataset.values())), None)
    length = getattr(last, "length", None)
    value = getattr(last, "value", None)
    if isinstance(length, int) and length != 0xFFFFFFFF and isinstance(value, bytes) and len(value) < length:
        return f"cut short: element {last.tag} declares {length} bytes and {len(value)} are there"
    return ""


def _sign_contradicted(dataset: FileDataset, header: Header) -> str:
    """Says so where a JPEG 2000 stream and the header disagree on the sign of the pixels (decoders then differ).

    The stream's own sign is bit 7 of Ssiz, 42 bytes behind the start of the codestream (ISO/IEC 15444-1 A.5.1).
    """
    if header.transfer_syntax not in JPEG_2000:
        return ""
    data: bytes = dataset.PixelData
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or start + 42 >= len(data):
        return ""
    signed = data[start + 42] >> 7
    if signed == header.signed:
        return ""
    words = ("unsigned", "signed")
    return (
        f"the header says {words[header.signed]} pixels, the JPEG 2000 stream says {words[signed]}: decoders disagree"
    )


def _describe(facts: Facts, header: Header, names: Names) -> None:
    """Identity, role and geometry from the header."""
    facts.modality = header.modality.upper() or names.modality
    facts.modality_from = "header" if header.modality else "name" if names.modality else ""
    if facts.modality == "SEG":
        facts.role, facts.role_from, facts.modality = "mask", "header", ""
    elif names.role == "mask" and header.modality in ("", "OT"):
        facts.role, facts.role_from = "mask", "name"
    else:
        facts.role, facts.role_from = "image", "header"
    facts.patient = header.patient or names.patient
    facts.study, facts.sop = header.study, header.sop
    facts.series = header.series or FOLDER_SERIES + facts.path.rpartition("/")[0]
    facts.case_key = facts.series
    if facts.role == "mask" and header.referenced_series:
        facts.case_key = header.referenced_series
    facts.bits = header.bits_stored or header.bits_allocated
    facts.photometric = header.photometric
    facts.burned_in = int(header.burned_in.strip().upper() == "YES")
    facts.rescaled = int(header.slope is not None and header.intercept is not None)
    spacing = header.pixel_spacing or header.imager_spacing
    if len(spacing) == 2:
        facts.spacing0, facts.spacing1 = spacing
    if header.frame_step is not None:
        facts.spacing2 = header.frame_step
    if header.thickness is not None:
        facts.thickness = header.thickness
    if len(header.orientation) == 6:
        code, tilt, normal, label = _plane(header.orientation)
        facts.orient, facts.oblique, facts.normal = code, tilt, label
        if len(header.position) == 3:
            facts.position = math.fsum(a * b for a, b in zip(normal, header.position, strict=True))


@lru_cache(maxsize=4096)
def _plane(orientation: tuple[float, ...]) -> tuple[str, float, tuple[float, ...], str]:
    """Orientation code of (column index, row index, slice), tilt, normal and its rounded text; one a series."""
    normal = geometry.slice_normal(orientation)
    axes = np.stack([np.asarray(orientation[:3]), np.asarray(orientation[3:6]), normal], axis=1)
    code, tilt = geometry.orientation_code(axes)
    label = ",".join(f"{value:.3f}" for value in orientation)
    return code, tilt, tuple(float(value) for value in normal), label
