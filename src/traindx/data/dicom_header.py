"""DICOM headers, twice: a small reader of the top level of plain files, and pydicom for everything else.

The small reader takes uncompressed little-endian files (implicit and explicit VR) that are whole and regular, skips
sequences without looking inside, and gives up, returning None, at the first thing that it does not know. It exists
because most of the time of ``pydicom.dcmread`` goes into building elements that nobody asked for. Both readers fill the
same :class:`Header`; what is wrong with a broken file is always said by pydicom. Sources: DICOM PS3.5 7.1 (data
elements), 7.5 (nesting), A.1 and A.2 (transfer syntaxes).
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"

PIXEL_DATA = 0x7FE00010
FLOAT_PIXELS = (0x7FE00008, 0x7FE00009)
FUNCTIONAL_GROUPS = (0x52009229, 0x52009230)  # shared and per frame: an enhanced object keeps its geometry there
TAGS: dict[int, tuple[str, str]] = {
    0x00080008: ("image_type", "text"),
    0x00080016: ("sop_class", "text"),
    0x00080018: ("sop", "text"),
    0x00080050: ("accession", "text"),
    0x00080060: ("modality", "text"),
    0x00100010: ("person", "bytes"),
    0x00100020: ("patient", "text"),
    0x00100030: ("born", "text"),
    0x00101000: ("other_ids", "text"),
    0x00180050: ("thickness", "number"),
    0x0020000D: ("study", "text"),
    0x0020000E: ("series", "text"),
    0x00200032: ("position", "numbers"),
    0x00200037: ("orientation", "numbers"),
    0x00280002: ("samples", "short"),
    0x00280004: ("photometric", "text"),
    0x00280008: ("frames", "number"),
    0x00280010: ("rows", "short"),
    0x00280011: ("columns", "short"),
    0x00280030: ("pixel_spacing", "numbers"),
    0x00280100: ("bits_allocated", "short"),
    0x00280101: ("bits_stored", "short"),
    0x00280103: ("signed", "short"),
    0x00280120: ("padding", "pixel"),
    0x00280301: ("burned_in", "text"),
    0x00281050: ("window_center", "number"),
    0x00281051: ("window_width", "number"),
    0x00281052: ("intercept", "number"),
    0x00281053: ("slope", "number"),
    0x00181164: ("imager_spacing", "numbers"),
}
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_KNOWN = _LONG | frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
     b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_short_header = struct.Struct("<HH2sH").unpack_from
_implicit_header = struct.Struct("<HHI").unpack_from
_long_length = struct.Struct("<I").unpack_from
_ushort = struct.Struct("<H").unpack_from


@dataclass(slots=True)
class Header:
    """The elements that the verification looks at; None or empty where the file does not have them."""

    transfer_syntax: str = ""
    image_type: str = ""
    sop_class: str = ""
    sop: str = ""
    modality: str = ""
    patient: str = ""
    person: str = ""
    born: str = ""
    accession: str = ""
    other_ids: str = ""
    study: str = ""
    series: str = ""
    thickness: float | None = None
    position: tuple[float, ...] = ()
    orientation: tuple[float, ...] = ()
    samples: int = 1
    photometric: str = ""
    frames: float | None = None
    rows: int = 0
    columns: int = 0
    pixel_spacing: tuple[float, ...] = ()
    imager_spacing: tuple[float, ...] = ()
    bits_allocated: int = 0
    bits_stored: int = 0
    signed: int = 0
    padding: int | None = None
    burned_in: str = ""
    window_center: float | None = None
    window_width: float | None = None
    intercept: float | None = None
    slope: float | None = None
    pixels_at: int = 0
    pixels_length: int = 0
    has_pixels: bool = False
    referenced_series: str = ""
    frame_step: float | None = None
    damage: str = ""


def identifiers(header: Header) -> tuple[tuple[str, str], ...]:
    """Kind and value of everything in a header that says who the patient is."""
    found = [("patient", header.patient), ("name", header.person), ("date", header.born), ("id", header.accession)]
    found += [("id", part) for part in header.other_ids.split("\\")]
    return tuple((kind, value) for kind, value in found if value)


class _GiveUpError(Exception):
    """The small reader met something that it does not know."""


def read_plain(data: bytes) -> Header | None:
    """Header of a whole, regular, uncompressed little-endian file; None for all others.

    Args:
        data: The file's bytes.
    """
    if data[128:132] != b"DICM":
        return None
    try:
        syntax, at = file_meta(data)
        if syntax not in (IMPLICIT, EXPLICIT):
            return None
        header = Header(transfer_syntax=syntax)
        _read_elements(data, at, syntax == EXPLICIT, header)
    except (_GiveUpError, struct.error, ValueError, IndexError, RecursionError):
        return None
    return header


def _read_elements(data: bytes, at: int, explicit: bool, header: Header) -> None:
    """Fill ``header`` from the elements at ``at`` up to the pixels."""
    end = len(data)
    while at < end:
        if explicit:
            group, element, vr, length = _short_header(data, at)
            at += 8
            if vr in _LONG:
                (length,) = _long_length(data, at)
                at += 4
            elif vr not in _KNOWN:
                raise _GiveUpError
        else:
            group, element, length = _implicit_header(data, at)
            at += 8
        tag = group << 16 | element
        if tag == PIXEL_DATA:
            if length == _UNDEFINED or at + length > end:
                raise _GiveUpError
            header.pixels_at, header.pixels_length, header.has_pixels = at, length, True
            return
        if tag in FLOAT_PIXELS or tag in FUNCTIONAL_GROUPS or (group == 0xFFFE):
            raise _GiveUpError
        if length == _UNDEFINED:
            at = _skip_sequence(data, at, explicit)
            continue
        stop = at + length
        if stop > end:
            raise _GiveUpError
        if length and tag in TAGS:
            name, form = TAGS[tag]
            setattr(header, name, _decode(data, at, stop, form, header))
        at = stop


def _decode(data: bytes, at: int, stop: int, form: str, header: Header) -> Any:
    if form == "short":
        return _ushort(data, at)[0]
    if form == "pixel":  # a value of the pixels' own type; PixelRepresentation precedes it
        return int.from_bytes(data[at : at + 2], "little", signed=bool(header.signed))
    if form == "bytes":  # a name in whatever character set: what a file system would make of it
        return data[at:stop].decode("utf-8", "replace").strip(" \0")
    text = data[at:stop].decode("ascii", "replace").strip(" \0")
    if form == "text":
        return text
    if form == "number":
        first = text.split("\\", 1)[0].strip()
        return float(first) if first else None
    return tuple(float(part) for part in text.split("\\")) if text else ()


def file_meta(data: bytes) -> tuple[str, int]:
    """Transfer syntax and the offset behind the file meta group."""
    at, syntax = 132, ""
    while _ushort(data, at)[0] == 2:
        _, element, vr, length = _short_header(data, at)
        at += 8
        if vr in _LONG:
            (length,) = _long_length(data, at)
            at += 4
        if element == 0x0010:
            syntax = data[at : at + length].decode("ascii").strip(" \0")
        at += length
    return syntax, at


def _skip_sequence(data: bytes, at: int, explicit: bool) -> int:
    """Offset behind a sequence of undefined length that begins at ``at``."""
    while True:
        group, element, length = _implicit_header(data, at)
        at += 8
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise _GiveUpError
        at = _skip_item(data, at, explicit) if length == _UNDEFINED else at + length
        if at > len(data):
            raise _GiveUpError


def _skip_item(data: bytes, at: int, explicit: bool) -> int:
    """Offset behind an item of undefined length."""
    while True:
        group, element, length = _implicit_header(data, at)
        if group << 16 | element == _ITEM_END:
            return at + 8
        if explicit:
            _, _, vr, length = _short_header(data, at)
            if vr in _LONG:
                (length,) = _long_length(data, at + 8)
                at += 4
            elif vr not in _KNOWN:
                raise _GiveUpError
        at += 8
        at = _skip_sequence(data, at, explicit) if length == _UNDEFINED else at + length
        if at > len(data):
            raise _GiveUpError


def from_pydicom(dataset: FileDataset) -> Header:
    """The same header from a pydicom data set; elements that cannot be converted count as missing."""
    header = Header()
    meta = getattr(dataset, "file_meta", None)
    header.transfer_syntax = str(getattr(meta, "TransferSyntaxUID", "") or "")
    for tag, (name, form) in TAGS.items():
        if tag not in dataset:
            continue
        try:
            value = dataset[tag].value
            converted = _converted(value, form)
        except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError):
            continue
        if converted is not None:
            setattr(header, name, converted)
    with suppress(AttributeError, IndexError, TypeError, ValueError):
        header.referenced_series = str(dataset.ReferencedSeriesSequence[0].SeriesInstanceUID)
    _functional_groups(dataset, header)
    header.has_pixels = any(tag in dataset for tag in (PIXEL_DATA, *FLOAT_PIXELS))
    return header


def _functional_groups(dataset: FileDataset, header: Header) -> None:
    """What an enhanced multi-frame object says for all its frames, or for the first (PS3.3 C.7.6.16)."""
    groups = [
        *(getattr(dataset, "SharedFunctionalGroupsSequence", None) or ()),
        *(getattr(dataset, "PerFrameFunctionalGroupsSequence", None) or ()),
    ]
    wanted = (
        ("PixelMeasuresSequence", "PixelSpacing", "pixel_spacing", "numbers"),
        ("PixelMeasuresSequence", "SliceThickness", "thickness", "number"),
        ("PlaneOrientationSequence", "ImageOrientationPatient", "orientation", "numbers"),
        ("PlanePositionSequence", "ImagePositionPatient", "position", "numbers"),
        ("PixelValueTransformationSequence", "RescaleSlope", "slope", "number"),
        ("PixelValueTransformationSequence", "RescaleIntercept", "intercept", "number"),
        ("FrameVOILUTSequence", "WindowCenter", "window_center", "number"),
        ("FrameVOILUTSequence", "WindowWidth", "window_width", "number"),
    )
    for group in groups[:2]:
        for sequence, keyword, name, form in wanted:
            if getattr(header, name):
                continue
            with suppress(AttributeError, IndexError, TypeError, ValueError, KeyError):
                value = _converted(getattr(getattr(group, sequence)[0], keyword), form)
                if value is not None:
                    setattr(header, name, value)
    places: list[tuple[float, ...]] = []
    for group in getattr(dataset, "PerFrameFunctionalGroupsSequence", None) or ():
        with suppress(AttributeError, IndexError, TypeError, ValueError, KeyError):
            places.append(tuple(float(part) for part in group.PlanePositionSequence[0].ImagePositionPatient))
        if len(places) == 2:
            header.frame_step = sum((a - b) ** 2 for a, b in zip(*places, strict=True)) ** 0.5 or None
            break


def _converted(value: Any, form: str) -> Any:
    if value is None or value == "":
        return None
    several = isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue"
    if form in ("text", "bytes"):
        return "\\".join(str(part) for part in value) if several else str(value).strip()
    if form == "numbers":
        return tuple(float(part) for part in value) if several else (float(value),)
    first = value[0] if several else value
    if form == "number":
        return float(first)
    if isinstance(first, bytes):
        return int.from_bytes(first[:2], "little")
    return int(first)
