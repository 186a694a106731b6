"""Near-duplicates: what a copy may have been through, and what is no copy."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from traindx.data import perceptual, pixels
from traindx.data.audit import copies


def thumbs(images: np.ndarray) -> np.ndarray:
    made = []
    for image in images:
        low, high = np.percentile(image, [1, 99])
        made.append(np.frombuffer(pixels.thumbnail(image, low, high), np.uint8).reshape(32, 32))
    return np.stack(made)


def test_distances_against_python_integers() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2**63, (5, 4), dtype=np.uint64)
    second = rng.integers(0, 2**63, (7, 4), dtype=np.uint64)
    expected = [[sum((int(a) ^ int(b)).bit_count() for a, b in zip(x, y, strict=True)) for y in second] for x in first]
    np.testing.assert_array_equal(perceptual.distances(first, second), expected)


def test_proposals_are_all_close_pairs_and_no_other() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2**63, (300, 4), dtype=np.uint64)
    codes[200:220] = codes[:20] ^ np.uint64(0b1011)
    found = {tuple(pair) for block in perceptual.proposals(codes, codes, symmetric=True) for pair in block}
    close = perceptual.distances(codes, codes) <= perceptual.HASH_DISTANCE
    assert found == {(i, j) for i, j in np.argwhere(close) if i < j}
    assert len(found) >= 20


@pytest.mark.parametrize("mirror", range(4))
def test_mirrors_undo_themselves(mirror: int) -> None:
    values = np.random.default_rng(2).integers(0, 255, (3, 32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(perceptual.mirrored(perceptual.mirrored(values, mirror), mirror), values)


def test_detail_does_not_see_brightness_and_contrast() -> None:
    values = np.random.default_rng(3).integers(0, 120, (4, 32, 32), dtype=np.uint8)
    products = perceptual.details(values) @ perceptual.details(values * 2 + 10).T
    np.testing.assert_allclose(np.diag(products), 1.0, atol=1e-5)
    assert np.abs(products - np.diag(np.diag(products))).max() < 0.3


@pytest.mark.data
def test_real_radiographs_copies_are_found_and_patients_kept_apart(data_root: Path) -> None:
    images = np.load(data_root / "tbx11k_cxr" / "images256.npz")["image"][:200]

    def halved(image: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(image).resize((128, 128), Image.Resampling.BILINEAR))

    def compressed(image: np.ndarray) -> np.ndarray:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=30)
        return np.asarray(Image.open(stream))

    original = thumbs(images)
    codes, detail = perceptual.hashes(original), perceptual.details(original)
    for change in (halved, compressed):
        copied = thumbs(np.stack([change(image) for image in images]))
        far = np.diag(perceptual.distances(perceptual.hashes(copied), codes))
        alike = np.sum(perceptual.details(copied) * detail, axis=1)
        assert far.max() <= perceptual.HASH_DISTANCE
        assert np.mean(alike >= 0.93) > 0.99
    others = detail @ detail.T - np.eye(len(detail))
    assert others.max() < 0.85


def test_what_all_images_share_makes_no_two_of_them_alike() -> None:
    """A bright ring of the same place in all, and faint detail of its own in each."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32] - 15.5
    ring = np.abs(np.hypot(rows, columns) - 11) < 1.5
    thumbs = np.clip(100 + 120 * ring + rng.normal(0, 5, (16, 32, 32)), 0, 255).astype(np.uint8)
    thumbs[15] = np.clip(thumbs[3] * 1.05, 0, 255)
    pairs = np.array([(a, b) for a in range(16) for b in range(a)])
    common = copies._common(thumbs)
    assert len(list(copies._alike(thumbs, thumbs, pairs, None))) == len(pairs)  # the ring alone
    assert [found[:2] for found in copies._alike(thumbs, thumbs, pairs, (common, common))] == [(15, 3)]
    assert copies._common(thumbs[:5]) is None
