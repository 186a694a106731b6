"""L301 and L312: what a loss thinks of predictions whose order is known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from patients.denoisers import denoising_case
from patients.sitting import findings, run_check
from patients.volumes import images
from traindx.checks.loss.order import loss_order
from traindx.evidence.loss import StandInLoss
from traindx.finding import Standing


def regression(compare, predict=lambda model, batch: model(batch["x"]), target=None):
    x = images(4, 16)
    y = x.flip(3) if target is None else target(x)
    return dx.Case(
        model=lambda: nn.Conv2d(1, 1, 3, padding=1),
        train=[{"x": x, "y": y}],
        loss=lambda model, batch: compare(model(batch["x"]), batch["y"]),
        target=lambda batch: batch["y"],
        predict=predict,
    )


def ssim_like(p, y):
    """Correlation as a loss, with its sign wrong."""
    p, y = p - p.mean(), y - y.mean()
    return (p * y).mean() / (p.norm() * y.norm() / p.numel() + 1e-6)


def found(case, *codes):
    return findings(run_check(case, loss_order), *(codes or ("L301", "L312")))


def test_a_wrong_sign_is_demonstrated():
    (finding,) = found(regression(lambda p, y: -F.mse_loss(p, y)), "L301")
    assert finding.standing is Standing.DEMONSTRATED


def test_the_term_that_outweighs_the_task_is_named():
    terms = lambda p, y: {"mse": F.mse_loss(p, y), "similarity": 5 * ssim_like(p, y)}  # noqa: E731
    (finding,) = found(regression(terms), "L301")
    assert finding.standing is Standing.DEMONSTRATED
    assert "'similarity'" in finding.message
    assert [p.treatment for p in finding.proposals] == ["flip-term", "drop-term"]


def test_a_term_that_prefers_worse_in_good_company_is_suspected():
    terms = lambda p, y: {"mse": F.mse_loss(p, y), "similarity": 0.001 * ssim_like(p, y)}  # noqa: E731
    (finding,) = found(regression(terms), "L301")
    assert finding.standing is Standing.SUSPECTED


def test_a_regulariser_is_not_expected_to_judge():
    """Near miss: total variation and weight decay prefer a blank image, and should."""
    terms = lambda p, y: {"l1": F.l1_loss(p, y), "tv": 0.01 * p.diff(dim=3).abs().mean()}  # noqa: E731
    assert found(regression(terms)) == []


def test_without_a_path_that_says_what_the_output_means_nothing_is_demonstrated():
    """Near miss: the network speaks in standardised units; the loss and the deployment know, this check cannot."""

    def standardised(p, y):
        return F.mse_loss(p * 0.1 - 5, y)

    target = lambda x: x * 0.1 - 5  # noqa: E731
    case = regression(standardised, target=target, predict=lambda model, batch: model(batch["x"]) * 0.1 - 5)
    assert all(finding.standing is Standing.SUSPECTED for finding in found(case))


def reprojection(offset):
    def terms(p, y):
        return {
            "mse": F.mse_loss(p, y),
            "physics": 3 * F.l1_loss(p.mean(2) * (0.5 if offset else 1.0) + offset, y.mean(2)),
        }

    return terms


def test_a_projection_in_another_range_is_not_zero_at_the_truth():
    (finding,) = found(regression(reprojection(0.5)), "L312")
    assert finding.standing is Standing.DEMONSTRATED
    assert "'physics'" in finding.message
    assert found(regression(reprojection(0.0))) == []


def test_a_floor_is_a_note_and_not_another_optimum():
    """Near miss: label smoothing leaves a floor at the truth, with nothing downhill."""

    def smoothed(p, y):
        return F.binary_cross_entropy_with_logits(p, y * 0.8 + 0.1)

    case = regression(smoothed, lambda model, batch: model(batch["x"]).sigmoid(), lambda x: (x > 0).float())
    assert all(finding.standing is Standing.SUSPECTED for finding in found(case))
    hard = regression(
        F.binary_cross_entropy_with_logits, lambda model, batch: model(batch["x"]).sigmoid(), lambda x: (x > 0).float()
    )
    assert found(hard) == []


def dice_and_focal(p, y):
    q = p.sigmoid()
    dice = 1 - (2 * (q * y).sum() + 1) / (q.sum() + y.sum() + 1)
    cross = F.binary_cross_entropy_with_logits(p, y, reduction="none")
    return {"dice": dice, "focal": ((1 - torch.exp(-cross)) ** 2 * cross).mean()}


@pytest.mark.parametrize("prediction", ["v", "epsilon", "sample"])
def test_healthy_losses_are_left_alone(prediction):
    assert found(regression(F.mse_loss)) == []
    assert found(regression(F.l1_loss)) == []
    assert found(regression(dice_and_focal, lambda m, b: m(b["x"]).sigmoid(), lambda x: (x > 0).float())) == []
    case = denoising_case(prediction=prediction)
    evidence = run_check(case, loss_order)
    (record,) = evidence.of(StandInLoss)
    assert record.encoding == prediction
    assert record.perfect < 0.02 * record.shuffled
    assert findings(evidence, "L301", "L312") == []


def test_classification_and_multiclass_segmentation():
    x = images(4, 16)
    y = (x[:, 0] > 0).long() + (x[:, 0] > 0.3).long()

    def case(loss):
        return dx.Case(
            model=lambda: nn.Conv2d(1, 3, 3, padding=1),
            train=[{"x": x, "y": y}],
            loss=lambda model, batch: loss(model(batch["x"]), batch["y"]),
            target=lambda batch: batch["y"],
            predict=lambda model, batch: model(batch["x"]).argmax(1),
        )

    assert found(case(F.cross_entropy)) == []
    (finding,) = found(case(lambda p, t: -F.cross_entropy(p.clamp(-1, 1), t)), "L301")
    assert finding.standing is Standing.DEMONSTRATED


def test_a_wrong_declaration_of_the_prediction_type_is_left_to_its_own_rule():
    """Near miss: trained on noise and declared to give v: the order is judged in what the network really gives."""
    case = denoising_case(prediction="epsilon").replace(diffusion__prediction="v")
    assert found(case) == []


def test_losses_that_cannot_be_judged_are_not():
    """Contrastive losses and networks of several different outputs have no stand-in."""
    x = images(4, 16)
    embed = dx.Case(
        model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(256, 8)),
        train=[{"x": x}],
        loss=lambda model, batch: model(batch["x"]).square().mean(),
        target=lambda batch: batch["x"],
    )
    assert run_check(embed, loss_order).of(StandInLoss) == []


def test_the_network_is_given_back():
    case = denoising_case()
    from traindx.checks import CheckContext
    from traindx.checks.probing import awake_model
    from traindx.evidence import Evidence

    ctx = CheckContext(case, Evidence())
    loss_order.function(ctx)
    assert "forward" not in vars(awake_model(ctx))
