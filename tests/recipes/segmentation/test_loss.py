from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from traindx.errors import UsageError
from traindx.recipes.segmentation.labels import IGNORE
from traindx.recipes.segmentation.loss import MARGINAL_EXCLUSION, TERMS, SegmentationLoss, marginal, signed_distance

ALL = torch.ones(2, 2, dtype=torch.bool)


def sample(seed: int = 0, ignore: float = 0.0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 6, 7, 5, generator=g)
    label = torch.randint(0, 3, (2, 1, 6, 7, 5), generator=g).to(torch.int8)
    if ignore:
        label[torch.rand(label.shape, generator=g) < ignore] = IGNORE
    return logits, label


def sharp(label: Tensor) -> Tensor:
    """Logits of a certain and right prediction (class 0 where not labelled)."""
    return 40 * F.one_hot(label[:, 0].clamp(min=0).long(), 3).movedim(-1, 1).float() - 20


def test_cross_entropy_is_torchs_with_its_ignore_index() -> None:
    logits, label = sample(ignore=0.4)
    ours = SegmentationLoss({"ce": 1})(logits, label, ALL)["ce"]
    theirs = F.cross_entropy(logits, label[:, 0].long(), ignore_index=IGNORE)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_dice_is_monais_where_everything_is_labelled() -> None:
    from monai.losses import DiceLoss

    logits, label = sample()
    ours = SegmentationLoss({"dice": 1})(logits, label, ALL)["dice"]
    theirs = DiceLoss(include_background=False, softmax=True, to_onehot_y=True)(logits, label)
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_dice_without_the_ignored_voxels_is_dice_of_a_volume_that_never_had_them() -> None:
    logits, label = sample()
    label[:, :, 3:] = IGNORE
    cropped = SegmentationLoss({"dice": 1})(logits[:, :, :3], label[:, :, :3], ALL)["dice"]
    assert torch.allclose(SegmentationLoss({"dice": 1})(logits, label, ALL)["dice"], cropped, atol=1e-6)


@pytest.mark.parametrize("term", TERMS)
def test_no_term_sees_what_is_not_labelled(term: str) -> None:
    logits, label = sample(ignore=0.3)
    loss = SegmentationLoss({term: 1.0})
    hidden = (label == IGNORE).expand_as(logits)
    changed = torch.where(hidden, logits + 7 * torch.randn_like(logits), logits)
    assert torch.allclose(loss(logits, label, ALL)[term], loss(changed, label, ALL)[term], atol=1e-5)
    logits.requires_grad_()
    loss(logits, label, ALL)[term].backward()
    assert logits.grad is not None
    assert float(logits.grad[hidden].abs().max()) == 0.0


@pytest.mark.parametrize("term", ["dice", "ce", "focal", "cldice", "spread", "entropy", "marginal_dice"])
def test_terms_are_zero_at_the_truth_and_not_elsewhere(term: str) -> None:
    _, label = sample()
    loss = SegmentationLoss({term: 1.0})
    assert float(loss(sharp(label), label, ALL)[term]) == pytest.approx(0, abs=2e-3)
    if term not in ("spread",):
        assert float(loss(torch.zeros(2, 3, 6, 7, 5), label, ALL)[term]) > 0.05


def test_the_boundary_term_is_lowest_at_the_truth() -> None:
    label = torch.zeros(2, 1, 9, 9, 9, dtype=torch.int8)
    label[:, :, 3:6, 3:6, 3:6] = 1
    loss = SegmentationLoss({"boundary": 1.0})
    labelled = torch.tensor([[True, False]] * 2)
    truth = float(loss(sharp(label), label, labelled)["boundary"])
    for shift in (1, 2):
        moved = sharp(torch.roll(label, shift, dims=2))
        assert float(loss(moved, label, labelled)["boundary"]) > truth
    assert float(loss(sharp(torch.zeros_like(label)), label, labelled)["boundary"]) > truth


@pytest.mark.parametrize("term", TERMS)
def test_a_configured_weight_reaches_its_term(term: str) -> None:
    logits, label = sample(ignore=0.2)
    one = SegmentationLoss({term: 1.0})(logits, label, ALL)[term]
    three = SegmentationLoss({term: 3.0, "ce": 0.5})(logits, label, ALL)[term]
    expected = one * (0.5 if term == "ce" else 3.0)
    assert torch.allclose(three, expected)
    assert float(one) != 0 or term == "spread" or term.startswith("exclusion")


def test_spread_acts_on_a_constant_output_only() -> None:
    _, label = sample()
    loss = SegmentationLoss({"spread": 1.0})
    flat = torch.zeros(2, 3, 6, 7, 5, requires_grad=True)
    value = loss(flat + 0.01 * torch.randn(2, 3, 6, 7, 5), label, ALL)["spread"]
    expected = float((label > 0).float().flatten(1).std(dim=1, correction=0).mean())
    assert float(value.detach()) == pytest.approx(expected, abs=0.01)
    value.backward()
    assert flat.grad is not None
    assert float(flat.grad.abs().max()) > 0


def test_misspelt_and_empty_weights_are_refused() -> None:
    with pytest.raises(UsageError, match="varience"):
        SegmentationLoss({"dice": 1, "varience": 0.1})
    with pytest.raises(UsageError, match="every loss weight"):
        SegmentationLoss({"dice": 0.0})


def test_a_label_of_another_shape_is_refused_and_not_broadcast() -> None:
    logits, label = sample()
    with pytest.raises(UsageError, match="shape"):
        SegmentationLoss()(logits, label[:, 0], ALL)


def test_an_unlabelled_class_is_merged_with_the_background() -> None:
    logits, label = sample()
    label[label == 2] = 0
    labelled = torch.tensor([[True, False]] * 2)
    p = torch.softmax(logits, 1)
    merged = torch.stack([p[:, 0] + p[:, 2], p[:, 1]], dim=1)
    assert torch.allclose(marginal(logits.log_softmax(1), labelled).exp()[:, :2], merged, atol=1e-6)
    ours = SegmentationLoss({"ce": 1})(logits, label, labelled)["ce"]
    assert torch.allclose(ours, F.nll_loss(merged.log(), label[:, 0].long()), atol=1e-6)
    # predicting the class that nobody looked for costs nothing where the label says background
    certain = torch.where(label == 0, 2, label)
    for term in ("ce", "dice"):
        value = SegmentationLoss({term: 1})(sharp(certain), label, labelled)[term]
        assert float(value) == pytest.approx(0, abs=1e-3)


def test_marginal_dice_is_monais_of_the_merged_classes() -> None:
    from monai.losses import DiceLoss

    logits, label = sample()
    label[label == 2] = 0
    p = torch.softmax(logits, 1)
    merged = torch.stack([p[:, 0] + p[:, 2], p[:, 1]], dim=1)
    ours = SegmentationLoss({"marginal_dice": 1})(logits, label, torch.tensor([[True, False]] * 2))["marginal_dice"]
    assert torch.allclose(ours, DiceLoss(to_onehot_y=True)(merged, label), atol=1e-4)


def test_exclusion_is_the_overlap_of_a_class_that_was_not_looked_for_with_contoured_organs() -> None:
    logits, label = sample()
    label[label == 2] = 0
    labelled = torch.tensor([[True, False]] * 2)
    terms = SegmentationLoss({"exclusion_dice": 1, "exclusion_ce": 1})(logits, label, labelled)
    p, organ = torch.softmax(logits, 1)[:, 2], (label[:, 0] == 1).float()
    dice = [2 * float((p[i] * organ[i]).sum()) / float(p[i].sum() + organ[i].sum()) for i in range(2)]
    assert float(terms["exclusion_dice"]) == pytest.approx(sum(dice) / 2, rel=1e-4)
    assert float(terms["exclusion_ce"]) == pytest.approx(float((torch.log(p + 1) * organ).mean()), rel=1e-4)


def test_exclusion_says_nothing_of_classes_that_were_looked_for_and_of_the_background() -> None:
    logits, label = sample()
    loss = SegmentationLoss({"exclusion_dice": 1, "exclusion_ce": 1})
    assert sum(float(value) for value in loss(logits, label, ALL).values()) == 0
    labelled = torch.tensor([[True, False]] * 2)
    only_background = torch.where(label == 0, 2, label)  # the class that nobody looked for, never on an organ
    values = loss(sharp(only_background), torch.where(label == 2, 0, label), labelled)
    assert sum(float(value) for value in values.values()) == pytest.approx(0, abs=1e-4)
    assert float(loss(sharp(torch.full_like(label, 2)), label.clamp(max=1), labelled)["exclusion_dice"]) > 0.3


def test_marginal_and_exclusion_loss_leave_a_right_answer_free() -> None:
    _, label = sample()
    labelled = torch.tensor([[True, False]] * 2)
    declared = torch.where(label == 2, 0, label)
    for guess in (label, declared):  # with and without the class that nobody looked for
        terms = SegmentationLoss(MARGINAL_EXCLUSION)(sharp(guess), declared, labelled)
        assert sum(float(value) for value in terms.values()) == pytest.approx(0, abs=2e-3)


def test_a_volume_without_any_label_costs_nothing_and_gives_finite_gradients() -> None:
    logits, label = sample()
    logits.requires_grad_()
    weights = dict.fromkeys(TERMS, 1.0)
    terms = SegmentationLoss(weights)(logits, torch.full_like(label, IGNORE), ~ALL)
    torch.stack(list(terms.values())).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_deep_supervision_weighs_heads_by_halves() -> None:
    logits, label = sample()
    loss = SegmentationLoss({"ce": 1.0})
    stack = torch.stack([logits, 2 * logits, 0 * logits], dim=1)
    single = [float(loss(stack[:, head], label, ALL)["ce"]) for head in range(3)]
    expected = (single[0] + single[1] / 2 + single[2] / 4) / 1.75
    assert float(loss(stack, label, ALL)["ce"]) == pytest.approx(expected, rel=1e-5)


def test_signed_distance_of_a_half_space_is_the_coordinate() -> None:
    truth = torch.zeros(1, 1, 8, 3, 3)
    truth[:, :, :4] = 1
    along = signed_distance(truth, 10)[0, 0, :, 1, 1] * 10
    assert along.tolist() == pytest.approx([-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5])
    assert not signed_distance(torch.ones(1, 1, 3, 3, 3), 10).any()
