"""Near-duplicates: a 64-bit difference hash proposes pairs, the correlation of thumbnails decides.

The hash compares neighbouring block means of a 9 x 8 reduction of the thumbnail (difference hash, N. Krawetz, "Kind of
like that", 2013); it survives rescaling, recompression and a change of window. Radiographs of different patients share
their layout, so the hash alone would propose thousands of pairs; the correlation of the high-passed 32 x 32 thumbnails
tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from traindx.dataset.pixels import THUMB

HASH_DISTANCE = 12
"""Bits of 64 in which two hashes of a proposed pair may differ; unrelated images differ in 32 on average."""

MIRRORS = ("", "mirrored left-right", "mirrored top-bottom", "turned by 180 degrees")
"""The ways in which a copy may have been augmented before the split."""

_BLOCK = 1024


def hashes(thumbs: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Difference hashes of thumbnails (n, 32, 32)."""
    values = thumbs.astype(np.float32)
    rows = values.reshape(-1, 8, THUMB // 8, THUMB).mean(axis=2)
    edges = np.linspace(0, THUMB, 10).astype(int)[:-1]
    columns = np.add.reduceat(rows, edges, axis=2) / np.diff(np.append(edges, THUMB))
    bits = (columns[:, :, 1:] > columns[:, :, :-1]).reshape(len(values), 64)
    return np.packbits(bits, axis=1).view(np.uint64).reshape(-1)


def mirrored(thumbs: NDArray[np.uint8], mirror: int) -> NDArray[np.uint8]:
    """Thumbnails (n, 32, 32) under one of :data:`MIRRORS`."""
    result = thumbs
    if mirror & 1:
        result = result[:, :, ::-1]
    if mirror & 2:
        result = result[:, ::-1, :]
    return np.ascontiguousarray(result)


def distances(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Hamming distances (n, m)."""
    crossed = first[:, None] ^ second[None, :]
    if hasattr(np, "bitwise_count"):
        counted: NDArray[np.uint8] = np.bitwise_count(crossed)
        return counted
    table = np.array([bin(value).count("1") for value in range(256)], np.uint8)
    return np.asarray(table[crossed.view(np.uint8).reshape(*crossed.shape, 8)].sum(axis=2), np.uint8)


def proposals(codes: NDArray[np.uint64], query: NDArray[np.uint64], *, symmetric: bool) -> Iterator[NDArray[np.int64]]:
    """Pairs (k, 2) of indices into ``query`` and ``codes`` whose hashes are close, block by block."""
    for start in range(0, len(query), _BLOCK):
        begin = start if symmetric else 0
        close = distances(query[start : start + _BLOCK], codes[begin:]) <= HASH_DISTANCE
        pairs = np.argwhere(close)
        pairs[:, 0] += start
        pairs[:, 1] += begin
        yield pairs[pairs[:, 0] < pairs[:, 1]]


def details(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """High-passed thumbnails as unit vectors (n, 900): what is left after the 3 x 3 neighbourhood mean is taken away.

    Products of these vectors are correlations of detail: anatomy at the scale of ribs, not the layout of a chest.
    """
    values = thumbs.astype(np.float32)
    total = sum(values[:, 1 + dy : THUMB - 1 + dy, 1 + dx : THUMB - 1 + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1))
    passed = (values[:, 1:-1, 1:-1] - total / 9.0).reshape(len(values), -1)
    passed -= passed.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(passed, axis=1, keepdims=True)
    result: NDArray[np.float32] = passed / np.maximum(norms, 1e-6)
    return result
