"""Parts of the cascades against closed forms, nanodrr and MONAI."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from traindx.errors import InputError
from traindx.recipes.xray2ct.cascade import losses
from traindx.recipes.xray2ct.cascade.augmentation import Augmentation
from traindx.recipes.xray2ct.cascade.cascade import Cascade, prior_of
from traindx.recipes.xray2ct.cascade.ladder import at_size, coarsened, ladder, refined
from traindx.recipes.xray2ct.cascade.perceptual import PerceptualLoss
from traindx.recipes.xray2ct.cascade.projector import Projector
from traindx.recipes.xray2ct.cascade.stage import Agreement, DiffusionStage, RegressionStage
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.radiograph import MU_WATER_PER_MM, line_integral, mu_from_hu, to_network

GEOMETRY = ConeGeometry((16, 16, 16), (20.0, 22.0, 18.0), (16, 16))
TINY = {"patch": 1, "widths": (8, 8), "depth": 1, "heads": 2, "encoder_channels": 4, "lifted": 4, "condition": 8}
WINDOW = HounsfieldWindow()


@pytest.fixture
def volumes():
    draw = torch.Generator().manual_seed(0)
    hu = torch.rand(2, 1, 4, 4, 4, generator=draw) * 1500 - 1000
    return WINDOW.encode(refined(hu, 16))


@pytest.fixture
def radiographs(volumes):
    mu = mu_from_hu(WINDOW.decode(volumes))
    return {view: to_network(line_integral(mu, view, GEOMETRY)) for view in VIEWS}


@pytest.mark.parametrize("view", VIEWS)
def test_the_fast_projector_agrees_with_nanodrr(view, volumes):
    geometry = ConeGeometry((16, 16, 16), (20.0, 22.0, 18.0), (20, 24), 900.0, 1100.0)  # a strong cone
    mu = mu_from_hu(WINDOW.decode(volumes))
    fast, reference = Projector(geometry, VIEWS)(mu, view), line_integral(mu, view, geometry)
    assert float((fast - reference).abs().mean() / reference.mean()) < 0.02  # at the border both cut voxels differently
    inside = (slice(None), slice(None), slice(6, 14), slice(8, 16))
    assert float((fast - reference)[inside].abs().max() / reference[inside].mean()) < 0.005


@pytest.mark.parametrize("view", VIEWS)
def test_the_fast_projector_measures_path_lengths(view):
    axis = 3 if view == "frontal" else 4
    mu = torch.full((1, 1, 16, 16, 16), MU_WATER_PER_MM)
    centre = float(Projector(GEOMETRY, VIEWS)(mu, view)[0, 0, 7:9, 7:9].mean())
    assert centre == pytest.approx(MU_WATER_PER_MM * 16 * GEOMETRY.spacing_mm[axis - 2], rel=2e-3)


def test_agreement_is_zero_at_the_truth_and_pulls_towards_it(volumes):
    same = Agreement(GEOMETRY, VIEWS, WINDOW)
    mu = mu_from_hu(WINDOW.decode(volumes))
    given = {view: to_network(same.projector(mu, view)) for view in VIEWS}
    assert float(same(volumes, given)) < 1e-10
    away = (volumes * 0.8).requires_grad_()
    same(away, given).backward()
    towards = (volumes - away.detach()).sign()
    assert float((away.grad.sign() == -towards).float().mean()) > 0.5
    assert (away.grad != 0).float().mean() > 0.9
    swapped = {"frontal": given["lateral"], "lateral": given["frontal"]}
    assert float(same(volumes, swapped)) > 1e-4


def test_ssim_is_that_of_monai(volumes):
    from monai.losses import SSIMLoss

    other = volumes + 0.1 * torch.randn_like(volumes)
    reference = SSIMLoss(3, data_range=2.0, kernel_type="uniform", win_size=7)(other, volumes)
    assert float(1 - losses.ssim(other, volumes)) == pytest.approx(float(reference), abs=1e-4)


def test_every_term_is_zero_at_the_truth_and_grows_away_from_it(volumes, radiographs):
    stage = RegressionStage(GEOMETRY, WINDOW, **TINY)
    weights = losses.LossWeights(1.0, 0.5, 0.15, 0.1, 0.1, 0.0, 1.0)

    def terms(prediction):
        return losses.regression_loss(stage, prediction, volumes, radiographs, weights)

    at, near, far = terms(volumes), terms(volumes * 0.9), terms(volumes * 0.5)
    assert set(at) == {"absolute", "squared", "structure", "gradient", "spectrum", "reprojection"}
    for name in at:
        assert float(at[name]) < 2e-3, name  # the radiographs are nanodrr's, the term's own are the fast projector's
        assert at[name] < near[name] < far[name], name
    doubled = losses.regression_loss(
        stage,
        torch.cat([volumes, volumes]) * 0.9,
        torch.cat([volumes, volumes]),
        {view: torch.cat([image, image]) for view, image in radiographs.items()},
        weights,
    )
    for name in near:  # none depends on how many volumes are in a batch
        assert float(doubled[name]) == pytest.approx(float(near[name]), rel=1e-4)
    with pytest.raises(InputError, match="perceptual"):
        losses.regression_loss(stage, volumes, volumes, radiographs, losses.LossWeights(perceptual=0.1))


def test_the_spectral_term_weighs_high_frequencies_more():
    """A checkerboard against a half wave of the same energy; a mask shifted by half would turn them round."""
    axis = torch.arange(16.0)
    low = torch.cos(2 * torch.pi * axis / 16).view(1, 1, 16, 1, 1).expand(1, 1, 16, 16, 16)
    high = torch.cos(torch.pi * axis).view(1, 1, 16, 1, 1).expand(1, 1, 16, 16, 16) / 2**0.5
    zero = torch.zeros(1, 1, 16, 16, 16)
    slow, fast = (float(losses.spectral_difference(wave, zero)) for wave in (low, high))
    assert fast > 4 * slow > 0
    assert float(losses.spectral_difference(zero + 0.3, zero)) < 1e-5  # the mean counts nothing


def test_perceptual_weights_are_loaded_or_refused(tmp_path, volumes):
    shapes = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
    state = {f"features.{k}.weight": torch.randn(*shape, 3, 3) * 0.05 for k, shape in shapes.items()}
    state |= {f"features.{k}.bias": torch.zeros(shape[0]) for k, shape in shapes.items()}
    torch.save(state, tmp_path / "vgg.pt")
    loss = PerceptualLoss(tmp_path / "vgg.pt", slices=1)
    assert torch.equal(loss.layers["7"].weight, state["features.7.weight"])
    prediction = (volumes * 0.5).requires_grad_()
    assert float(loss(volumes, volumes)) == 0.0
    loss(prediction, volumes).backward()
    assert prediction.grad is not None
    assert prediction.grad.abs().sum() > 0
    del state["features.14.bias"]
    torch.save(state, tmp_path / "short.pt")
    with pytest.raises(InputError, match=r"features.14.bias is missing"):
        PerceptualLoss(tmp_path / "short.pt")
    with pytest.raises(InputError, match="cannot be read"):
        PerceptualLoss(tmp_path / "absent.pt")


def test_a_mirror_image_is_mirrored_in_its_frontal_radiograph(volumes):
    only_flip = Augmentation(1.0, 0, 0, 0, 0, 0)
    hu = WINDOW.decode(volumes)
    flipped = only_flip(hu)
    torch.testing.assert_close(flipped, hu.flip(4), rtol=0, atol=0.1)
    projector = Projector(GEOMETRY, VIEWS)
    there, back = projector(mu_from_hu(flipped), "frontal"), projector(mu_from_hu(hu), "frontal").flip(3)
    torch.testing.assert_close(there, back, rtol=0, atol=1e-3)


def test_augmentation_moves_volumes_and_nothing_at_all_keeps_them(volumes):
    hu = WINDOW.decode(volumes)
    torch.testing.assert_close(Augmentation(0, 0, 0, 0, 0, 0)(hu), hu, rtol=0, atol=0.1)
    torch.manual_seed(0)
    one, other = Augmentation()(hu), Augmentation()(hu)
    assert not torch.equal(one, other)
    assert float(one.min()) >= -1000 * 1.01
    shifted = Augmentation(0, 0, 0, 0.3, 0, 0)(torch.full((1, 1, 8, 8, 8), -200.0))
    torch.testing.assert_close(shifted, torch.full_like(shifted, -200.0))  # beyond the border the body goes on


def test_sizes_of_stages_are_checked():
    assert ladder((16, 32, 64)) == (16, 32, 64)
    for wrong in ((16, 64), (32, 16), (), (2, 4)):
        with pytest.raises(InputError, match="voxels a side"):
            ladder(wrong)
    coarse = at_size(GEOMETRY, 8)
    assert coarse.extent_mm == GEOMETRY.extent_mm
    assert coarse.pixel_mm == GEOMETRY.pixel_mm


def test_a_coarser_volume_has_the_same_radiograph(volumes):
    mu = mu_from_hu(WINDOW.decode(volumes))
    fine = Projector(GEOMETRY, ("frontal",))(mu, "frontal")
    coarse = Projector(at_size(GEOMETRY, 8), ("frontal",))(coarsened(mu, 8), "frontal")
    assert float((fine - coarse)[..., 4:-4, 4:-4].abs().mean() / fine.mean()) < 0.03


@pytest.mark.parametrize("views", [VIEWS, ("frontal",), ("lateral",)])
def test_a_stage_starts_near_what_it_refines_and_every_parameter_learns(views, volumes, radiographs):
    torch.manual_seed(0)
    stage = RegressionStage(GEOMETRY, WINDOW, views=views, **TINY)
    earlier = coarsened(volumes, 8)
    out = stage(earlier, radiographs)
    assert out.shape == volumes.shape
    assert float((out - refined(earlier, 16)).detach().std()) < 0.5
    out.square().mean().backward()
    silent = [name for name, weight in stage.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert silent == []


def test_views_are_not_exchangeable(volumes, radiographs):
    stage = RegressionStage(GEOMETRY, WINDOW, **TINY).eval()
    swapped = {"frontal": radiographs["lateral"], "lateral": radiographs["frontal"]}
    with torch.no_grad():
        one, other = stage(None, radiographs), stage(None, swapped)
    assert float((one - other).abs().mean()) > 1e-3


def test_checkpointing_changes_memory_and_nothing_else(volumes, radiographs):
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        stage = RegressionStage(GEOMETRY, WINDOW, checkpointing=checkpointing, **TINY)
        stage(None, radiographs).square().mean().backward()
        gradients.append(stage.network.enter.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_an_earlier_stage_stays_what_it_was(volumes, radiographs):
    """Even one with running statistics and dropout, in training mode, under an optimiser with weight decay."""
    torch.manual_seed(0)
    first = RegressionStage(at_size(GEOMETRY, 8), WINDOW, **TINY)
    first.network.enter = nn.Sequential(first.network.enter, nn.BatchNorm3d(8), nn.Dropout(0.5))
    cascade = Cascade([first, RegressionStage(GEOMETRY, WINDOW, **TINY)])
    before = {name: value.clone() for name, value in cascade.state_dict().items()}
    optimizer = torch.optim.AdamW(cascade.parameters(), 1e-2, weight_decay=0.1)
    cascade.train()
    for _ in range(2):
        optimizer.zero_grad()
        cascade(radiographs).sub(volumes).square().mean().backward()
        optimizer.step()
    after = cascade.state_dict()
    assert [
        name for name in before if name.startswith("stages.0.") and not torch.equal(before[name], after[name])
    ] == []
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("stages.1."))


def test_the_prior_of_a_stage(volumes):
    mean, deviation = prior_of(volumes, 0, (8, 16))
    torch.testing.assert_close(mean, coarsened(volumes, 8).mean(0, keepdim=True))
    assert deviation == pytest.approx(float((coarsened(volumes, 8) - mean).square().mean()) ** 0.5)
    assert 0 < prior_of(volumes, 1, (8, 16))[1] < float(volumes.std())


def test_the_noise_of_v_passes_a_diffusion_stage_at_full_resolution(volumes, radiographs):
    """Noise that no token grid can hold must leave with the factor that v demands, a / sigma at small errors."""
    torch.manual_seed(0)
    stage = DiffusionStage(GEOMETRY, WINDOW, prior=(volumes.mean(0, keepdim=True), 0.1), **TINY).eval()
    alpha_bar = torch.tensor([0.5, 0.2])
    extra = 0.1 * torch.randn(2, 1, 16, 16, 16)
    extra = extra - refined(coarsened(extra, 4), 16)
    x_t = torch.randn(2, 1, 16, 16, 16)
    start = stage.start(None, 2)
    with torch.no_grad():
        given = (torch.tensor([0.3, 0.6]), alpha_bar, start, radiographs)
        change = stage(x_t + extra, *given) - stage(x_t, *given)
    transfer = (change * extra).flatten(1).sum(1) / extra.square().flatten(1).sum(1)
    torch.testing.assert_close(transfer, (alpha_bar / (1 - alpha_bar)).sqrt(), rtol=0.25, atol=0)
