"""Transforms as classes: their settings are arguments, and a sample in a dictionary is several arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., dict[str, Any]]

WINDOW = """
class CTWindow:
    def __init__(self, center, width):
        self.center, self.width = center, width
        self.low = center - width

    def __call__(self, image):
        low = {low}
        return ((image - low) / self.width).clip(0, 1)
"""
HU = "np.random.default_rng(0).normal(0, 200, (24, 24))"


@pytest.mark.parametrize(
    ("low", "holds"), [("self.center - self.width / 2", True), ("self.center - self.width", False)]
)
def test_settings_of_an_object(define: Define, low: str, holds: bool) -> None:
    found = define(WINDOW.format(low=low), f"CTWindow(40.0, 400.0)({HU})")
    assert found["intensity-window"].holds is holds
    assert found["intensity-window"].function == "CTWindow"


GAMMA = """
class AdjustGamma:
    def __init__(self, gamma):
        self.gamma = gamma
        self.table = np.linspace(0, 1, 256) ** gamma

    def __call__(self, image):
        return {value}
"""


@pytest.mark.parametrize(("value", "holds"), [("image ** self.gamma", True), ("image ** self.gamma + 0.1", False)])
def test_settings_that_are_changed(define: Define, value: str, holds: bool) -> None:
    source = GAMMA.format(value=value)
    assert define(source, "AdjustGamma(2.0)(np.random.rand(20, 20))")["gamma-of-one"].holds is holds


def test_settings_that_were_used_up_before(define: Define) -> None:
    source = GAMMA.format(value="self.table[(image * 255).astype(int)]")
    assert "gamma-of-one" not in define(source, "AdjustGamma(2.0)(np.random.rand(20, 20))")


SAMPLE = """
class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def __call__(self, sample):
        image, label = sample["image"], sample["label"]
        {how}
"""
CALL = "Normalize(100.0, 20.0)({'image': 100 + 20 * torch.randn(1, 16, 16), 'label': torch.ones(1, 16, 16)})"


@pytest.mark.parametrize(
    ("how", "holds"),
    [
        ("return {'image': (image - self.mean) / self.std, 'label': label}", True),
        ("return {'image': (image - self.mean) / self.std, 'label': label.long()}", True),
        ("return {'image': (image - self.mean) / self.std, 'label': (label > 0).float() * 2}", True),
        ("return {'image': image - self.mean / self.std, 'label': label}", False),
        ("sample['image'] = (image - self.mean) / self.std; return sample", True),
        ("sample['image'] = (image - self.mean) * self.std; return sample", False),
    ],
)
def test_samples_in_a_dictionary(define: Define, how: str, holds: bool) -> None:
    assert define(SAMPLE.format(how=how), CALL)["normalisation-by-given-numbers"].holds is holds


FLIP = """
def hflip(sample):
    return {{"image": sample["image"].flip(-1), "mask": {mask}, "name": sample["name"]}}
"""


@pytest.mark.parametrize(
    ("mask", "keys"), [("sample['mask'].flip(-1)", [True]), ("sample['mask'].roll(1, -1)", [True, False])]
)
def test_each_part_is_one_call(define: Define, mask: str, keys: list[bool]) -> None:
    """One property broken in one part and kept in the other: both are told."""
    call = "hflip({'image': torch.rand(1, 16, 16), 'mask': torch.rand(1, 16, 16), 'name': 'a'})"
    found = define(FLIP.format(mask=mask), call)["flipped-twice"]
    assert found.holds is keys[-1]


PAIR = """
def hflip(image, mask):
    return image.flip(-1), {mask}
"""


@pytest.mark.parametrize(("mask", "holds"), [("mask.flip(-1)", True), ("mask.roll(1, -1)", False)])
def test_images_side_by_side(define: Define, mask: str, holds: bool) -> None:
    call = "hflip(torch.rand(1, 16, 16), torch.rand(1, 16, 16))"
    assert define(PAIR.format(mask=mask), call)["flipped-twice"].holds is holds


def test_other_dictionaries(define: Define) -> None:
    source = "def normalize(config, mean=0.0, std=1.0):\n    return {'rate': 1.0}"
    assert not define(source, "normalize({'rate': 0.1})")


CHANNELS = """
class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def __call__(self, image):
        mean, std = np.array(self.mean), np.array(self.std)
        return {value}
"""


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        ("(image - mean) / std", True),
        ("(image / 255 - mean) / std", True),
        ("((image[:, :, ::-1] - mean) / std).transpose(2, 0, 1)", True),
        ("(image - mean / std)", False),
        ("(image - 255 * mean) / std", False),
        ("(image - mean[::-1]) / std", False),
    ],
)
def test_levels_of_each_channel(define: Define, value: str, holds: bool) -> None:
    call = "Normalize((0.48, 0.45, 0.3), (0.2, 0.21, 0.3))(np.random.rand(16, 18, 3).astype(np.float32))"
    assert define(CHANNELS.format(value=value), call)["normalisation-by-given-numbers"].holds is holds


SCHEDULE = """
class WarmupCosine:
    def __init__(self, optimizer, base, warmup_steps, total_steps):
        self.base, self.warmup_steps, self.total_steps = base, warmup_steps, total_steps
        self.optimizer, self.step_num = optimizer, 7

    def get_lr(self):
        if self.step_num < self.warmup_steps:
            return self.base * self.step_num / self.warmup_steps
        progress = (self.step_num - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return self.base * {value}
"""


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        ("0.5 * (1 + math.cos(math.pi * progress))", True),
        ("0.5 * (1 + math.cos(2 * math.pi * progress))", False),
        ("math.cos(math.pi * progress)", False),
    ],
)
def test_a_step_that_the_object_counts(define: Define, value: str, holds: bool) -> None:
    found = define(SCHEDULE.format(value=value), "WarmupCosine(None, 0.1, 100, 1000).get_lr()")
    assert found["rate-falls-after-its-peak"].holds is holds


def test_a_schedule_whose_class_says_that_it_rises_again(define: Define) -> None:
    source = SCHEDULE.format(value="0.5 * (1 + math.cos(2 * math.pi * progress))").replace(
        "WarmupCosine", "CosineCycles"
    )
    assert not define(source, "CosineCycles(None, 0.1, 100, 1000).get_lr()")
