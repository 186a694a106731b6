"""D119: image and boxes part on their way to the network, or validation is augmented."""

from __future__ import annotations

import torch

from patients.region_case import findings, region_case, straight
from traindx.checks.data.data_path import data_path
from traindx.finding import Standing


def image_only(raw, boxes, split):
    image = raw.float() / 255
    if split == "train" and float(torch.rand(())) < 0.5:
        image = image.flip(-1)
    return image, boxes


def validation_too(raw, boxes, split):
    return straight(raw, boxes, "train")


def crop(raw, boxes, split):
    """A deterministic crop: image and box move together, and validation is the same each time."""
    image = raw.float()[:, 4:-4, 4:-4] / 255
    size = raw.shape[-1]
    moved = ((boxes * size - 4) / (size - 8)).clamp(0, 1)
    return image, moved


def test_a_flip_that_leaves_the_boxes_behind_is_demonstrated():
    found = findings(region_case(path=image_only), data_path, "D119")
    assert [one.standing for one in found] == [Standing.DEMONSTRATED]
    assert found[0].numbers["misplaced"] > 0
    assert "flipped" in found[0].message


def test_validation_with_the_training_path_is_demonstrated():
    found = findings(region_case(path=validation_too), data_path, "D119")
    assert any("validation is augmented" in one.message for one in found)


def test_moving_both_together_is_silent():
    assert findings(region_case(), data_path, "D119") == []


def test_a_deterministic_crop_is_not_an_augmentation():
    assert findings(region_case(path=crop), data_path, "D119") == []


def test_brightness_noise_moves_nothing():
    def noisy(raw, boxes, split):
        image = raw.float() / 255
        return (image * (1 + 0.1 * torch.rand(())) if split == "train" else image), boxes

    assert findings(region_case(path=noisy), data_path, "D119") == []


def test_the_exam_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    findings(region_case(path=image_only), data_path, "D119")
    assert torch.equal(state, torch.get_rng_state())
