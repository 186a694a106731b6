"""The small header reader against pydicom, on whole files, broken files and real ones."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patients.folders import ct_volume, write_dicom
from traindx.data import read_dicom
from traindx.data.dicom_header import Header, from_pydicom, read_plain
from traindx.data.facts import Facts
from traindx.data.names import Names

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
SLOTS = [name for name in Header.__slots__ if name not in ("pixels_at", "pixels_length", "referenced_series", "damage")]


def same(first: Header, second: Header) -> list[str]:
    """Names of the fields in which two headers differ."""
    return [name for name in SLOTS if not _equal(getattr(first, name), getattr(second, name))]


def _equal(first: object, second: object) -> bool:
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second)
    return first == second


def rich(path: Path, syntax: str, *, undefined: bool) -> Path:
    """A file with sequences, nested and of undefined length, private elements and several values."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    write_dicom(path, ct_volume(0)[3], WindowCenter=[40, 300], WindowWidth=[400, 1500], PixelPaddingValue=-2000)
    dataset = pydicom.dcmread(path)
    inner = Dataset()
    inner.CodeValue, inner.Rows, inner.WindowCenter = "X", 7, "999"
    middle = Dataset()
    middle.PatientID = "inside"
    middle.ConceptCodeSequence = Sequence([inner, inner])
    dataset.AnatomicRegionSequence = Sequence([middle, middle])
    dataset.ReferencedSeriesSequence = Sequence([middle])
    block = dataset.private_block(0x0009, "constructor_site", create=True)
    block.add_new(0x01, "OB", b"\x00\x01\x02\x03")
    block.add_new(0x02, "LO", "text")
    if undefined:
        for sequence in (dataset["AnatomicRegionSequence"], middle["ConceptCodeSequence"]):
            sequence.is_undefined_length = True
        middle.is_undefined_length_sequence_item = inner.is_undefined_length_sequence_item = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, implicit_vr=syntax == IMPLICIT, little_endian=True, enforce_file_format=True)
    return path


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
@pytest.mark.parametrize("undefined", [False, True])
def test_agrees_with_pydicom_and_looks_into_no_sequence(tmp_path: Path, syntax: str, undefined: bool) -> None:
    path = rich(tmp_path / "a.dcm", syntax, undefined=undefined)
    header = read_plain(path.read_bytes())
    assert header is not None
    dataset = pydicom.dcmread(path)
    assert same(header, from_pydicom(dataset)) == []
    assert (header.patient, header.rows, header.window_center, header.padding) == ("P1", 48, 40.0, -2000)
    stored = np.frombuffer(path.read_bytes(), "<i2", 48 * 48, header.pixels_at).reshape(48, 48)
    np.testing.assert_array_equal(stored, dataset.pixel_array)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"])
def test_other_encodings_are_left_to_pydicom(tmp_path: Path, syntax: str) -> None:
    data = rich(tmp_path / "a.dcm", EXPLICIT, undefined=False).read_bytes()
    assert read_plain(data.replace(EXPLICIT.encode() + b"\0", syntax.encode().ljust(20, b"\0"), 1)) is None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_never_raise_and_never_read_beyond_the_end(tmp_path_factory, data) -> None:
    path = tmp_path_factory.getbasetemp() / "whole.dcm"
    if not path.exists():
        rich(path, EXPLICIT, undefined=True)
    whole = bytearray(path.read_bytes())
    length = data.draw(st.integers(0, len(whole)))
    damaged = whole[:length]
    for _ in range(data.draw(st.integers(0, 4))):
        if damaged:
            damaged[data.draw(st.integers(0, min(len(damaged), 1500) - 1))] = data.draw(st.integers(0, 255))
    header = read_plain(bytes(damaged))
    assert header is None or not header.has_pixels or header.pixels_at + header.pixels_length <= len(damaged)


def test_a_cut_file_is_never_taken_for_whole(tmp_path: Path) -> None:
    whole = rich(tmp_path / "a.dcm", EXPLICIT, undefined=True).read_bytes()
    for length in (*range(130, 1500, 7), len(whole) - 1):
        header = read_plain(whole[:length])
        assert header is None or not header.has_pixels


@pytest.mark.parametrize(("stored", "low", "high"), [(12, 0, 4095), (12, 0, 4096), (10, 0, 1023), (16, 0, 65535)])
def test_bits_beyond_the_stored_ones_are_left_to_pydicom(tmp_path: Path, stored: int, low: int, high: int) -> None:
    image = np.linspace(low, high, 48 * 48).astype(np.uint16).reshape(48, 48)
    path = write_dicom(tmp_path / "a.dcm", image, BitsStored=stored, HighBit=stored - 1)
    header, array = read_dicom.load(str(path))
    assert header.bits_stored == stored
    np.testing.assert_array_equal(array, pydicom.dcmread(path).pixel_array)


@pytest.mark.parametrize(("stored", "bits"), [(12, 12), (16, 16), (None, 16)])
def test_the_depth_of_an_image_is_that_of_its_stored_bits(tmp_path: Path, stored: int | None, bits: int) -> None:
    """Twelve bits in words of sixteen are twelve; PS3.5 section 8.1.1. Files without BitsStored exist all the same."""
    image = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48)
    path = write_dicom(tmp_path / "a.dcm", image, BitsStored=stored, HighBit=stored and stored - 1)
    header = read_plain(path.read_bytes())
    assert header is not None
    facts = Facts("a.dcm")
    read_dicom._describe(facts, header, Names("a.dcm"))
    assert facts.bits == bits


@pytest.mark.data
def test_every_real_file_gives_the_same_header_and_pixels_as_pydicom(data_root: Path) -> None:
    plain = 0
    files = [
        path for path in sorted((data_root / "odd_files").rglob("*")) if path.is_file() and ".nii" not in path.name
    ]
    for path in files[::3]:
        header = read_plain(path.read_bytes())
        if header is None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            assert same(header, from_pydicom(dataset)) == [], path.name
            if header.has_pixels:
                np.testing.assert_array_equal(read_dicom.load(str(path))[1], dataset.pixel_array)
        plain += 1
    assert plain > 40
