"""Radiographs and back-projection against closed forms and a second renderer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from traindx.errors import InputError
from traindx.recipes.xray2ct.encoder import back_project
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
from traindx.recipes.xray2ct.radiograph import (
    MU_WATER_PER_MM,
    from_network,
    hu_from_mu,
    line_integral,
    mu_from_hu,
    to_network,
)

GEOMETRY = ConeGeometry((24, 24, 24), (10.0, 12.0, 11.0), (24, 24))
FAR = ConeGeometry((24, 24, 24), (10.0, 12.0, 11.0), (24, 24), 2e5, 2e5 + 300, 1.0)
DEPTH_AXIS = {"frontal": 3, "lateral": 4}  # of (B, 1, D, H, W)


@pytest.mark.parametrize("view", VIEWS)
def test_central_ray_of_a_slab_is_attenuation_times_thickness(view):
    axis, thickness = DEPTH_AXIS[view], 8
    mu = torch.zeros(1, 1, 24, 24, 24)
    mu.narrow(axis, 8, thickness).fill_(MU_WATER_PER_MM)
    centre = line_integral(mu, view, GEOMETRY)[0, 0, 11:13, 11:13]
    expected = MU_WATER_PER_MM * thickness * GEOMETRY.spacing_mm[axis - 2]
    torch.testing.assert_close(centre, torch.full((2, 2), expected), rtol=2e-3, atol=0)


@pytest.mark.parametrize("view", VIEWS)
def test_a_source_far_away_sums_along_the_axis(view):
    """Parallel rays through voxel centres: the line integral is the plain sum times the voxel size."""
    mu = torch.rand(2, 1, 24, 24, 24, generator=torch.Generator().manual_seed(0)) * MU_WATER_PER_MM
    axis = DEPTH_AXIS[view]
    expected = mu.sum(dim=axis) * FAR.spacing_mm[axis - 2]
    geometry = FAR
    if view == "frontal":  # the detector is as wide as the longer of H and W, so make W fill it
        geometry = ConeGeometry((24, 24, 24), (10.0, 11.0, 12.0), (24, 24), 2e5, 2e5 + 300, 1.0)
        expected = mu.sum(dim=axis) * geometry.spacing_mm[axis - 2]
    rendered = line_integral(mu, view, geometry)
    error = (rendered - expected).abs().mean() / expected.mean()
    assert error < 0.01
    mirrored = (rendered.flip(-1) - expected).abs().mean() / expected.mean()
    assert mirrored > 5 * error


def test_volumes_of_a_batch_do_not_see_each_other():
    mu = torch.rand(3, 1, 24, 24, 24) * MU_WATER_PER_MM
    together = line_integral(mu, "lateral", GEOMETRY)
    alone = torch.cat([line_integral(one[None], "lateral", GEOMETRY) for one in mu])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("view", VIEWS)
@settings(max_examples=15, deadline=None)
@given(voxel=st.tuples(*[st.integers(4, 19)] * 3))
def test_back_projection_looks_where_the_renderer_puts_a_voxel(view, voxel):
    """nanodrr and the lifting grid derive the rays on their own; they must agree on every voxel."""
    mu = torch.zeros(1, 1, 24, 24, 24)
    mu[(0, 0, *voxel)] = 1.0
    image = line_integral(mu, view, GEOMETRY)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    centroid = torch.stack(((image * columns).sum(), (image * rows).sum())) / image.sum()
    column_row = (GEOMETRY.lifting_grid(view)[voxel] + 1) * 12 - 0.5
    torch.testing.assert_close(centroid, column_row, rtol=0, atol=0.3)  # pixels; sampling steps are half a voxel


def test_lifted_features_are_constant_along_rays_and_follow_the_view():
    ramp = torch.arange(24.0).expand(1, 1, 24, 24)  # grows with the column
    frontal = back_project(ramp, GEOMETRY.lifting_grid("frontal"))
    lateral = back_project(ramp, GEOMETRY.lifting_grid("lateral"))
    assert (frontal.diff(dim=4)[..., 2:-2] > 0).all()  # columns of the frontal view run along W
    assert (lateral.diff(dim=3)[..., 2:-2, :] > 0).all()  # of the lateral one along H
    middle = frontal[0, 0, 12, :, 12]
    assert float(middle.max() - middle.min()) < 0.6  # the ray through the middle stays in its column


def test_coarser_geometry_keeps_the_rays():
    coarse = GEOMETRY.coarser(2)
    assert coarse.extent_mm == GEOMETRY.extent_mm
    assert coarse.pixel_mm == tuple(2 * side for side in GEOMETRY.pixel_mm)
    fine = GEOMETRY.lifting_grid("lateral")
    pooled = fine.view(12, 2, 12, 2, 12, 2, 2).mean(dim=(1, 3, 5))
    torch.testing.assert_close(coarse.lifting_grid("lateral"), pooled, rtol=0, atol=1e-3)


def test_the_loss_is_zero_at_the_truth_and_its_gradient_reaches_every_voxel_in_view():
    mu = (torch.rand(1, 1, 24, 24, 24) * MU_WATER_PER_MM).requires_grad_()
    truth = line_integral(mu, "frontal", GEOMETRY).detach()
    loss = (line_integral(mu, "frontal", GEOMETRY) - truth).square().sum()
    (gradient,) = torch.autograd.grad(loss, mu)
    assert float(loss.detach()) == 0.0
    assert float(gradient.abs().max()) == 0.0
    (gradient,) = torch.autograd.grad(line_integral(mu, "frontal", GEOMETRY).sum(), mu)
    assert float((gradient > 0).float().mean()) > 0.99


def test_attenuation_of_air_water_and_back():
    hu = torch.tensor([-1000.0, 0.0, 1000.0])
    torch.testing.assert_close(mu_from_hu(hu), torch.tensor([0.0, MU_WATER_PER_MM, 2 * MU_WATER_PER_MM]))
    torch.testing.assert_close(hu_from_mu(mu_from_hu(hu)), hu)
    assert float(mu_from_hu(torch.tensor(-3024.0))) == 0.0
    image = torch.tensor([0.0, 2.0, 7.4])
    torch.testing.assert_close(from_network(to_network(image)), image)


def test_wrong_geometry_is_refused_with_both_values():
    with pytest.raises(InputError, match="inside the volume"):
        ConeGeometry((10, 10, 10), (400.0, 1.0, 1.0), (10, 10))
    with pytest.raises(InputError, match="oblique"):
        GEOMETRY.world_from_camera("oblique")
    with pytest.raises(InputError, match="5 does not divide"):
        GEOMETRY.coarser(5)
