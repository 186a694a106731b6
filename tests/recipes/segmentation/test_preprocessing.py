from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traindx.errors import InputError
from traindx.recipes.segmentation.labels import LabelMeaning
from traindx.recipes.segmentation.planning import Normalisation, Plan
from traindx.recipes.segmentation.preprocessing import (
    class_map,
    normalise,
    prepare,
    resample,
    resample_label,
    to_file_grid,
)
from traindx.recipes.segmentation.sources import CaseRef, RawCase

PLAN = Plan(
    labels=LabelMeaning.parse({"background": 0, "a": 1, "ignore": 2}),
    patch=(8, 8, 8),
    kernels=((3, 3, 3),) * 2,
    strides=((1, 1, 1), (2, 2, 2)),
    filters=(4, 8),
    spacing=(1.0, 1.0, 1.0),
)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 1e5), st.floats(-1e5, 1e5), st.integers(0, 50))
def test_zscore_forgets_gain_and_offset(gain: float, offset: float, seed: int) -> None:
    base = np.random.default_rng(seed).normal(size=(1, 5, 6, 7)).astype(np.float32)
    raw = (base.astype(np.float64) * gain + offset).astype(np.float32)
    if raw.std() < 1e-2 * abs(offset) * 1e-3:  # float32 cannot hold such a volume
        return
    out = normalise(raw, (Normalisation(),))
    assert abs(out.mean()) < 1e-3
    assert out.std() == pytest.approx(1, abs=1e-2)
    assert np.allclose(out, normalise(base, (Normalisation(),)), atol=0.05 + 1e-3 * abs(offset) / gain)


def test_ct_is_clipped_then_standardised() -> None:
    scheme = Normalisation(kind="ct", mean=40, sd=80, low=-100, high=300)
    out = normalise(np.array([-1000, 40, 120, 3000], np.float32).reshape(1, 4, 1, 1), (scheme,))
    assert out.ravel() == pytest.approx([-140 / 80, 0, 1, 260 / 80])


def test_values_that_are_not_finite_and_wrong_channels_are_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        normalise(np.array([np.nan, 1], np.float32).reshape(1, 2, 1, 1), (Normalisation(),))
    with pytest.raises(InputError, match="2 channels"):
        normalise(np.zeros((2, 2, 2, 2), np.float32), (Normalisation(),))


def test_a_constant_volume_becomes_zero_and_not_nan() -> None:
    assert not normalise(np.full((1, 3, 3, 3), 7, np.float32), (Normalisation(),)).any()


def test_shrinking_averages_white_noise_instead_of_aliasing_it() -> None:
    noise = np.random.default_rng(0).normal(size=(1, 32, 32, 32)).astype(np.float32)
    # the mean of 4^3 independent values has a standard deviation of 1/8
    assert resample(noise, (8, 8, 8)).std() == pytest.approx(1 / 8, rel=0.1)


def test_resampled_labels_hold_no_new_value() -> None:
    label = np.random.default_rng(0).choice([-1, 0, 2], (7, 9, 5)).astype(np.int8)
    assert set(np.unique(resample_label(label, (13, 4, 11)))) <= {-1, 0, 2}


def test_prepare_resamples_image_and_label_together() -> None:
    label = np.zeros((10, 10, 10), np.uint8)
    label[5:] = 1
    image = label[None].astype(np.float32)
    ref = CaseRef("x", "x", lambda: RawCase(image, label, np.diag([2.0, 1, 1, 1]), labelled=()))
    case = prepare(ref, PLAN)
    assert case.image.shape == (1, 20, 10, 10)
    assert case.label is not None
    assert case.label.shape == (20, 10, 10)
    assert np.array_equal(case.image[0] > 0, case.label == 1)
    assert case.labelled.tolist() == [False]


@pytest.mark.parametrize("flip", [1, -1])
def test_probabilities_return_to_the_grid_of_the_file(flip: int) -> None:
    affine = np.array([[0, 0, 2.0, 0], [flip, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]], dtype=float)
    shape = (6, 8, 5)  # file axes are A, S, R
    label = np.zeros(shape, np.uint8)
    label[:3, :4, :2] = 1
    case = prepare(CaseRef("x", "x", lambda: RawCase(label[None].astype(np.float32), label, affine)), PLAN)
    assert case.label is not None
    assert case.image.shape[1:] == (10, 6, 8)
    p = np.stack([case.label == 0, case.label == 1]).astype(np.float32)
    back = to_file_grid(p, shape, affine)
    assert back.shape == (2, *shape)
    assert np.array_equal(class_map(back, None), label)


def test_threshold_one_half_of_two_classes_is_the_likeliest_class() -> None:
    p = np.random.default_rng(0).dirichlet([1, 1], (4, 4, 4)).astype(np.float32)
    p = np.moveaxis(p, -1, 0)
    assert np.array_equal(class_map(p, 0.5), class_map(p, None))
    assert class_map(p, 0.9).sum() < class_map(p, 0.1).sum()
