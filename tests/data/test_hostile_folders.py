"""One hostile file or folder beside four good images: the verification ends, reads the good ones, and says what became
of the other.

A case puts something into the folder and returns what must be said of each of its files: ``(status, reason)``, the
reason as a regular expression. What a case leaves out of account is not asserted; the good images always are.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import pickle
import re
import socket
import sqlite3
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from patients.folders import radiograph
from traindx.data import verify

Said = dict[str, tuple[str, str]]
CASES: dict[str, Callable[[Path], Said]] = {}
GOOD = 4
MEMORY = 64 << 20
"""No case holds a volume that is larger; a bomb promises a hundred times as much."""


def case(build: Callable[[Path], Said]) -> Callable[[Path], Said]:
    CASES[build.__name__] = build
    return build


def png_bytes(image: np.ndarray | None = None) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(radiograph(9) if image is None else image).save(stream, "PNG")
    return stream.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def nifti_header(shape: tuple[int, ...], code: int = 4, bits: int = 16) -> bytearray:
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, len(shape), *shape, *([1] * (7 - len(shape))))
    struct.pack_into("<hh", head, 70, code, bits)
    struct.pack_into("<8f", head, 76, *([1.0] * 8))
    struct.pack_into("<f", head, 108, 352.0)
    struct.pack_into("<hh", head, 252, 0, 1)
    for row, at in enumerate((280, 296, 312)):
        struct.pack_into("<f", head, at + 4 * row, 1.0)
    head[344:348] = b"n+1\0"
    return head


def dicom_bytes(elements: bytes, syntax: str = "1.2.840.10008.1.2.1") -> bytes:
    text = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = element(2, 0x10, b"UI", text)
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta))
    return b"\0" * 128 + b"DICM" + length + meta + elements


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return struct.pack("<HH2sHI", group, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def picture(rows: int = 16, columns: int = 16, *, frames: bytes = b"", modality: bytes = b"CT") -> bytes:
    """Elements of an image without its pixels."""
    short = struct.Struct("<H").pack
    number = element(0x28, 8, b"IS", frames + b" " * (len(frames) % 2)) if frames else b""
    return (
        element(8, 0x60, b"CS", modality)
        + element(0x28, 2, b"US", short(1))
        + element(0x28, 4, b"CS", b"MONOCHROME2 ")
        + number
        + element(0x28, 0x10, b"US", short(rows))
        + element(0x28, 0x11, b"US", short(columns))
        + b"".join(element(0x28, at, b"US", short(value)) for at, value in ((0x100, 16), (0x101, 16), (0x102, 15)))
        + element(0x28, 0x103, b"US", short(0))
    )


# --- raster images -------------------------------------------------------------------------------------------------


@case
def empty_files(folder: Path) -> Said:
    for name in ("a.png", "b.nii.gz", "c.dcm", "d.npz", "e.gif", "f.nrrd", "g.h5"):
        (folder / name).touch()
    return dict.fromkeys(("a.png", "b.nii.gz", "c.dcm", "d.npz", "e.gif", "f.nrrd"), ("unreadable", "empty"))


@case
def png_cut_short(folder: Path) -> Said:
    (folder / "x.png").write_bytes(png_bytes()[:900])
    return {"x.png": ("unreadable", "truncated|broken|incomplete")}


@case
def png_bomb(folder: Path) -> Said:
    side = 60000
    rows = zlib.compressobj(9)
    row = b"\0" * (side + 1)
    data = b"".join(rows.compress(row) for _ in range(200)) + rows.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = png_chunk(b"IHDR", head) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    (folder / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return {"x.png": ("not-read|unreadable", "3.6 GB")}


@case
def png_text_bomb(folder: Path) -> Said:
    text = png_chunk(b"zTXt", b"comment\0\0" + zlib.compress(b"\0" * (80 << 20), 9))
    good = png_bytes()
    (folder / "x.png").write_bytes(good[:33] + text + good[33:])
    return {"x.png": ("unreadable|read", "")}


@case
def png_of_no_size(folder: Path) -> Said:
    body = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 0, 0, 0, 0)) + png_chunk(b"IEND", b"")
    (folder / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return {"x.png": ("unreadable", ".")}


@case
def jpeg_cut_short(folder: Path) -> Said:
    stream = io.BytesIO()
    Image.fromarray(radiograph(9)).save(stream, "JPEG")
    (folder / "x.jpg").write_bytes(stream.getvalue()[:700])
    return {"x.jpg": ("unreadable", "truncated|broken")}


@case
def bmp_with_absurd_size(folder: Path) -> Said:
    head = (
        b"BM"
        + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 1 << 30, 1 << 30, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    (folder / "x.bmp").write_bytes(head + b"\0" * 64)
    return {"x.bmp": ("unreadable|not-read", ".")}


@case
def tiff_that_points_at_itself(folder: Path) -> Said:
    tags = [
        (256, 4, 1, 8),
        (257, 4, 1, 8),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (279, 4, 1, 64),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    ifd = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 72)  # the next page is this page
    (folder / "x.tif").write_bytes(b"II*\0" + struct.pack("<I", 72) + b"\1" * 64 + ifd)
    return {"x.tif": ("read|unreadable", "")}


@case
def tiff_with_absurd_size(folder: Path) -> Said:
    big = 0x7FFFFFFF
    tags = [
        (256, 4, 1, big),
        (257, 4, 1, big),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (279, 4, 1, 64),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    ifd = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    (folder / "x.tif").write_bytes(b"II*\0" + struct.pack("<I", 72) + b"\1" * 64 + ifd)
    return {"x.tif": ("unreadable|not-read", "GB|TB|EB|bytes")}


@case
def gif_cut_short(folder: Path) -> Said:
    stream = io.BytesIO()
    Image.fromarray(radiograph(9)).save(stream, "GIF")
    (folder / "x.gif").write_bytes(stream.getvalue()[:900])
    return {"x.gif": ("unreadable", "truncated|broken|bytes")}


@case
def web_page_called_image(folder: Path) -> Said:
    page = b"<!DOCTYPE html><html><body>404: quota exceeded</body></html>"
    for name in ("x.png", "x.nii.gz", "x.dcm", "x.jpg"):
        (folder / name).write_bytes(page)
    return dict.fromkeys(("x.png", "x.nii.gz", "x.dcm", "x.jpg"), ("unreadable", "web page|HTML"))


@case
def git_lfs_pointers(folder: Path) -> Said:
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 123456\n"
    for name in ("x.png", "x.nii.gz", "x.dcm", "x.npz", "x.h5"):
        (folder / name).write_text(text)
    return dict.fromkeys(("x.png", "x.nii.gz", "x.dcm", "x.npz", "x.h5"), ("unreadable", "Git LFS.*git lfs pull"))


# --- NIfTI ---------------------------------------------------------------------------------------------------------


@case
def nifti_that_promises_too_much(folder: Path) -> Said:
    (folder / "x.nii").write_bytes(bytes(nifti_header((30000, 30000, 30000))) + b"\0" * 5000)
    return {"x.nii": ("unreadable", "truncated")}


@case
def nifti_bomb(folder: Path) -> Said:
    packer = zlib.compressobj(9, wbits=31)
    data = packer.compress(bytes(nifti_header((2000, 2000, 1000))))
    data += b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(16)) + packer.flush()
    (folder / "x.nii.gz").write_bytes(data)
    return {"x.nii.gz": ("unreadable|not-read", "8.0 GB|truncated")}


@case
def nifti_with_a_long_tail(folder: Path) -> Said:
    packer = zlib.compressobj(9, wbits=31)
    data = packer.compress(bytes(nifti_header((8, 8, 8))) + bytes(range(256)) * 4)
    data += b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(100)) + packer.flush()
    (folder / "x.nii.gz").write_bytes(data)
    return {"x.nii.gz": ("read", "")}


@case
def nifti_cut_short(folder: Path) -> Said:
    data = nib.Nifti1Image(
        np.random.default_rng(0).integers(0, 999, (24, 24, 24)).astype(np.int16), np.eye(4)
    ).to_bytes()
    (folder / "x.nii.gz").write_bytes(gzip.compress(data)[:5000])
    (folder / "y.nii").write_bytes(data[:5000])
    return {"x.nii.gz": ("unreadable", "truncated"), "y.nii": ("unreadable", "truncated")}


@case
def nifti_with_a_wrong_checksum(folder: Path) -> Said:
    data = bytearray(gzip.compress(nib.Nifti1Image(np.ones((8, 8, 8), np.int16), np.eye(4)).to_bytes()))
    data[-8] ^= 255
    (folder / "x.nii.gz").write_bytes(data)
    return {"x.nii.gz": ("unreadable|read", "")}


@case
def nifti_without_an_affine(folder: Path) -> Said:
    head = nifti_header((8, 8, 8))
    struct.pack_into("<12f", head, 280, *([float("nan")] * 12))
    (folder / "x.nii").write_bytes(bytes(head) + b"\1\0" * 512)
    return {"x.nii": ("read", "")}


@case
def nifti_with_negative_sizes(folder: Path) -> Said:
    head = nifti_header((8, 8, 8))
    struct.pack_into("<8h", head, 40, 3, -8, 8, 8, 1, 1, 1, 1)
    (folder / "x.nii").write_bytes(bytes(head) + b"\0" * 2000)
    return {"x.nii": ("unreadable", ".")}


@case
def nifti_of_an_unknown_type(folder: Path) -> Said:
    (folder / "x.nii").write_bytes(bytes(nifti_header((8, 8, 8), 777)) + b"\0" * 2000)
    return {"x.nii": ("unreadable", ".")}


@case
def nifti_of_seven_axes(folder: Path) -> Said:
    (folder / "x.nii").write_bytes(bytes(nifti_header((2,) * 7)) + bytes(256))
    return {"x.nii": ("read", "")}


# --- DICOM ---------------------------------------------------------------------------------------------------------


@case
def dicom_cut_short(folder: Path) -> Said:
    data = dicom_bytes(picture() + element(0x7FE0, 0x10, b"OW", bytes(512)))
    (folder / "x.dcm").write_bytes(data[:-200])
    return {"x.dcm": ("unreadable", "cut short")}


@case
def dicom_that_promises_too_much(folder: Path) -> Said:
    pixels = element(0x7FE0, 0x10, b"OW", bytes(512))
    (folder / "x.dcm").write_bytes(dicom_bytes(picture(65000, 65000) + pixels))
    (folder / "y.dcm").write_bytes(dicom_bytes(picture(frames=b"2147483647") + pixels))
    return {"x.dcm": ("unreadable|not-read", "."), "y.dcm": ("unreadable|not-read", ".")}


@case
def dicom_run_length_bomb(folder: Path) -> Said:
    """Compressed frames may promise what they like: the size is known from the header, before anything is decoded."""
    rle = struct.pack("<16I", 2, 64, 66, *([0] * 13)) + b"\x81\0" * 2
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, len(rle)) + rle
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + item + end
    (folder / "x.dcm").write_bytes(dicom_bytes(picture(60000, 60000) + pixels, "1.2.840.10008.1.2.5"))
    return {"x.dcm": ("not-read|unreadable", "7.2 GB")}


@case
def dicom_of_nested_sequences(folder: Path) -> Said:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    begin = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + item
    (folder / "x.dcm").write_bytes(dicom_bytes(begin * 5000))
    return {"x.dcm": ("unreadable", ".")}


@case
def dicom_with_an_impossible_value(folder: Path) -> Said:
    pixels = element(0x7FE0, 0x10, b"OW", bytes(512))
    wrong = element(0x28, 0x1053, b"DS", b"one half") + element(0x18, 0x50, b"DS", b"thick ")
    (folder / "x.dcm").write_bytes(dicom_bytes(wrong + picture() + pixels))
    return {"x.dcm": ("read|unreadable", "")}


@case
def dicom_without_its_decoder(folder: Path) -> Said:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, 8) + b"\xff\xd8\xff\xf7\0\0\0\0"
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + item + end
    (folder / "x.dcm").write_bytes(dicom_bytes(picture() + pixels, "1.2.840.10008.1.2.4.80"))  # JPEG-LS
    return {"x.dcm": ("not-read|unreadable", "pylibjpeg-libjpeg|no pixels")}


@case
def dicom_of_unknown_syntax(folder: Path) -> Said:
    (folder / "x.dcm").write_bytes(dicom_bytes(picture() + element(0x7FE0, 0x10, b"OW", bytes(512)), "1.2.3.4.5"))
    return {"x.dcm": ("unreadable|not-read|read", "")}


@case
def dicom_without_a_beginning(folder: Path) -> Said:
    (folder / "x.dcm").write_bytes(b"\0" * 5000)
    (folder / "y.dcm").write_bytes(os.urandom(5000))
    return {"x.dcm": ("unreadable", "DICOM"), "y.dcm": ("unreadable", ".")}


@case
def dicom_objects_that_are_no_pictures(folder: Path) -> Said:
    kinds = {b"RTSTRUCT": "481.3", b"SR": "88.11", b"RTPLAN": "481.5", b"REG": "66.1", b"ANN": "91.1"}
    for kind, number in kinds.items():
        uid = f"1.2.840.10008.5.1.4.1.1.{number}".encode()
        head = element(8, 0x16, b"UI", uid + b"\0" * (len(uid) % 2)) + element(
            8, 0x60, b"CS", kind + b" " * (len(kind) % 2)
        )
        (folder / f"{kind.decode()}.dcm").write_bytes(dicom_bytes(head))
    directory = b"1.2.840.10008.1.3.10"
    (folder / "DICOMDIR").write_bytes(
        dicom_bytes(element(8, 0x16, b"UI", directory) + element(4, 0x1130, b"CS", b"STUDY "))
    )
    return {**{f"{kind.decode()}.dcm": ("not-image", ".") for kind in kinds}, "DICOMDIR": ("not-image", "directory")}


# --- arrays, archives ----------------------------------------------------------------------------------------------


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


@case
def pickled_arrays(folder: Path) -> Said:
    np.save(folder / "x.npy", np.array([[Exploit()]], dtype=object), allow_pickle=True)
    np.savez(folder / "y.npz", image=np.array([[Exploit()]], dtype=object))
    (folder / "z.pkl").write_bytes(pickle.dumps(Exploit()))
    (folder / "w.npy").write_bytes(pickle.dumps(Exploit()))
    return {"x.npy": ("unreadable|not-image", "pickle|object"), "w.npy": ("unreadable", ".")}


@case
def array_that_promises_too_much(folder: Path) -> Said:
    for name, shape in (("x.npy", (1000000, 1000000)), ("y.npy", (-5, 7)), ("z.npy", (1 << 62, 1 << 62))):
        text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        (folder / name).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(64))
    return dict.fromkeys(("x.npy", "y.npy", "z.npy"), ("unreadable", "truncated|shape|."))


@case
def array_with_a_hostile_header(folder: Path) -> Said:
    text = "__import__('os').system('touch executed')" + "(" * 3000
    (folder / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode())
    return {"x.npy": ("unreadable", ".")}


@case
def zip_bomb_of_arrays(folder: Path) -> Said:
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (200000, 200000), }".ljust(117) + "\n"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
    with zipfile.ZipFile(folder / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as stream:
        stream.write(head)
        for _ in range(20):
            stream.write(b"\0" * (1 << 20))
    return {"x.npz": ("unreadable|not-read", "GB|truncated")}


@case
def zip_with_names_that_climb(folder: Path) -> Said:
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("../../climbed.png", png_bytes())
        archive.writestr("/climbed.png", png_bytes())
    return {"x.zip": ("archive", "")}


@case
def zip_of_zips(folder: Path) -> Said:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zero.png", b"\0" * (40 << 20))
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(50):
            archive.writestr(f"{number}.zip", inner.getvalue())
    return {"x.zip": ("archive", "")}


@case
def zip_with_a_password(folder: Path) -> Said:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY")
        archive.writestr("b.png", png_bytes())
    data = bytearray(stream.getvalue())
    for found in re.finditer(b"PK\x01\x02", bytes(data)):
        data[found.start() + 8] |= 1
    (folder / "x.npz").write_bytes(data)
    (folder / "x.zip").write_bytes(data)
    return {"x.npz": ("unreadable|not-read", "encrypted|password")}


@case
def other_containers_that_are_broken(folder: Path) -> Said:
    (folder / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + os.urandom(3000))
    (folder / "x.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + os.urandom(3000))
    (folder / "x.zip").write_bytes(b"PK\x03\x04" + os.urandom(300))
    (folder / "x.nrrd").write_bytes(
        b"NRRD0004\ntype: short\ndimension: 3\nsizes: 99999 99999 99999\nencoding: raw\n\n" + bytes(99)
    )
    (folder / "x.mha").write_bytes(
        b"ObjectType = Image\nNDims = 3\nDimSize = 99999 99999 99999\nElementType = MET_SHORT\n"
        b"ElementDataFile = LOCAL\n" + bytes(99)
    )
    return {
        "x.h5": ("unreadable|not-read", "."), "x.mat": ("unreadable", "."), "x.zip": ("unreadable", "."),
        "x.nrrd": ("unreadable|not-read", "."), "x.mha": ("unreadable", "truncated"),
    }  # fmt: skip


@case
def headers_that_point_out_of_the_folder(folder: Path) -> Said:
    secret = folder.parent / "secret.raw"
    secret.write_bytes(bytes(range(256)) * 2)
    head = "ObjectType = Image\nNDims = 2\nDimSize = 16 16\nElementType = MET_USHORT\nElementDataFile = "
    (folder / "x.mhd").write_text(head + "../secret.raw\n")
    (folder / "y.mhd").write_text(head + str(secret) + "\n")
    (folder / "x.nhdr").write_text(
        "NRRD0004\ntype: ushort\ndimension: 2\nsizes: 16 16\nencoding: raw\nendian: little\ndata file: ../secret.raw\n"
    )
    return {
        "x.mhd": ("unreadable", "outside"), "y.mhd": ("unreadable", "outside"),
        "x.nhdr": ("unreadable|not-read", "outside|pynrrd"),
    }  # fmt: skip


# --- tables, text --------------------------------------------------------------------------------------------------


@case
def tables_that_are_none(folder: Path) -> Said:
    (folder / "binary.csv").write_bytes(os.urandom(5000))
    (folder / "zeros.csv").write_bytes(b"\0" * 5000)
    (folder / "empty.csv").touch()
    (folder / "long.csv").write_text("image,label\n" + "x" * 300000 + ",1\n")
    (folder / "quote.csv").write_text('image,label\n"never closed,1\n' + "a.png,1\n" * 200)
    (folder / "utf16.csv").write_bytes("image,label\na.png,1\n".encode("utf-16"))
    return {}


@case
def table_of_very_many_columns(folder: Path) -> Said:
    head = ",".join(f"c{number}" for number in range(300))
    (folder / "wide.csv").write_text(f"image,{head}\n" + "a.png" + ",1" * 300 + "\n")
    return {}


@case
def json_that_nests(folder: Path) -> Said:
    (folder / "dataset.json").write_text('{"labels": ' + "[" * 100000 + "]" * 100000 + "}")
    return {}


@case
def json_of_other_shapes(folder: Path) -> Said:
    (folder / "dataset.json").write_text(json.dumps([1, {"labels": {"a": {"b": None}}}]))
    return {}


# --- names, links, special files -----------------------------------------------------------------------------------


@case
def names_that_are_not_utf8(folder: Path) -> Said:
    inner = os.fsencode(folder) + b"/k\xf6rper"
    os.mkdir(inner)
    with open(inner + b"/th\xf6rax.png", "wb") as stream:
        stream.write(png_bytes())
    return {r"k\xf6rper/th\xf6rax.png": ("read", "")}


@case
def names_with_markup_and_control_signs(folder: Path) -> Said:
    names = (
        "new\nline.png", "[red]x[/red].png".replace("/", "\N{DIVISION SLASH}"), "<script>alert(1)<script>.png",
        "\x1b[31mred.png", "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe.png", "\N{FACE WITH MEDICAL MASK}.png",
        "x" * 251 + ".png", "a'b\"c;--.png", "%s%n.png", "-rf.png",
    )  # fmt: skip
    for number, name in enumerate(names):
        (folder / name).write_bytes(png_bytes(radiograph(20 + number)))
    return {"\N{FACE WITH MEDICAL MASK}.png": ("read", ""), "a'b\"c;--.png": ("read", "")}


@case
def links_that_go_round(folder: Path) -> Said:
    (folder / "round").symlink_to(folder)
    (folder / "self.png").symlink_to("self.png")
    (folder / "ping.png").symlink_to("pong.png")
    (folder / "pong.png").symlink_to("ping.png")
    return {"self.png": ("unreadable", "link")}


@case
def links_to_nothing(folder: Path) -> Said:
    (folder / "x.nii.gz").symlink_to(folder / ".git" / "annex" / "objects" / "gone.nii.gz")
    return {"x.nii.gz": ("unreadable", "link to nothing")}


@case
def files_that_never_end(folder: Path) -> Said:
    os.mkfifo(folder / "x.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(folder)
        listening.bind("y.png")
        os.chdir(here)
    return {"x.png": ("not-read", "pipe"), "zero.png": ("not-read", "device")}


@case
def folders_called_like_images(folder: Path) -> Said:
    (folder / "scan.nii.gz").mkdir()
    (folder / "scan.nii.gz" / "x.png").write_bytes(png_bytes())
    return {"scan.nii.gz/x.png": ("read", "")}


@case
def folders_too_deep(folder: Path) -> Said:
    here = os.getcwd()
    os.chdir(folder)
    try:
        for _ in range(30):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        Path("x.png").write_bytes(png_bytes())
    finally:
        os.chdir(here)
    TOO_DEEP.append(folder)
    return {}


@case
def many_empty_folders(folder: Path) -> Said:
    for number in range(300):
        (folder / f"p{number}" / "a").mkdir(parents=True)
    return {}


@case
def wrong_suffixes(folder: Path) -> Said:
    (folder / "png.dcm").write_bytes(png_bytes())
    (folder / "bz.nii.gz").write_bytes(bz2.compress(bytes(nifti_header((8, 8, 8))) + bytes(1024)))
    with sqlite3.connect(folder / "base.dcm") as base:
        base.execute("CREATE TABLE t (x)")
    return {"png.dcm": ("unreadable|read", "PNG|"), "bz.nii.gz": ("unreadable", "."), "base.dcm": ("unreadable", ".")}


# --- the suite -----------------------------------------------------------------------------------------------------


TOO_DEEP: list[Path] = []


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """A tree whose paths are longer than the system takes is in the way of whoever cleans up: take it apart here."""
    yield
    while TOO_DEEP:
        folder = TOO_DEEP.pop()
        while (inner := folder / ("d" * 200)).is_dir():
            for deeper in (inner / ("d" * 200), inner / "x.png"):
                if deeper.exists():
                    deeper.rename(folder / "up")
            inner.rmdir()
            if (folder / "up").is_dir():
                (folder / "up").rename(inner)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    for number in range(GOOD):
        Image.fromarray(radiograph(number)).save(root / f"good{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRAINDX_MAX_IMAGE", "1G")
    return root


def statuses(out: Path) -> dict[str, tuple[str, str]]:
    with sqlite3.connect(out / "files.sqlite") as store:
        return {
            path: (status, reason) for path, status, reason in store.execute("SELECT path, status, reason FROM files")
        }


def verified(folder: Path, **options: object) -> dict[str, tuple[str, str]]:
    out = folder.parent / "out"
    diagnosis = verify(folder, out=out, **{"workers": 0, **options})  # type: ignore[arg-type]
    assert not diagnosis.errors
    said = statuses(out)
    for number in range(GOOD):
        assert said[f"good{number}.png"] == ("read", "")
    json.loads((out / "diagnosis.json").read_text(encoding="utf-8"))
    return said


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CASES)
def test_the_rest_is_read_and_each_file_named(folder: Path, name: str) -> None:
    expected = CASES[name](folder)
    tracemalloc.start()
    try:
        said = verified(folder)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for path, (status, reason) in expected.items():
        assert path in said, sorted(said)
        assert re.fullmatch(status, said[path][0]), said[path]
        assert re.search(reason, said[path][1]), said[path]
    assert peak < MEMORY
    assert not Path("executed").exists()
    assert not [place for place in (folder.parent, folder.parent.parent, Path("/")) if (place / "climbed.png").exists()]


def test_the_suite_has_as_many_cases_as_it_should() -> None:
    assert len(CASES) >= 40


def failing(monkeypatch: pytest.MonkeyPatch, function: str, at: str, error: OSError) -> None:
    """Let a function of ``os`` or ``builtins`` fail on paths that hold ``at`` (root may read everything)."""
    import builtins

    module = builtins if hasattr(builtins, function) else os
    real = getattr(module, function)

    def refuse(path: object = ".", *args: object, **kwargs: object) -> object:
        if isinstance(path, str | bytes | os.PathLike) and at in os.fsdecode(path):
            raise error
        return real(path, *args, **kwargs)

    monkeypatch.setattr(module, function, refuse)


def test_a_folder_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "private").mkdir()
    (folder / "private" / "x.png").write_bytes(png_bytes())
    failing(monkeypatch, "scandir", "private", PermissionError(13, "Permission denied"))
    said = verified(folder)
    assert said["private/"][0] == "unreadable"
    assert "Permission denied" in said["private/"][1]


def test_a_file_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "private.png").write_bytes(png_bytes())
    failing(monkeypatch, "open", "private.png", PermissionError(13, "Permission denied"))
    said = verified(folder)
    assert said["private.png"][0] == "unreadable"
    assert "Permission denied" in said["private.png"][1]


def test_a_file_that_vanishes_while_we_look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "gone.png").write_bytes(png_bytes())
    failing(monkeypatch, "open", "gone.png", FileNotFoundError(2, "No such file or directory"))
    said = verified(folder)
    assert said["gone.png"][0] == "unreadable"
    assert "gone" in said["gone.png"][1]
