"""One ``.npy`` or ``.npz`` file, item by item, without holding a whole stack in memory.

In an ``.npz`` the arrays of numbers with two dimensions or more are images or masks. Where another array of the file
has one entry for each of their first axis (``ids``, ``split``, ``patient``), they are stacks of that many cases.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from traindx.data import limits, pixels
from traindx.data.facts import Facts
from traindx.data.names import MASK_WORDS, MODALITY_WORDS, SPLIT_WORDS, Names, case_key, nearest, without_suffix, words
from traindx.data.reading import NotAnImageError, NotReadError, UnreadableError, reason_of

_ID_KEYS = ("ids", "id", "names", "name", "filenames", "files", "cases", "case")
_SPLIT_KEYS = ("split", "splits")
_PATIENT_KEYS = ("patient", "patients", "patient_id", "patientid", "subject", "subjects")
_SPACING_KEYS = ("spacing", "spacing_mm", "voxel_size", "pixdim", "pixel_mm")
SMALL = 1 << 20
"""Arrays up to this many values that are not pictures are read as companions."""


def read(path: str, name: str, names: Names) -> Iterator[Facts]:
    """Facts of every image and mask in the file.

    Args:
        path: The file.
        name: Its path relative to the data folder.
        names: What the name says.

    Raises:
        NotAnImageError: No array in it looks like an image.
        NotReadError: It is encrypted, or an array is larger than one image may be.
        UnreadableError: The archive is damaged, or needs pickle.
    """
    try:
        if path.lower().endswith(".npy"):
            with open(path, "rb") as stream:
                shape, _, _ = _array_header(stream)
            if len(shape) < 2:
                raise NotAnImageError(f"an array of shape {shape}")
            with open(path, "rb") as stream:
                room = os.path.getsize(path)
                yield from _pictures(stream, "", name, names, Companions({}, 0), scope=False, room=room)
            return
        with zipfile.ZipFile(path) as archive:
            yield from _archive(archive, name, names)
    except (NotAnImageError, NotReadError, UnreadableError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableError(f"{type(error).__name__}: {reason_of(error)}") from None


def _archive(archive: zipfile.ZipFile, name: str, names: Names) -> Iterator[Facts]:
    headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    if any(entry.flag_bits & 1 for entry in archive.infolist()):
        raise NotReadError("encrypted: unpack it with its password")
    for member in archive.namelist():
        if member.endswith(".npy"):
            with archive.open(member) as stream:
                shape, dtype, _ = _array_header(stream)
            headers[member[:-4]] = (shape, dtype)
    vectors: dict[str, NDArray[Any]] = {}
    for key, (shape, dtype) in headers.items():
        small = len(shape) < 2 or key.lower() in _SPACING_KEYS or (len(shape) == 2 and shape[1] == 1)
        if small and math.prod(shape) <= SMALL and not dtype.hasobject:
            with archive.open(key + ".npy") as stream:
                vector = np.lib.format.read_array(stream, allow_pickle=False)
                vectors[key.lower()] = vector[:, 0] if vector.ndim == 2 and vector.shape[1] == 1 else vector
    pictures = {
        key: shape
        for key, (shape, dtype) in headers.items()
        if key.lower() not in vectors and len(shape) >= 2 and dtype.kind in "uifb" and min(shape[-2:]) > 1
    }
    if not pictures:
        raise NotAnImageError(f"arrays {', '.join(headers) or 'none'}: nothing with two dimensions")
    lengths = {len(vector) for vector in vectors.values() if vector.ndim}
    roles = {("mask" if MASK_WORDS.intersection(words(key)) else "image") for key in pictures}
    for key, shape in pictures.items():
        stacked = len(shape) >= 3 and shape[0] in lengths and (shape[0] > 3 or "ids" in vectors)
        companions = Companions(vectors, shape[0] if stacked else 0)
        entry = archive.getinfo(key + ".npy")
        if entry.file_size > entry.compress_size * limits.DEFLATE + 1024:
            raise UnreadableError(f"{entry.filename} claims more than its {entry.compress_size} bytes can hold")
        with archive.open(entry) as stream:
            yield from _pictures(stream, key, name, names, companions, scope=len(roles) > 1, room=entry.file_size)


class Companions:
    """What the other arrays of a file say of one item.

    Args:
        vectors: Small arrays by lower-case key.
        count: Items of the stack; 0 for a single volume.
    """

    def __init__(self, vectors: Mapping[str, NDArray[Any]], count: int) -> None:
        self.vectors = vectors
        self.count = count

    def text(self, keys: tuple[str, ...], item: int) -> str:
        """The entry of the first of ``keys`` that exists, as text."""
        for key in keys:
            vector = self.vectors.get(key)
            if vector is None:
                continue
            if vector.ndim == 0 or (self.count == 0 and vector.size == 1):
                return str(vector.reshape(-1)[0])
            if vector.ndim == 1 and len(vector) == self.count:
                return str(vector[item])
        return ""

    def spacing(self, item: int) -> tuple[float, ...]:
        """Voxel size of an item in array order, or nothing."""
        for key in _SPACING_KEYS:
            vector = self.vectors.get(key)
            if vector is not None and vector.dtype.kind in "uif":
                entry = vector[item] if vector.ndim == 2 and len(vector) == self.count else vector
                if entry.ndim <= 1:
                    return tuple(float(size) for size in entry.reshape(-1))
        return ()

    def absent(self, key: str, item: int) -> bool:
        """True if ``has_<key>`` says that this item has no such array."""
        vector = self.vectors.get(f"has_{key.lower()}")
        return vector is not None and vector.ndim == 1 and len(vector) == self.count and not bool(vector[item])


def _pictures(
    stream: IO[bytes], key: str, name: str, names: Names, companions: Companions, *, scope: bool, room: int
) -> Iterator[Facts]:
    shape, dtype, fortran = _array_header(stream)
    if math.prod(shape) == 0:
        raise UnreadableError(f"no values, shape {shape}")
    if dtype.hasobject:
        raise UnreadableError("an array of Python objects, which needs pickle: it is not opened")
    if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize > room:
        limits.check(shape, dtype.itemsize, stored=room)
    limits.check(shape[1:] if companions.count and not fortran else shape, dtype.itemsize)
    items = _items(stream, shape, dtype, fortran, companions.count)
    yield from pictures_of(items, key, name, names, companions, scope=scope)


def pictures_of(
    items: Iterator[tuple[int, NDArray[Any]]],
    key: str,
    name: str,
    names: Names,
    companions: Companions,
    *,
    scope: bool,
) -> Iterator[Facts]:
    """Facts of the items of one array.

    Args:
        items: Numbers and values, one after another.
        key: What the file calls the array.
        name: The file, relative to the data folder.
        names: What its name says.
        companions: What the other arrays of the file say.
        scope: True if images and masks lie in one file.
    """
    for item, array in items:
        if companions.absent(key, item):
            continue
        facts = Facts(name, item if companions.count else -1, key, "array", collection=names.collection)
        _identify(facts, names, companions, item, scope=scope)
        facts.shape = "x".join(str(size) for size in array.shape)
        facts.height, facts.width = int(array.shape[-2]), int(array.shape[-1])
        facts.bits = 1 if array.dtype == bool else array.dtype.itemsize * 8
        counted = pixels.measure(facts, array)
        if not facts.role:
            facts.role_from = "content"
            facts.role = "mask" if pixels.looks_like_labels(array, counted) else "image"
        if facts.role == "mask":
            facts.modality = facts.modality_from = ""
            pixels.measure_labels(facts, array, counted)
        elif facts.modality == "CT":
            facts.histogram = pixels.hu_histogram(counted)
        facts.thumb = pixels.thumbnail(array, facts.p01, facts.p99)
        facts.digest = pixels.fingerprint(facts, array)
        yield facts


def _identify(facts: Facts, names: Names, companions: Companions, item: int, *, scope: bool) -> None:
    """Names, role, modality, split, patient and spacing of an item."""
    own = companions.text(_ID_KEYS, item) if companions.count else ""
    facts.name = without_suffix(own) if own else f"{names.name}#{item}" if companions.count else names.name
    facts.case_key = case_key([], own) if own else f"{names.case} {item}" if companions.count else names.case
    facts.pair_scope = facts.path if scope else ""
    facts.split = companions.text(_SPLIT_KEYS, item) or nearest((facts.key,), SPLIT_WORDS) or names.split
    facts.patient = companions.text(_PATIENT_KEYS, item) or names.patient
    key_words = words(facts.key)
    if MASK_WORDS.intersection(key_words):
        facts.role, facts.role_from = "mask", "name"
    elif facts.key:
        facts.role, facts.role_from = "image", "name"
    else:
        facts.role, facts.role_from = names.role, "name" if names.role else ""
    facts.modality = nearest((facts.key,), MODALITY_WORDS) or names.modality
    facts.modality_from = "name" if facts.modality else ""
    spacing = companions.spacing(item)
    if len(spacing) == 1:
        spacing *= 2
    if len(spacing) == 2:
        facts.spacing0, facts.spacing1 = spacing
    elif len(spacing) == 3:  # array order: slowest axis first
        facts.spacing2, facts.spacing0, facts.spacing1 = spacing


def _array_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, type and memory order of an ``.npy`` stream, which is left at its first value."""
    version = np.lib.format.read_magic(stream)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(stream)
    return shape, dtype, fortran


def _items(
    stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool, count: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """The items of a stack one after another, or the whole array as item 0."""
    if count and not fortran:
        inner = shape[1:]
        size = math.prod(inner) * dtype.itemsize
        for item in range(count):
            yield item, np.frombuffer(_exactly(stream, size), dtype).reshape(inner)
        return
    data = _exactly(stream, math.prod(shape) * dtype.itemsize)
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    if count:
        yield from enumerate(array)
    else:
        yield 0, array


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise UnreadableError(f"truncated: {size} bytes expected, {len(data)} there")
    return data


def load_items(path: str, key: str, wanted: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Some items of an array file in rising order, in one pass (``[-1]`` for the whole array)."""
    if path.lower().endswith(".npy"):
        whole: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        yield from ((item, whole if item < 0 else whole[item]) for item in wanted)
        return
    with zipfile.ZipFile(path) as archive, archive.open(key + ".npy") as stream:
        shape, dtype, fortran = _array_header(stream)
        stacked = max(wanted) >= 0
        for item, array in _items(stream, shape, dtype, fortran, shape[0] if stacked else 0):
            if not stacked:
                yield -1, array
            elif item in wanted:
                yield item, array
                if item == max(wanted):
                    return
