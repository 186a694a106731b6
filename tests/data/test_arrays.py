"""Array files are read item by item, with what lies beside them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from traindx.data.names import Names
from traindx.data.read_arrays import load_items, read
from traindx.data.reading import NotAnImageError, UnreadableError


def facts(path: Path) -> list:
    return list(read(str(path), path.name, Names(path.name)))


def test_a_stack_with_identifiers_splits_patients_and_spacings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(-1000, 1000, (6, 8, 9, 10)).astype(np.int16)
    spacing = np.arange(18, dtype=np.float32).reshape(6, 3) + 1
    np.savez_compressed(
        tmp_path / "stack.npz",
        hu=images,
        lab=(images > 500).astype(np.uint8),
        ids=np.array([f"pt_{k}" for k in range(6)]),
        split=np.array(["train"] * 4 + ["val"] * 2),
        patient=np.array([f"P{k // 2}" for k in range(6)]),
        spacing=spacing,
    )
    found = facts(tmp_path / "stack.npz")
    assert len(found) == 12
    image = next(item for item in found if item.key == "hu" and item.item == 3)
    assert (image.name, image.split, image.patient, image.modality, image.role) == (
        "pt_3",
        "train",
        "P1",
        "CT",
        "image",
    )
    assert (image.vmin, image.vmax) == (images[3].min(), images[3].max())
    assert (image.spacing2, image.spacing0, image.spacing1) == tuple(spacing[3])
    assert image.shape == "8x9x10"
    mask = next(item for item in found if item.key == "lab" and item.item == 3)
    assert (mask.role, mask.case_key, mask.modality) == ("mask", image.case_key, "")


def test_a_volume_without_companions_is_one_volume(tmp_path: Path) -> None:
    np.savez(tmp_path / "case_3.npz", ct=np.zeros((20, 8, 9), np.int16), spacing=np.array([3.0, 1.0, 1.0]))
    (image,) = facts(tmp_path / "case_3.npz")
    assert (image.item, image.shape, image.case_key) == (-1, "20x8x9", "case 3")


def test_plain_npy_and_fortran_order(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    (image,) = facts(tmp_path / "a.npy")
    assert (image.shape, image.vmax) == ("3x4x5", 59.0)
    ((_, again),) = load_items(str(tmp_path / "a.npy"), "", [-1])
    np.testing.assert_array_equal(again, array)


def test_items_can_be_fetched_again(tmp_path: Path) -> None:
    stack = np.arange(5 * 6 * 7).reshape(5, 6, 7).astype(np.int16)
    np.savez_compressed(tmp_path / "a.npz", image=stack, ids=np.arange(5))
    again = dict(load_items(str(tmp_path / "a.npz"), "image", [1, 4]))
    assert sorted(again) == [1, 4]
    np.testing.assert_array_equal(again[4], stack[4])


def test_tables_in_arrays_are_no_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", weights=np.zeros(7))
    with pytest.raises(NotAnImageError):
        facts(tmp_path / "a.npz")


def test_pickled_objects_are_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[{"a": 1}, 2], [3, 4]], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableError, match="pickle"):
        facts(tmp_path / "a.npy")


def test_a_large_stack_is_never_in_memory_at_once(tmp_path: Path) -> None:
    size = 400 * 128 * 128 * 2
    np.savez_compressed(
        tmp_path / "a.npz",
        image=np.zeros((400, 128, 128), np.int16) + np.arange(128, dtype=np.int16),
        ids=np.arange(400),
    )
    tracemalloc.start()
    number = sum(1 for _ in read(str(tmp_path / "a.npz"), "a.npz", Names("a.npz")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert number == 400
    assert peak < size / 4
