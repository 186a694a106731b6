"""Orientation, voxel sizes and corner distances, against nibabel and by hand."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from traindx.data import geometry


@pytest.mark.parametrize(
    "code", ["".join(c) for p in itertools.permutations(("LR", "PA", "SI")) for c in itertools.product(*p)]
)
def test_every_orientation_as_nibabel_names_it(code: str) -> None:
    towards = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    affine = np.eye(4)
    affine[:3, :3] = np.array([towards[letter] for letter in code]).T * (2.0, 3.0, 4.0)
    affine[:3, 3] = (10, 11, 12)
    assert "".join(nib.aff2axcodes(affine)) == code
    found, tilt = geometry.orientation_code(geometry.nifti_to_lps(affine)[:, :3])
    assert found == code
    assert tilt == pytest.approx(0.0, abs=1e-5)


@settings(max_examples=80, deadline=None)
@given(st.floats(0, 44), st.sampled_from("xyz"))
def test_tilt_is_the_angle_of_the_rotation(degrees: float, axis: str) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix() @ np.diag([1.0, 2.0, 3.0])
    code, tilt = geometry.orientation_code(geometry.nifti_to_lps(affine)[:, :3])
    assert code == "RAS"
    assert tilt == pytest.approx(degrees, abs=1e-5)
    assert geometry.voxel_sizes(geometry.nifti_to_lps(affine)) == pytest.approx((1.0, 2.0, 3.0))


def test_flat_or_broken_affines_have_no_code() -> None:
    assert geometry.orientation_code(np.zeros((3, 3)))[0] == ""
    assert geometry.orientation_code(np.full((3, 3), np.nan))[0] == ""


def test_packing_keeps_every_bit() -> None:
    affine = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_array_equal(geometry.unpack(geometry.pack(affine)), affine)


def test_corner_distance_of_a_shift_and_of_a_scale() -> None:
    first = np.eye(4)[:3]
    moved = first.copy()
    moved[:, 3] = (3.0, 4.0, 0.0)
    assert geometry.corner_distance(first, moved, (5, 6, 7)) == pytest.approx(5.0)
    scaled = np.diag([1.1, 1.0, 1.0, 1.0])[:3]
    assert geometry.corner_distance(first, scaled, (11, 6, 7)) == pytest.approx(1.0)


def test_normal_of_an_oblique_plane() -> None:
    normal = geometry.slice_normal((1, 0, 0, 0, 0.8, 0.6))
    np.testing.assert_allclose(normal, (0, -0.6, 0.8), atol=1e-12)
