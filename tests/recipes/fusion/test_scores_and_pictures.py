"""Figures of fused images against closed forms, intervals over patients, and pictures whose masks lie right."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from traindx.recipes.fusion import pictures, scores
from traindx.recipes.fusion.normalisation import to_display
from traindx.recipes.kit.estimate import Score


def test_psnr_has_a_fixed_range_and_sees_its_region_only():
    reference = 0.2 * torch.rand(1, 1, 20, 20)  # its own maximum is far below the range
    region = torch.zeros_like(reference)
    region[..., 5:10, 5:10] = 1
    shifted = reference + 0.1
    assert scores.psnr(shifted, reference, region) == pytest.approx(20, abs=1e-3)
    shifted[..., 0, 0] = 50
    assert scores.psnr(shifted, reference, region) == pytest.approx(20, abs=1e-3)
    assert scores.psnr(reference, reference, region) == 60
    assert math.isnan(scores.psnr(reference, reference, 0 * region))


def test_contrast_of_a_lesion_is_in_deviations_of_its_rim():
    image = 0.3 + 0.05 * torch.randn(60, 60, generator=torch.Generator().manual_seed(0))
    lesion = torch.zeros(60, 60)
    lesion[20:40, 20:40] = 1
    image[20:40, 20:40] += 0.2
    assert scores.lesion_contrast(image, lesion, torch.ones(60, 60)) == pytest.approx(4, rel=0.1)
    assert math.isnan(scores.lesion_contrast(image, 0 * lesion, torch.ones(60, 60)))


def test_figures_of_known_images(batch, system):
    index = next(i for i in range(len(batch["id"])) if bool(batch["bone"][i].any() and batch["lesion"][i].any()))
    target = scores.figures(to_display(batch["fused"][index]), batch, index, system.head)
    assert set(target) == set(scores.NAMES)
    assert target["brain_ssim"] == pytest.approx(1, abs=1e-4)
    assert target["bone_ssim"] == pytest.approx(1, abs=1e-4)
    assert target["bone_psnr"] == 60
    ct = scores.figures(batch["ct_display"][index], batch, index)
    mr = scores.figures(batch["mr_display"][index], batch, index)
    assert ct["bone_psnr"] == 60
    assert ct["brain_ssim"] < 0.8
    assert mr["brain_ssim"] == pytest.approx(1, abs=1e-4)
    assert mr["bone_psnr"] < 20
    assert ct["SSIM"] == pytest.approx(mr["SSIM"], abs=1e-6)  # (1 + SSIM(CT, MR)) / 2 either way
    assert math.isnan(ct["lesion_dice"])


def test_the_interval_is_a_bootstrap_over_patients():
    values = np.random.default_rng(0).normal(5, 1, size=30)
    found = Score(tuple(values)).estimate()
    low, high = found.low, found.high
    normal = stats.norm.interval(0.95, values.mean(), values.std() / math.sqrt(30))
    assert (low, high) == pytest.approx(normal, abs=0.08)
    assert math.isnan(Score((1.0,)).estimate().low)
    assert Score((1.0, math.nan, 3.0)).mean == 2


def test_slices_are_averaged_within_patients_first():
    row = dict.fromkeys(scores.NAMES, 1.0)
    rows = [("a", row), ("a", row), ("a", row), ("b", dict.fromkeys(scores.NAMES, 3.0))]
    assert scores.by_patient(rows)["Qabf"].values == (1.0, 3.0)


def test_ranks_are_shared_by_those_who_tie():
    def row(value):
        return dict.fromkeys(scores.SELECTION, Score((value,)))

    assert scores.mean_rank({"a": row(0.9), "b": row(0.9), "c": row(0.1)}) == {"a": 1, "b": 1, "c": 3}


def test_image_and_mask_of_a_panel_are_turned_alike():
    """A marker that is not symmetric, drawn as image and as mask, covers the same pixels of the picture."""
    marker = torch.zeros(1, 8, 8)
    marker[0, 1:3, 4:8] = 1
    for enlarge in (1, 3):
        image, mask = pictures.plane(marker, enlarge), pictures.plane(marker, enlarge, mask=True)
        assert image.shape == mask.shape == (8 * enlarge, 8 * enlarge)
        assert ((image > 0.5) == (mask > 0.5)).mean() > 0.95
    assert pictures.plane(marker)[1, 6] == 1
    assert pictures.plane(marker)[6, 1] == 0


def test_panels_are_written_with_what_they_show(tmp_path, batch):
    from PIL import Image

    row = {
        "id": "p",
        "MR": batch["mr_display"][0],
        "CT": batch["ct_display"][0],
        "fused": to_display(batch["fused"][0]),
        "bone": batch["bone"][0],
        "lesion": batch["lesion"][0],
    }
    rows = pictures.uniform([pictures.cropped(row)], 48)
    assert rows[0]["MR"].shape == rows[0]["bone"].shape == (1, 48, 48)
    pictures.panels(tmp_path / "a.png", rows, ("MR", "CT", "fused", "regions"), caption="c")
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image).std() > 10
        assert image.width > 3 * image.height / 2
