"""Losses and figures of continuous values by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
IMAGES = "(torch.rand(2, 1, 12, 12), torch.rand(2, 1, 12, 12))"
ROWS = "(torch.randn(8, 1), torch.randn(8))"
ARRAYS = "(np.random.rand(24), np.random.rand(24))"


@pytest.mark.parametrize(
    ("name", "body", "call"),
    [
        ("mse_loss", "((pred - target) ** 2).mean()", IMAGES),
        ("mse_loss", "((pred.squeeze(1) - target) ** 2).sum()", ROWS),
        ("mse", "np.mean((pred - target) ** 2)", ARRAYS),
        ("l2_loss", "((pred - target) ** 2).sum() ** 0.5", IMAGES),
        ("mae", "np.abs(pred - target).mean()", ARRAYS),
        ("l1_loss", "(pred - target).abs().sum((1, 2, 3)).mean()", IMAGES),
        ("rmse", "((pred - target) ** 2).mean().sqrt().item()", IMAGES),
        ("huber_loss", "F.huber_loss(pred, target, delta=0.5)", IMAGES),
        ("smooth_l1_loss", "F.smooth_l1_loss(pred, target)", IMAGES),
        ("charbonnier_loss", "((pred - target) ** 2 + 1e-6).sqrt().mean()", IMAGES),
        ("recon_loss", "F.binary_cross_entropy(pred, target, reduction='sum')", IMAGES),
        (
            "recon_loss",
            "F.binary_cross_entropy_with_logits(pred * 3 - 1, target)",
            "(torch.randn(8, 4), torch.rand(8, 4))",
        ),
    ],
)
def test_errors(define: Define, name: str, body: str, call: str) -> None:
    found = define(f"def {name}(pred, target):\n    return {body}\n", name + call)
    assert all(one.holds for one in found.values())
    assert found or name == "recon_loss"


@pytest.mark.parametrize(
    ("name", "body", "call", "broken"),
    [
        ("mse_loss", "((pred - target) ** 2).mean()", ROWS, "regression-loss-least-at-the-truth"),
        ("mse_loss", "((pred + target) ** 2).mean()", IMAGES, "regression-loss-least-at-the-truth"),
        ("mse_loss", "(pred - target).abs().mean()", IMAGES, "squared-error-grows-with-the-square"),
        ("mse", "np.sqrt(np.mean((pred - target) ** 2))", ARRAYS, "squared-error-grows-with-the-square"),
        ("mae", "np.abs(pred.mean() - target.mean())", ARRAYS, "regression-loss-least-at-the-truth"),
        ("l1_loss", "((pred - target) ** 2).mean()", IMAGES, "absolute-error-grows-with-the-error"),
        ("rmse", "((pred - target) ** 2).sqrt().mean().item()", IMAGES, "root-of-the-mean-squared-error"),
        ("rmse", "np.mean((pred - target) ** 2)", ARRAYS, "root-of-the-mean-squared-error"),
        ("huber_loss", "torch.where((pred - target).abs() < 1, (pred - target) ** 2 / 2, (pred - target).abs()).mean()",
         IMAGES, "robust-loss-grows-linearly"),
        ("huber_loss", "torch.where(pred - target < 1, (pred - target) ** 2 / 2, pred - target - 0.5).mean()",
         IMAGES, "robust-loss-grows-linearly"),
        ("charbonnier_loss", "((pred - target) ** 2 + 1e-6).mean()", IMAGES, "robust-loss-grows-linearly"),
    ],
)  # fmt: skip
def test_and_what_are_none(define: Define, name: str, body: str, call: str, broken: str) -> None:
    assert not define(f"def {name}(pred, target):\n    return {body}\n", name + call)[broken].holds


def test_a_regularisation_is_something_else(define: Define) -> None:
    source = "def l2_regularization_loss(w, v):\n    return (w ** 2).sum() + (v ** 2).sum()\n"
    assert not define(source, "l2_regularization_loss(torch.randn(4, 4), torch.randn(4, 4))")


PINBALL = "def quantile_loss(pred, target, q=0.9):\n    e = target - pred\n    return torch.max({}).mean()\n"
SEVERAL = """
class QuantileLoss(nn.Module):
    def __init__(self, quantiles=(0.1, 0.5, 0.9)):
        super().__init__()
        self.quantiles = quantiles

    def forward(self, preds, target):
        losses = []
        for i, q in enumerate(self.quantiles):
            e = {}
            losses.append(torch.max((q - 1) * e, q * e).unsqueeze(1))
        return torch.cat(losses, 1).sum(1).mean()
"""


@pytest.mark.parametrize(
    ("source", "call", "holds"),
    [
        (PINBALL.format("q * e, (q - 1) * e"), "quantile_loss(torch.randn(8), torch.randn(8))", True),
        (PINBALL.format("-q * e, (1 - q) * e"), "quantile_loss(torch.randn(8), torch.randn(8))", False),
        (SEVERAL.format("target - preds[:, i]"), "QuantileLoss()(torch.randn(8, 3), torch.randn(8))", True),
        (SEVERAL.format("preds[:, i] - target"), "QuantileLoss()(torch.randn(8, 3), torch.randn(8))", False),
    ],
)
def test_quantiles(define: Define, source: str, call: str, holds: bool) -> None:
    assert define(source, call)["quantile-loss-weighs-its-side"].holds is holds


NLL = "def gaussian_nll_loss(mean, {scale}, target):\n    return ({body}).mean()\n"


@pytest.mark.parametrize(
    ("scale", "body", "holds"),
    [
        ("logvar", "logvar + (target - mean) ** 2 / logvar.exp()", True),
        ("log_var", "0.5 * (log_var + (target - mean) ** 2 * (-log_var).exp()) + 0.9", True),
        ("log_std", "log_std + 0.5 * (target - mean) ** 2 / (2 * log_std).exp()", True),
        ("sigma", "sigma.log() + 0.5 * ((target - mean) / sigma) ** 2", True),
        ("var", "0.5 * (var.log() + (target - mean) ** 2 / var)", True),
        ("logvar", "0.5 * logvar + (target - mean) ** 2 / logvar.exp()", False),
        ("logvar", "logvar + (target - mean) ** 2 * logvar.exp()", False),
        ("sigma", "sigma.log() + 0.5 * (target - mean) ** 2 / sigma", False),
        ("var", "var.log() + 0.5 * ((target - mean) / var) ** 2", False),
    ],
)
def test_likelihoods(define: Define, scale: str, body: str, holds: bool) -> None:
    call = "gaussian_nll_loss(torch.randn(8), torch.rand(8) + 0.1, torch.randn(8))"
    found = define(NLL.format(scale=scale, body=body), call)["gaussian-likelihood-least-at-the-variance"]
    assert found.holds is holds


def test_a_raw_scale_is_activated_inside(define: Define) -> None:
    source = NLL.format(
        scale="sigma", body="F.softplus(sigma).log() + 0.5 * ((target - mean) / F.softplus(sigma)) ** 2"
    )
    assert not define(source, "gaussian_nll_loss(torch.randn(8), torch.randn(8), torch.randn(8))")


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("((pred - target) ** 2 * mask).sum() / mask.sum()", True),
        ("((pred - target) ** 2 * (1 - mask)).mean()", True),
        ("F.mse_loss(pred[mask > 0], target[mask > 0])", True),
        ("((pred - target * mask) ** 2).mean()", False),
        ("(((pred - target) ** 2).mean() * mask).sum() / mask.sum()", False),
    ],
)
def test_masks(define: Define, body: str, holds: bool) -> None:
    call = "masked_mse_loss(torch.rand(2, 9, 9), torch.rand(2, 9, 9), (torch.rand(2, 9, 9) > 0.5).float())"
    found = define(f"def masked_mse_loss(pred, target, mask):\n    return {body}\n", call)
    assert found["masked-loss-ignores-what-is-masked"].holds is holds
