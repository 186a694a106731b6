"""One rigid motion is fitted, in closed form; images are looked up where it says; edges tell of shifts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from traindx.errors import InputError
from traindx.recipes.fusion.alignment import Aligner, correlation, edge_correlation, moved, rigid
from traindx.recipes.fusion.model import Denoiser


def test_the_fit_is_that_of_scipy_to_noisy_and_weighted_shifts():
    torch.manual_seed(0)
    shifts, weight = torch.randn(1, 2, 9, 11, dtype=torch.float64), torch.rand(1, 1, 9, 11, dtype=torch.float64)
    place = np.stack(np.meshgrid(np.arange(9.0), np.arange(11.0), indexing="ij"), -1).reshape(-1, 2)
    target = place + shifts[0].movedim(0, -1).reshape(-1, 2).numpy()
    w = weight.numpy().ravel()
    middle, goal = (np.average(points, axis=0, weights=w) for points in (place, target))
    flat = [np.pad(points, ((0, 0), (0, 1))) for points in (target - goal, place - middle)]
    heavy = np.append(w, 1e9)  # the axis across the slice stays where it is
    rotation, _ = Rotation.align_vectors(*(np.vstack((points, [0, 0, 1])) for points in flat), weights=heavy)
    wanted = rotation.apply(flat[1])[:, :2] + goal - place
    found = rigid(shifts, weight)[0].movedim(0, -1).reshape(-1, 2).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_images_are_looked_up_as_scipy_looks_them_up():
    torch.manual_seed(0)
    image, shifts = torch.rand(1, 1, 10, 14), 2 * torch.randn(1, 2, 10, 14)
    place = np.stack(np.meshgrid(np.arange(10.0), np.arange(14.0), indexing="ij"))
    wanted = ndimage.map_coordinates(image[0, 0].numpy(), place + shifts[0].numpy(), order=1, mode="nearest")
    np.testing.assert_allclose(moved(image, shifts)[0, 0], wanted, atol=1e-4)


def test_correlation_is_highest_at_the_shift_between_images():
    torch.manual_seed(0)
    first = torch.randn(1, 16, 12, 12)
    second = first.roll((2, -1), (2, 3))
    best = int(correlation(first, second, 2)[0, :, 6, 6].argmax())
    assert divmod(best, 5) == (4, 1)  # 2 rows down, 1 column left of the middle of 5 x 5


def test_only_slices_are_aligned_and_without_it_nothing_is_added():
    with pytest.raises(InputError, match="blocks"):
        Denoiser(3, align=True)
    assert not any(name.startswith("align") for name in Denoiser(2, channels=8).state_dict())


def test_edges_of_opposite_contrast_correlate_at_the_shift_between_them():
    draw = np.random.default_rng(0)
    image = torch.tensor(ndimage.gaussian_filter(draw.normal(size=(64, 64)), 2), dtype=torch.float32)[None, None]
    image = image / image.std()
    found = edge_correlation(-image, image.roll((4, -2), (2, 3))).mean(dim=(2, 3))[0]
    assert divmod(int(found.argmax()), 9) == (4 + 2, 4 - 1)  # in steps of two pixels from the middle of 9 x 9


def test_gradients_reach_every_weight():
    torch.manual_seed(0)
    aligner = Aligner()
    ct, mr = torch.rand(2, 2, 1, 32, 32).unbind(0)
    back, motion, _ = aligner(ct, mr)
    assert back.shape == mr.shape
    (motion.square().mean() + back.mean()).backward()
    assert all(value.grad is not None and bool(value.grad.abs().sum() > 0) for value in aligner.parameters())
