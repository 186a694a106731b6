"""The ROI loss: zero and flat at the target, sensitive everywhere else, and a lesion term that carries gradient."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from traindx.errors import InputError
from traindx.recipes.fusion.lesion import LesionHead, dice_of, frozen, head_loss, train_head
from traindx.recipes.fusion.roi import PRESETS, RoiWeights, lesion_loss, region_ssim, roi_terms


def pair(seed=0, side=40, dims=2):
    draw = torch.Generator().manual_seed(seed)
    a = torch.rand((2, 1, *[side] * dims), generator=draw)
    return a, (a + 0.2 * torch.rand(a.shape, generator=draw)).clamp(0, 1)


def test_presets_are_those_of_the_document():
    assert {name: tuple(vars(weights).values()) for name, weights in PRESETS.items()} == {
        "default": (1, 1, 2),
        "brain_tumor": (1.5, 0.5, 2),
        "bone_tumor": (0.5, 2, 2),
        "metastasis": (1, 1, 3),
        "stroke": (1, 1.2, 3),
    }
    with pytest.raises(InputError, match="alpha is -1"):
        RoiWeights(alpha=-1)


def test_ssim_of_a_whole_image_is_that_of_torchmetrics_away_from_the_border():
    a, b = pair()
    inner = torch.zeros_like(a)
    inner[..., 10:-10, 10:-10] = 1
    # the window never reaches the border of the image, and the region is everything
    mine = region_ssim(a, b, torch.ones_like(a))
    full = structural_similarity_index_measure(a, b, data_range=1.0, return_full_image=True)[1]
    ours = region_ssim(a[..., 5:-5, 5:-5], b[..., 5:-5, 5:-5], torch.ones_like(a)[..., 5:-5, 5:-5])
    assert float(mine) == pytest.approx(float(full.mean()), abs=0.03)
    assert float(ours) == pytest.approx(float(full[..., 5:-5, 5:-5].mean()), abs=0.03)


def test_what_lies_outside_the_region_does_not_count():
    a, b = pair()
    region = torch.zeros_like(a)
    region[..., 12:15, 8:30] = 1  # thinner than the window
    spoiled = torch.where(region > 0, a, torch.rand_like(a))
    assert float(region_ssim(spoiled, a, region)) == pytest.approx(1, abs=1e-5)
    assert float(region_ssim(b, a, region)) < 0.98
    assert float(region_ssim(a, b, 0 * region)) == 1


def test_ssim_tells_the_sign():
    a, _ = pair()
    ones = torch.ones_like(a)
    assert float(region_ssim(1 - a, a, ones)) < -0.5
    wave = 0.5 + 0.4 * torch.sin(torch.arange(40) / 3).expand(1, 1, 40, 40)
    assert float(region_ssim(1 - wave, wave, torch.ones_like(wave))) < -0.5


def test_all_terms_are_zero_and_flat_at_the_target_of_the_diffusion_loss(batch, system):
    """The ROI loss does not contradict the diffusion loss: both have their optimum at F*."""
    for weights in PRESETS.values():
        fused = batch["fused"].clone().requires_grad_()
        terms = roi_terms(fused, batch, weights, system.head)
        assert set(terms) == {"soft", "bone", "lesion"}
        for name, term in terms.items():
            assert abs(float(term.detach())) < 1e-4, name
        (gradient,) = torch.autograd.grad(sum(terms.values()), fused)
        wrong = (batch["fused"] + 0.1 * torch.randn_like(batch["fused"])).requires_grad_()
        (elsewhere,) = torch.autograd.grad(sum(roi_terms(wrong, batch, weights, system.head).values()), wrong)
        assert float(gradient.norm()) < 0.02 * float(elsewhere.norm())


def test_the_region_terms_are_those_against_mr_and_ct(batch):
    terms = roi_terms(batch["fused"] * 0.9, batch, RoiWeights(1, 1, 0), None)
    shown = (batch["fused"] * 0.9 + 1) / 2
    for name, source in (("soft", "mr_display"), ("bone", "ct_display")):
        wanted = 1 - float(region_ssim(shown, batch[source], batch[name]))
        assert float(terms[name]) == pytest.approx(wanted, abs=1e-5), name


def test_weights_scale_their_terms_and_zero_leaves_them_out(batch, system):
    fused = batch["fused"] * 0.8
    one, three = (roi_terms(fused, batch, RoiWeights(1, 1, gamma), system.head) for gamma in (1, 3))
    assert float(three["lesion"]) == pytest.approx(3 * float(one["lesion"]))
    assert set(roi_terms(fused, batch, RoiWeights(1, 0, 1), None)) == {"soft"}


def test_the_lesion_term_carries_gradient_into_the_image_and_none_into_the_head(batch, system):
    fused = (0.5 * batch["fused"]).requires_grad_()
    torch.autograd.backward(lesion_loss(system.head, fused, batch["fused"]))
    assert float(fused.grad.abs().max()) > 0
    assert all(weight.grad is None for weight in system.head.parameters())
    # and a step against it makes the head see what it sees in the target
    with torch.no_grad():
        before = lesion_loss(system.head, fused, batch["fused"])
        step = 1e-2 * fused.grad / fused.grad.abs().max()
        assert float(lesion_loss(system.head, fused - step, batch["fused"])) < float(before)


def test_a_head_learns_a_bright_square():
    torch.manual_seed(0)

    def batches():
        while True:
            image, lesion = -0.5 + 0.1 * torch.randn(4, 1, 32, 32), torch.zeros(4, 1, 32, 32)
            for number in range(4):
                y, x = torch.randint(0, 22, (2,)).tolist()
                image[number, 0, y : y + 10, x : x + 10] += 0.8
                lesion[number, 0, y : y + 10, x : x + 10] = 1
            yield {"fused": image, "lesion": lesion}

    head = train_head(LesionHead(2, channels=8), batches(), 50)
    test = next(batches())
    found = dice_of(head, test["fused"], test["lesion"])
    assert sum(found) / len(found) > 0.7
    assert not any(weight.requires_grad for weight in head.parameters())
    assert dice_of(head, test["fused"], 0 * test["lesion"]) == []


def test_blocks_have_the_same_losses():
    a, b = pair(side=16, dims=3)
    assert float(region_ssim(a, a, torch.ones_like(a))) == pytest.approx(1)
    assert float(region_ssim(b, a, torch.ones_like(a))) < 0.99
    head = frozen(LesionHead(3, channels=4))
    assert head(2 * a - 1).shape == a.shape
    assert float(head_loss(head, 2 * a - 1, (a > 0.5).float())) > 0
