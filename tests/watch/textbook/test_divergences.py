"""Divergences by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

KL = "def kl_loss(mu, logvar):\n    return {}\n"
CALL = "kl_loss(torch.randn(4, 8), torch.randn(4, 8))"


@pytest.mark.parametrize(
    "right",
    [
        "-0.5 * (1 + logvar - mu ** 2 - logvar.exp()).sum(1).mean()",
        "0.5 * (mu.pow(2) + logvar.exp() - 1 - logvar).sum()",
        "-0.5 * torch.mean(1 + logvar - mu.pow(2) - logvar.exp())",
        "0.5 * (mu ** 2 + logvar.exp() - 1 - logvar).sum(-1)",
    ],
)
def test_a_divergence_from_the_standard_normal(define: Callable[..., Any], right: str) -> None:
    assert define(KL.format(right), CALL)["kl-of-standard-normal"].holds


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("0.5 * (1 + logvar - mu ** 2 - logvar.exp()).sum(1).mean()", "-"),
        ("-0.5 * (logvar - mu ** 2 - logvar.exp()).sum(1).mean()", "came out"),
        ("-0.5 * (1 + logvar - mu ** 2 - logvar ** 2).sum(1).mean()", "came out"),
        ("-0.5 * (1 + 2 * logvar - mu ** 2 - (2 * logvar).exp()).sum(1).mean()", "counted otherwise"),
    ],
)
def test_and_what_is_none(define: Callable[..., Any], wrong: str, said: str) -> None:
    found = define(KL.format(wrong), CALL)["kl-of-standard-normal"]
    assert not found.holds
    assert said in found.got
    assert found.where.line == 7


def test_a_standard_deviation_is_another_form(define: Callable[..., Any]) -> None:
    source = "def kl_loss(mu, sigma):\n    return 0.5 * (mu ** 2 + sigma ** 2 - 1 - 2 * sigma.log()).sum()\n"
    assert not define(source, "kl_loss(torch.randn(4, 8), torch.rand(4, 8))")
