from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traindx.errors import InputError
from traindx.recipes.segmentation.fingerprint import (
    CaseFacts,
    Fingerprint,
    canonical,
    fingerprint,
    from_canonical,
    measure,
)
from traindx.recipes.segmentation.labels import LabelMeaning
from traindx.recipes.segmentation.planning import Machine, plan, plan_levels, plan_patch
from traindx.recipes.segmentation.sources import CaseRef, RawCase

MEANING = LabelMeaning.parse({"background": 0, "a": 1, "ignore": 2})


def facts(shape: tuple[int, int, int], spacing: tuple[float, float, float], low: float = 0.0) -> Fingerprint:
    case = CaseFacts(
        name="c",
        shape=shape,
        spacing=spacing,
        axes="RAS",
        channels=1,
        intensity=((low, low, 0.0, 900.0, 1500.0),),
        foreground_intensity=((-100.0, 300.0, 40.0, 80.0),),
        labels={0: 10, 1: 5},
    )
    return Fingerprint(cases=(case,))


def test_hippocampus_sized_volumes_get_nnunets_patch() -> None:
    # nnU-Net v2 plans 40 x 56 x 40 for the Decathlon hippocampus (median 35 x 50 x 35 voxels of 1 mm)
    made = plan(facts((35, 50, 35), (1, 1, 1)), MEANING, Machine(cores=2))
    assert made.patch == (40, 56, 40)
    assert made.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    assert made.filters == (16, 32, 64, 128)


def test_thick_slices_are_not_halved_until_in_plane_has_caught_up() -> None:
    _, kernels, strides = plan_levels((16, 128, 128), (5.0, 1.0, 1.0), 5)
    assert strides[1][0] == 1
    assert kernels[0] == (1, 3, 3)
    assert strides[-1][0] == 2


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(4, 300)] * 3),
    st.tuples(*[st.floats(0.3, 6.0)] * 3),
    st.integers(8_000, 3_000_000),
)
def test_patches_fit_the_strides_and_the_budget(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], budget: int
) -> None:
    small = plan_patch(shape, budget)
    assert np.prod(small) <= 1.4 * budget + 1000  # rounding up of three edges
    patch, kernels, strides = plan_levels(small, spacing, 6)
    divisor = np.prod(np.array(strides), axis=0)
    assert all(p % d == 0 for p, d in zip(patch, divisor, strict=True))
    assert len(kernels) == len(strides)
    assert all(p // d >= 1 for p, d in zip(patch, divisor, strict=True))


def test_hounsfield_units_are_recognised_and_clipped_to_the_foreground() -> None:
    made = plan(facts((64, 64, 64), (1, 1, 1), low=-1000.0), MEANING, Machine())
    assert made.normalisation[0].kind == "ct"
    assert (made.normalisation[0].low, made.normalisation[0].high) == (-100.0, 300.0)
    assert plan(facts((64, 64, 64), (1, 1, 1)), MEANING, Machine()).normalisation[0].kind == "zscore"


def test_label_values_without_a_meaning_stop_the_plan() -> None:
    stranger = facts((35, 50, 35), (1, 1, 1))
    case = stranger.cases[0].model_copy(update={"labels": {0: 1, 255: 3}})
    with pytest.raises(InputError, match="255"):
        plan(stranger.model_copy(update={"cases": (case,)}), MEANING, Machine())


def test_a_fingerprint_measures_and_survives_json(tmp_path) -> None:  # type: ignore[no-untyped-def]
    image = np.zeros((1, 4, 5, 6), np.float32)
    image[0, :2] = 10
    label = np.zeros((4, 5, 6), np.uint8)
    label[0], label[1] = 1, 2
    made = fingerprint([CaseRef("x", "x", lambda: RawCase(image, label, np.diag([2.0, 1, 3, 1])))], meaning=MEANING)
    case = made.cases[0]
    assert case.labels == {0: 60, 1: 30, 2: 30}
    assert case.spacing == (2.0, 1.0, 3.0)
    assert case.foreground_intensity[0][2] == 10  # ignore (value 2) is not foreground, but has the same intensity
    made.save(tmp_path / "f.json")
    assert Fingerprint.load(tmp_path / "f.json") == made


def test_unlabelled_voxels_do_not_count_as_foreground() -> None:
    image = np.zeros((1, 4, 4, 4), np.float32)
    label = np.zeros((4, 4, 4), np.uint8)
    label[0], image[0, 0] = 1, 10
    label[1], image[0, 1] = 2, 1000
    assert measure("x", RawCase(image, label, np.eye(4)), MEANING).foreground_intensity[0][2] == 10


def test_unreadable_and_odd_cases_are_left_out_with_a_reason() -> None:
    def broken() -> RawCase:
        raise InputError("cannot be read")

    good = RawCase(np.zeros((1, 3, 3, 3), np.float32), np.ones((3, 3, 3), np.uint8), np.eye(4))
    nan = RawCase(np.full((1, 3, 3, 3), np.nan, np.float32), good.label, np.eye(4))
    half = RawCase(good.image, np.full((3, 3, 3), 0.5), np.eye(4))
    refs = [
        CaseRef(name, name, reader)
        for name, reader in {"a": lambda: good, "b": broken, "c": lambda: nan, "d": lambda: half}.items()
    ]
    made = fingerprint(refs)
    assert [case.name for case in made.cases] == ["a"]
    reasons = dict(made.unreadable)
    assert "cannot be read" in reasons["b"]
    assert "not finite" in reasons["c"]
    assert "nearest neighbour" in reasons["d"]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["LPS", "RAS", "PIR", "SLA", "AIL", "IPR"]), st.integers(0, 100))
def test_reorientation_agrees_with_nibabel_and_is_undone(axes: str, seed: int) -> None:
    codes = nib.orientations.axcodes2ornt(tuple(axes))
    affine = nib.orientations.inv_ornt_aff(codes, (4, 5, 6)) @ np.diag([1.0, 2.0, 3.0, 1.0])
    image = np.random.default_rng(seed).normal(size=(2, 4, 5, 6)).astype(np.float32)
    raw = RawCase(image, image[0] > 0, affine)
    turned = canonical(raw)
    reference = nib.as_closest_canonical(nib.Nifti1Image(image[1], affine))
    assert np.array_equal(turned.image[1], np.asarray(reference.dataobj))
    assert np.allclose(turned.affine, reference.affine)
    assert np.array_equal(from_canonical(turned.image, affine), image)
