"""Grey values in one pass, against numpy's own sorting, counting and averaging."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from traindx.data import pixels, read_nifti
from traindx.data.facts import Facts

IMAGES = arrays.arrays(
    dtype=st.sampled_from([np.int16, np.uint16, np.uint8, np.int8, np.dtype(">i2"), np.int32]),
    shape=arrays.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=12),
)


@settings(max_examples=150, deadline=None)
@given(IMAGES)
def test_integers_are_counted_exactly(array: np.ndarray) -> None:
    counted, bad, low, high = pixels.count(array)
    values, counts = np.unique(array, return_counts=True)
    assert bad == 0
    assert (low, high) == (array.min(), array.max())
    np.testing.assert_array_equal(counted.values, values)
    np.testing.assert_array_equal(counted.counts, counts)


@settings(max_examples=100, deadline=None)
@given(IMAGES, st.sampled_from([0.01, 0.25, 0.5, 0.75, 0.99]))
def test_quantiles_are_those_of_the_sorted_values(array: np.ndarray, level: float) -> None:
    counted, *_ = pixels.count(array)
    expected = np.percentile(array.astype(np.int64), 100 * level, method="inverted_cdf")
    assert counted.quantiles((level,)) == [expected]


@settings(max_examples=60, deadline=None)
@given(IMAGES, st.floats(-3, 3).filter(lambda slope: abs(slope) > 1e-3), st.floats(-2000, 2000))
def test_rescaled_facts_are_those_of_the_rescaled_image(array: np.ndarray, slope: float, intercept: float) -> None:
    facts = Facts("a")
    pixels.measure(facts, array, slope=slope, intercept=intercept)
    real = array.astype(np.float64) * slope + intercept
    assert facts.vmin == pytest.approx(real.min(), abs=1e-6)
    assert facts.vmax == pytest.approx(real.max(), abs=1e-6)
    assert facts.below_air == pytest.approx(np.mean(real < -1100))
    assert facts.levels == len(np.unique(array))


def test_only_what_is_below_air_counts_as_padding() -> None:
    facts = Facts("a")
    pixels.measure(facts, np.array([[-2000, -1101, -1100], [-1060, -1000, 40]], np.int16))
    assert facts.below_air == pytest.approx(2 / 6)
    pixels.measure(facts, np.array([[-3024, -2000, -2000], [-1060, -1000, 40]], np.int16))
    assert facts.below_value == -2000.0


def test_negative_slope_keeps_the_order_of_percentiles() -> None:
    facts = Facts("a")
    pixels.measure(facts, np.arange(100, dtype=np.int16).reshape(10, 10), slope=-1.0)
    assert facts.vmin <= facts.p01 <= facts.p25 <= facts.p50 <= facts.p75 <= facts.p99 <= facts.vmax


def test_floats_keep_exact_extremes_and_count_what_is_not_finite() -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(90, 90, 90)).astype(np.float32)
    array[3, 4, 5], array[0, 0, 0], array[1, 1, 1] = 77.0, np.nan, -np.inf
    counted, bad, low, high = pixels.count(array)
    assert bad == 2
    assert high == 77.0
    assert low == np.nanmin(array[np.isfinite(array)])
    assert counted.quantiles((0.5,))[0] == pytest.approx(0.0, abs=0.01)


def test_labels_of_a_large_float_mask_are_exact() -> None:
    """A sample would miss one voxel of three million."""
    mask = np.zeros((144, 144, 144), np.float32)
    mask[100, 100, 101] = 3
    facts = Facts("a")
    counted = pixels.measure(facts, mask)
    pixels.measure_labels(facts, mask, counted)
    assert json.loads(facts.label_values) == {"0": 144**3 - 1, "3": 1}
    assert facts.fractional == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(32, 32), (64, 96), (50, 41), (20, 70), (128, 33), (7, 5)]))
def test_thumbnail_is_the_block_mean(seed: int, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(seed).integers(0, 3000, shape).astype(np.int16)
    thumb = pixels.flat_thumbnail(image)
    for row, column in ((0, 0), (31, 31), (13, 20)):
        blocks = []
        for axis, index in ((0, row), (1, column)):
            size = shape[axis]
            start = index * size // 32
            blocks.append(slice(start, max(start + 1, (index + 1) * size // 32)))
        assert thumb[row, column] == pytest.approx(image[blocks[0], blocks[1]].mean(), rel=1e-5, abs=1e-3)


def test_histogram_of_hu_counts_every_voxel_once() -> None:
    values = np.array([[-3024, -1100, -1051, -1050], [0, 49, 50, 9000]], np.int16)
    counted, *_ = pixels.count(values)
    histogram = pixels.hu_histogram(counted)
    expected, _ = np.histogram(np.clip(values, -1100, 3149), pixels.HU_EDGES)
    assert histogram == expected.tolist()


def test_window_share_leaves_padding_out() -> None:
    facts = Facts("a", window_center=40, window_width=400)
    counted, *_ = pixels.count(np.array([[-2000, -2000, -160, 0], [100, 240, 241, 900]], np.int16))
    pixels.measure_window(facts, counted, -2000.0)
    assert facts.window_inside == pytest.approx(4 / 6)


@pytest.mark.parametrize("change", ["pixel", "order", "shape"])
def test_fingerprint_tells_images_apart(change: str) -> None:
    rng = np.random.default_rng(1)
    first = rng.integers(0, 1000, (40, 40)).astype(np.int16)
    second = first.copy()
    if change == "pixel":
        second[7, 7] += 1
    elif change == "order":
        second[0, 0], second[0, 1] = first[0, 1] + 0, first[0, 0] + 0
    else:
        second = second.reshape(20, 80)
    assert fingerprint(first) == fingerprint(first.astype(">i2"))
    assert fingerprint(first) != fingerprint(second)


def fingerprint(array: np.ndarray) -> bytes:
    facts = Facts("a")
    pixels.measure(facts, array)
    facts.thumb = pixels.thumbnail(array, facts.p01, facts.p99)
    return pixels.fingerprint(facts, array)


def test_content_that_looks_like_labels() -> None:
    counted = lambda array: (array, pixels.count(array)[0])  # noqa: E731
    assert pixels.looks_like_labels(*counted(np.array([[0, 0, 0], [0, 1, 2]], np.uint8)))
    assert not pixels.looks_like_labels(*counted(np.array([[1, 1, 1], [1, 1, 1]], np.uint8)))
    assert not pixels.looks_like_labels(*counted(np.array([[0.0, 0.0], [0.0, 1.0]])))
    assert not pixels.looks_like_labels(*counted(np.arange(64, dtype=np.uint8).reshape(8, 8)))


def test_the_order_of_memory_makes_no_other_image() -> None:
    image = np.random.default_rng(0).integers(-1000, 1000, (77, 91)).astype(np.int16)
    for one in (np.asfortranarray(image), image[::-1][::-1], image.astype(">i2")):
        np.testing.assert_array_equal(pixels.flat_thumbnail(one), pixels.flat_thumbnail(image))


def test_a_packed_volume_takes_its_own_size_and_no_more(tmp_path: Path) -> None:
    volume = np.zeros((128, 128, 128), np.int16)
    volume[3:90, 5, 7] = np.arange(87)
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii.gz")
    proxy = nib.load(tmp_path / "a.nii.gz").dataobj
    tracemalloc.start()
    try:
        read = read_nifti._unpacked(str(tmp_path / "a.nii.gz"), proxy)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(read, volume)
    assert peak < 1.6 * volume.nbytes  # nibabel by itself: twice the volume
