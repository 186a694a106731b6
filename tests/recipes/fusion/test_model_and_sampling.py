"""The denoiser keeps full resolution and both images; the sampler is DDIM; guidance is bounded; spread is real."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from traindx.errors import InputError
from traindx.recipes.fusion.model import Denoiser, depth_to_space, space_to_depth
from traindx.recipes.fusion.sampling import direction, draw, guided, repeated, roi_energy
from traindx.recipes.kit.diffusion import Process

PROCESS = Process(sampling_steps=10)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Denoiser(2, channels=8)


def call(model, x, ct, mr, t=500):
    step = torch.full((len(x),), t)
    return model(x, PROCESS.network_time(step), PROCESS.alpha_bar(step), ct, mr)


@pytest.mark.parametrize("shape", [(2, 3, 8, 6), (2, 3, 4, 6, 8)])
def test_patches_lose_nothing(shape):
    image = torch.rand(shape)
    assert torch.equal(depth_to_space(space_to_depth(image), 3), image)


def test_the_noise_of_v_passes_at_full_resolution(model):
    """Checkerboard noise, the finest there is, must appear in v with weight a / sigma, whatever the U-Net does."""
    x = torch.randn(1, 1, 32, 32)
    checkers = (-1.0) ** (torch.arange(32)[:, None] + torch.arange(32))
    ct = mr = torch.zeros_like(x)
    with torch.no_grad():
        change = call(model, x + 0.1 * checkers, ct, mr) - call(model, x, ct, mr)
    alpha_bar = PROCESS.alpha_bar(torch.tensor(500))
    wanted = float((alpha_bar / (1 - alpha_bar)).sqrt())
    assert float((change * checkers).mean() / 0.1) == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize("which", ["ct", "mr"])
def test_each_condition_counts_where_it_is(model, which):
    """A change of one pixel of a condition is felt near that pixel most: it is not pooled to a vector."""
    x, images = torch.randn(1, 1, 32, 32), {"ct": torch.rand(1, 1, 32, 32), "mr": torch.rand(1, 1, 32, 32)}
    with torch.no_grad():
        before = call(model, x, **images)
        other = {**images, which: images[which].clone()}
        other[which][0, 0, 16, 16] += 1
        change = (call(model, x, **other) - before).abs()[0, 0]
        flipped = call(model, x, **{**images, which: images[which].flip(-1)})
    assert int(change.argmax()) == 16 * 32 + 16
    assert float((flipped - before).abs().mean()) > 0.05 * float(before.abs().mean())


def test_a_window_gives_what_the_whole_slice_gives_there(model):
    """No layer averages over the image: air around a limb must not change it."""
    x, ct, mr = (torch.rand(1, 1, 128, 128) for _ in range(3))
    with torch.no_grad():
        whole = call(model, x, ct, mr)[..., 32:96, 32:96]
        window = call(model, *(image[..., 32:96, 32:96] for image in (x, ct, mr)))
    middle = (..., slice(28, 36), slice(28, 36))
    assert float((whole[middle] - window[middle]).abs().max()) < 0.02 * float(whole.std())


def test_the_estimate_starts_as_the_average_of_both(model):
    ct, mr = torch.full((1, 1, 32, 32), 0.8), torch.full((1, 1, 32, 32), -0.4)
    with torch.no_grad():
        estimate = model.estimate(torch.randn(1, 1, 32, 32), torch.ones(1), ct, mr)
    assert float(estimate.mean()) == pytest.approx(0.2, abs=0.15)


@pytest.mark.parametrize("prediction", ["v", "epsilon", "sample"])
def test_all_prediction_types_tell_of_one_estimate(prediction):
    torch.manual_seed(0)
    made = Denoiser(2, prediction=prediction, channels=8)
    torch.manual_seed(0)
    reference = Denoiser(2, prediction="sample", channels=8)
    x, ct, mr = (torch.randn(2, 1, 16, 16) for _ in range(3))
    process, t = Process(prediction, sampling_steps=10), torch.tensor([300, 700])
    told = (process.network_time(t), process.alpha_bar(t), ct, mr)
    with torch.no_grad():
        implied = process.to_x0(made(x, *told), x, t)
        torch.testing.assert_close(implied, reference(x, *told), atol=1e-4, rtol=1e-3)


def test_blocks_work_and_sides_that_cannot_be_halved_are_refused():
    made = Denoiser(3, channels=4, levels=2)
    x = torch.randn(1, 1, 8, 16, 16)
    assert made(x, torch.ones(1), torch.zeros(1), x, x).shape == x.shape
    with pytest.raises(InputError, match="divisible by 4"):
        made(x[..., :15], torch.ones(1), torch.zeros(1), x[..., :15], x[..., :15])


class Oracle(nn.Module):
    """The exact denoiser of N(m, s^2), whatever the conditions say."""

    def __init__(self, m: float, s: float) -> None:
        super().__init__()
        self.m, self.s = m, s

    def forward(self, x, time, alpha_bar, ct, mr):
        a, sigma = alpha_bar.sqrt().view(-1, 1, 1, 1), (1 - alpha_bar).sqrt().view(-1, 1, 1, 1)
        k = a * self.s**2 / (a**2 * self.s**2 + sigma**2)
        x0 = self.m + k * (x - a * self.m)
        return (a * x - x0) / sigma.clamp_min(1e-9)


def test_the_sampler_is_ddim_by_the_closed_form():
    """With an exact Gaussian denoiser every step is affine: scale and shift follow from alpha bar alone."""
    m, s = 0.3, 0.2
    ct = torch.zeros(4, 1, 16, 16, dtype=torch.float64)
    torch.manual_seed(1)
    start = torch.randn_like(ct)
    torch.manual_seed(1)
    drawn = draw(PROCESS, Oracle(m, s), ct, ct)
    steps = list(range(999, 0, -100))
    table = PROCESS.alphas_cumprod.double()
    x = start
    for here, then in zip(steps, [*steps[1:], -1], strict=True):
        a, b = table[here], table[then] if then >= 0 else torch.tensor(1.0, dtype=torch.float64)
        k = a.sqrt() * s**2 / (a * s**2 + 1 - a)
        x0 = m + k * (x - a.sqrt() * m)
        x = b.sqrt() * x0 + (1 - b).sqrt() * (x - a.sqrt() * x0) / (1 - a).sqrt()
    assert float((drawn - x).abs().max()) < 1e-4


def test_samples_differ_and_their_spread_is_not_zero(case, batch):
    model = case.model()
    torch.manual_seed(0)
    mean, spread = repeated(lambda: case.prediction(model, batch), 3)
    assert mean.shape == spread.shape == batch["fused"].shape
    assert float(spread.mean()) > 1e-4


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_a_guided_move_is_the_noise_level_times_the_scale_however_large_the_gradient(size):
    generator = torch.Generator().manual_seed(0)
    x, t = torch.randn(2, 1, 16, 16, generator=generator), torch.tensor([200, 800])
    # uniform: no pixel has more than three times the mean gradient, where a move would be cut
    before = 2 * torch.rand(2, 1, 16, 16, generator=generator) - 1
    output = PROCESS.from_x0(before, x, t)
    after = PROCESS.to_x0(guided(PROCESS, output, x, t, lambda y: size * y.square().sum(), 0.1), x, t)
    moved = (after - before).flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(moved, 0.1 * (1 - PROCESS.alpha_bar(t)).sqrt(), atol=1e-4, rtol=1e-3)
    nothing = direction(lambda y: 0 * y.sum(), before)
    assert torch.equal(nothing, torch.zeros_like(before))
    torch.testing.assert_close(PROCESS.from_x0(before, x, t), output, atol=1e-3, rtol=1e-3)


def test_guidance_lowers_the_roi_loss_and_leaves_the_range(case, system, batch):
    from dataclasses import replace

    from traindx.recipes.fusion.sampling import ddim

    torch.manual_seed(0)
    model = case.model()
    energy = roi_energy(system, batch)
    found = {}
    for scale in (0.0, 0.3):
        torch.manual_seed(3)
        fused = ddim(replace(system, guidance=scale), model, batch)
        found[scale] = float(energy(fused))
        assert float(fused.abs().max()) < 4
        assert not fused.requires_grad
    assert found[0.3] < 0.9 * found[0.0]
