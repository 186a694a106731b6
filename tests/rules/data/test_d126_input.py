"""D126 on what arrives at the network: a window that flattens radiographs."""

from __future__ import annotations

import torch

from patients.region_case import findings, raw_images, region_case
from traindx.checks.data.data_path import data_path
from traindx.finding import Standing


def window(low, high):
    return lambda raw, boxes, split: (((raw.float() - low) / (high - low)).clamp(0, 1), boxes)


def test_a_ct_window_on_twelve_bits_is_demonstrated():
    found = findings(region_case(path=window(-160, 240), raw=raw_images(4096)), data_path, "D126")
    assert [one.standing for one in found] == [Standing.DEMONSTRATED]
    # uniform grey values: 1 - 240 / 4096 of them lie above the window
    assert abs(found[0].numbers["constant"] - (1 - 240 / 4096)) < 0.02


def test_the_full_range_is_silent():
    assert findings(region_case(path=window(0, 4095), raw=raw_images(4096)), data_path, "D126") == []


def test_clipping_percentiles_is_not_a_narrow_window():
    assert findings(region_case(path=window(41, 4055), raw=raw_images(4096)), data_path, "D126") == []


def test_images_that_are_black_and_white_in_the_file_are_not_blamed_on_the_window():
    raw = raw_images(2) * 255
    assert findings(region_case(path=window(100, 150), raw=raw), data_path, "D126") == []


def test_a_collimated_image_keeps_its_black_border():
    raw = raw_images(4096)
    raw[..., :28] = 0
    raw[..., -28:] = 0
    assert findings(region_case(path=window(0, 4095), raw=raw), data_path, "D126") == []
    assert torch.equal(raw[..., :28], torch.zeros_like(raw[..., :28]))
