"""MR that moved, noise and a field of view that ends: drawn as stated, against the laws that they follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from traindx.errors import InputError
from traindx.recipes.fusion.alignment import moved
from traindx.recipes.fusion.data import DataOptions, Windows, prepare, turned, turned_vectors
from traindx.recipes.fusion.disturbance import Disturbances, Disturbed, disturbed, drawn, of_size
from traindx.recipes.fusion.normalisation import DISPLAY_HU, MR_WHITE
from traindx.recipes.fusion.phantom import phantom
from traindx.recipes.fusion.studies import Study

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])  # (W, H, D)
WHITE = 900.0


@pytest.fixture(scope="module")
def study():
    hu, mr, lesion = phantom(3)
    return Study("p", hu, mr, lesion, AFFINE)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_drawn_changes_nothing(study):
    same = disturbed(study, WHITE, of_size(Disturbances(), seeded(0)))
    np.testing.assert_allclose(same.hu, study.hu, atol=0.05)
    np.testing.assert_allclose(same.mr, study.mr, atol=0.05)


def test_a_motion_is_rigid_and_of_the_size_asked_for():
    for seed in range(5):
        motion = of_size(Disturbances(millimetres=4, degrees=5), seeded(seed))
        assert np.degrees(Rotation.from_matrix(motion.rotation.numpy()).magnitude()) == pytest.approx(5)
        assert float(motion.shift.norm()) == pytest.approx(4)
        points = torch.randn(20, 3, dtype=torch.float64)
        torch.testing.assert_close(motion.shown(motion.source(points)), points)


def test_a_shift_by_whole_voxels_rolls_the_volume_and_leaves_the_ct(study):
    motion = of_size(Disturbances(millimetres=1))
    motion = replace(motion, shift=torch.tensor([3.0, -4.0, 2.0], dtype=torch.float64))  # 1 slice, -2 rows, 1 column
    found = disturbed(study, WHITE, motion)
    wanted = np.roll(study.mr, (-1, 2, -1), (0, 1, 2))
    inside = (slice(1, -1), slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(found.mr[inside], wanted[inside], rtol=1e-3, atol=0.1)
    np.testing.assert_allclose(found.hu, study.hu, atol=0.05)


def test_the_shift_leads_to_where_mr_shows_what_belongs_there():
    """A motion within slices is taken back, but for the blur of two interpolations."""
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    smooth = 500 + 300 * torch.sin(rows / 4) * torch.cos(columns / 5)
    hu, lesion = np.zeros((5, 40, 40), np.float32), np.zeros((5, 40, 40), bool)
    study = Study("s", hu, smooth.expand(5, 40, 40).numpy().copy(), lesion, AFFINE)
    angle = Rotation.from_rotvec([np.radians(5), 0, 0]).as_matrix()  # about the axis across slices
    motion = replace(
        of_size(Disturbances()),
        rotation=torch.from_numpy(angle),
        shift=torch.tensor([0.0, 3.0, -2.0], dtype=torch.float64),
    )
    _, mr, shift = Disturbed(study, WHITE).block(motion, (2, 0, 0), (1, 40, 40))
    back = moved(mr[None], shift[:, 0][None])[0, 0]
    inside = (slice(8, -8), slice(8, -8))
    before = (mr[0] - smooth)[inside].abs().mean()
    after = (back - smooth)[inside].abs().mean()
    assert float(before) > 50
    assert float(after) < 6


def test_noise_is_gaussian_in_ct_and_rician_in_mr(study):
    """In air Rician noise is Rayleigh's, with mean sd * sqrt(pi / 2); the Gaussian noise of CT has the stated sd."""
    empty = Study("e", study.hu, np.zeros_like(study.mr), study.lesion, AFFINE)
    found = disturbed(empty, WHITE, of_size(Disturbances(noise=0.05), seeded(1)), seeded(2))
    sd = 0.05 * WHITE / MR_WHITE
    assert float(found.mr.mean()) == pytest.approx(sd * np.sqrt(np.pi / 2), rel=0.02)
    assert float((found.hu - study.hu).std()) == pytest.approx(0.05 * (DISPLAY_HU[1] - DISPLAY_HU[0]), rel=0.02)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_the_stated_share_of_the_body_is_missing(study, share):
    found = disturbed(study, WHITE, of_size(Disturbances(missing=share), seeded(4)))
    body = study.hu > -300
    assert ((found.mr == 0) & body).sum() / body.sum() == pytest.approx(share, abs=0.03)


def test_no_more_than_the_most_is_drawn():
    most = Disturbances(6, 5, 0.1, 0.4)
    found = [drawn(most, seeded(seed)) for seed in range(200)]
    assert max(float(one.shift.norm()) for one in found) <= 6
    assert {one.noise > 0 for one in found} == {one.missing > 0 for one in found} == {True, False}
    assert max(one.noise for one in found) <= 0.1


@pytest.mark.parametrize("wrong", [{"noise": -1.0}, {"missing": 1.0}, {"degrees": float("nan")}])
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError):
        Disturbances(**wrong)


@pytest.fixture(scope="module")
def windows():
    options = DataOptions(source="phantom", train=2, val=2, size=48, val_size=64, slices=1)
    return prepare(replace(options, disturbances=Disturbances(6, 6, 0.05, 0.4)))


def test_what_is_asked_for_stays_that_of_the_clean_pair(windows):
    clean = Windows(windows.val.prepared, DataOptions(val_size=64, slices=1), False, windows.val.seen_as)
    found, wanted = windows.val[0], clean[0]
    for name in ("fused", "ct_display", "mr_display", "soft", "bone"):
        assert torch.equal(found[name], wanted[name])
    assert not torch.equal(found["mr"], wanted["mr"])


def test_validation_is_disturbed_alike_every_time_and_training_is_not(windows):
    assert torch.equal(windows.val[1]["mr"], windows.val[1]["mr"])
    first, again = (windows.train.item(0, seeded(0))["mr"] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, windows.train.item(0, seeded(1))["mr"])


@pytest.mark.parametrize("turn", [(quarter, flip) for quarter in range(4) for flip in (False, True)])
def test_vectors_turn_with_their_images(turn):
    """To look a turned image up along turned vectors is to turn what was looked up."""
    image, shifts = torch.rand(1, 1, 12, 12), 3 * torch.randn(1, 2, 12, 12)
    looked_up = moved(image, shifts)[0, 0]
    found = moved(turned(image[0, 0], turn)[None, None], turned_vectors(shifts[0], turn)[None])[0, 0]
    torch.testing.assert_close(found, turned(looked_up, turn), atol=1e-4, rtol=0)
