from __future__ import annotations

import numpy as np
import pytest

from traindx.recipes.segmentation.augmentation import Augmentation
from traindx.recipes.segmentation.labels import IGNORE
from traindx.recipes.segmentation.patches import PatchDataset, SampleNumbers, cut
from traindx.recipes.segmentation.preprocessing import PreparedCase


def case(shape: tuple[int, int, int] = (20, 20, 20), name: str = "a") -> PreparedCase:
    label = np.zeros(shape, np.int8)
    label[10:18, 10:18, 10:18] = 1
    label[2, 3, 4] = 2
    label[:2] = IGNORE
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    return PreparedCase(name, name, image, label, np.array([True, True]), (1.0, 1.0, 1.0))


def test_a_patch_beyond_the_volume_is_not_labelled_there() -> None:
    c = case()
    assert c.label is not None
    image, label = cut(c.image, c.label, (-3, 17, 5), (8, 8, 8))
    assert (label[:3] == IGNORE).all()
    assert (label[:, 3:] == IGNORE).all()
    assert not image[:, :3].any()
    assert np.array_equal(image[0, 3:, :3], c.image[0, :5, 17:, 5:13])


def test_samples_follow_from_seed_and_number_alone() -> None:
    def dataset(seed: int) -> PatchDataset:
        return PatchDataset([case(), case(name="b")], (8, 8, 8), augmentation=Augmentation(flips=(0,)), seed=seed)

    first, again, other = dataset(3), dataset(3), dataset(4)
    for number in (0, 1, 7, 1000):
        _ = again[number + 1]  # whatever was drawn before
        assert all(np.array_equal(first[number][k], again[number][k]) for k in ("image", "label"))
    assert not np.array_equal(first[7]["image"], other[7]["image"])
    assert not np.array_equal(first[7]["image"], first[9]["image"])


def test_small_classes_are_drawn_as_often_as_large_ones() -> None:
    dataset = PatchDataset([case()], (6, 6, 6), foreground=1.0)
    has_small = np.mean([bool((dataset[n]["label"] == 2).any()) for n in range(200)])
    # class 2 is one voxel of 8000; a uniform draw would show it in under 3 % of the patches
    assert 0.4 < has_small < 0.65


def test_patches_are_centred_on_labelled_voxels() -> None:
    c = case()
    assert c.label is not None
    c.label[:15] = IGNORE
    dataset = PatchDataset([c], (4, 4, 4), foreground=0.0)
    assert all((dataset[n]["label"] != IGNORE).any() for n in range(50))


def test_an_epoch_shows_every_case_and_a_resumed_run_goes_on_where_it_stopped() -> None:
    whole = [*SampleNumbers(7, 21, seed=1)]
    assert sorted(n % 7 for n in whole[:7]) == list(range(7))
    assert len(set(whole)) == 21
    resumed = [*SampleNumbers(7, 11, seed=1, position=lambda: 10)]
    assert resumed == whole[10:]


def test_augmentation_moves_image_and_label_together() -> None:
    c = case((24, 24, 24))
    assert c.label is not None
    marker = (c.label > 0).astype(np.float32)[None]
    move = Augmentation(probability=1.0, strength=0.0, flips=(0, 1, 2))
    for seed in range(5):
        image, label = move(marker, c.label, seed)
        inside = label != IGNORE
        assert np.mean((image[0] > 0.5)[inside] == (label > 0)[inside]) > 0.99
        assert set(np.unique(label)) <= {IGNORE, 0, 1, 2}


def test_what_moves_in_from_outside_is_not_labelled() -> None:
    label = np.zeros((16, 16, 16), np.int8)
    move = Augmentation(probability=1.0, strength=0.0, rotation=45)
    moved = [move(np.ones((1, 16, 16, 16), np.float32), label, seed) for seed in range(4)]
    assert all((one[1] == IGNORE).any() for one in moved)
    for image, moved_label in moved:
        assert image[0][moved_label == 0].mean() > 0.95


def test_intensity_changes_leave_the_label_alone_and_change_the_image() -> None:
    c = case()
    assert c.label is not None
    change = Augmentation(probability=0.0, strength=3.0)
    changed = [change(c.image, c.label, seed) for seed in range(10)]
    assert all(np.array_equal(label, c.label) for _, label in changed)
    assert sum(not np.allclose(image, c.image) for image, _ in changed) >= 5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flips_are_drawn_half_of_the_time(axis: int) -> None:
    label = np.zeros((4, 4, 4), np.int8)
    label[(slice(None),) * axis + (0,)] = 1
    flip = Augmentation(probability=0.0, strength=0.0, flips=(axis,))
    kept = np.mean([np.array_equal(flip(label[None].astype(np.float32), label, seed)[1], label) for seed in range(200)])
    assert 0.4 < kept < 0.6
