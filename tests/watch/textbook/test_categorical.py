"""Divergences of classes, entropies, distillation and samples by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
LOGITS = "(torch.randn(8, 5), torch.randn(8, 5))"
CHANCES = "(torch.randn(8, 5).softmax(1), torch.randn(8, 5).softmax(1))"
MIXED = "(torch.randn(8, 5).log_softmax(1), torch.randn(8, 5).softmax(1))"
MAPS = "(torch.randn(2, 3, 6, 6), torch.randn(2, 3, 6, 6))"


@pytest.mark.parametrize(
    ("body", "call", "holds"),
    [
        ("(p * (p.log() - q.log())).sum(1).mean()", CHANCES, True),
        ("F.kl_div(q.log_softmax(1), p.softmax(1), reduction='batchmean')", LOGITS, True),
        ("F.kl_div(q.log_softmax(1), p.softmax(1), reduction='batchmean')", MAPS, True),
        ("F.kl_div(p, q, reduction='sum')", MIXED, True),
        ("(p * ((p + 1e-8) / (q + 1e-8)).log()).sum()", CHANCES, True),
        ("F.kl_div(q.softmax(1), p.softmax(1), reduction='batchmean')", LOGITS, False),
        ("F.kl_div(q, p, reduction='batchmean')", CHANCES, False),
        ("(p * (q.log() - p.log())).sum(1).mean()", CHANCES, False),
        ("F.kl_div(q.log_softmax(0), p.softmax(1), reduction='batchmean')", LOGITS, False),
    ],
)
def test_kl(define: Define, body: str, call: str, holds: bool) -> None:
    assert define(f"def kl_loss(p, q):\n    return {body}\n", "kl_loss" + call)["kl-of-classes"].holds is holds


NORMALS = "def normal_kl(mean1, logvar1, mean2, logvar2):\n    return 0.5 * ({}).sum()\n"
RIGHT = "-1 + logvar2 - logvar1 + (logvar1 - logvar2).exp() + (mean1 - mean2) ** 2 * (-logvar2).exp()"


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        (RIGHT, True),
        (RIGHT.replace("(-logvar2)", "(-logvar1)"), True),  # the same where variances are 1
        (RIGHT.replace("-1 +", ""), False),
        (RIGHT.replace("logvar2 - logvar1 +", "logvar1 - logvar2 +"), False),
        ("-1 + 2 * (logvar2 - logvar1) + (2 * (logvar1 - logvar2)).exp() + (mean1 - mean2) ** 2", False),
    ],
)
def test_normals(define: Define, body: str, holds: bool) -> None:
    call = "normal_kl(torch.randn(4, 8), torch.randn(4, 8), torch.randn(4, 8), torch.randn(4, 8))"
    assert define(NORMALS.format(body), call)["kl-of-two-normals"].holds is holds


JS = "def js_divergence(p, q):\n    m = {}\n    return (p * (p / m).log() + q * (q / m).log()).sum(1).mean()\n"


@pytest.mark.parametrize(("middle", "holds"), [("0.5 * (p + q)", True), ("q", False), ("p + q", False)])
def test_js(define: Define, middle: str, holds: bool) -> None:
    assert define(JS.format(middle), "js_divergence" + CHANCES)["js-symmetric"].holds is holds


MMD = """
def mmd_loss(x, y, sigma=2.0):
    k = lambda a, b: (-torch.cdist(a, b) ** 2 / (2 * sigma ** 2)).exp()
    return {}
"""


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("k(x, x).mean() + k(y, y).mean() - 2 * k(x, y).mean()", True),
        ("k(x, x).mean() + k(y, y).mean() + 2 * k(x, y).mean()", False),
        ("k(x, x).mean() + k(y, y).mean() - 2 * k(x, y).diag().mean()", False),
    ],
)
def test_mmd(define: Define, body: str, holds: bool) -> None:
    assert define(MMD.format(body), "mmd_loss(torch.randn(8, 5), torch.randn(8, 5))")["mmd-of-samples"].holds is holds


KD = "def kd_loss(student_logits, teacher_logits, T=2.0):\n    return {}\n"


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        (
            "F.kl_div((student_logits / T).log_softmax(1), (teacher_logits / T).softmax(1), reduction='sum') * T * T",
            True,
        ),
        ("-((teacher_logits / T).softmax(1) * (student_logits / T).log_softmax(1)).sum(1).mean()", True),
        ("F.mse_loss(student_logits, teacher_logits)", True),
        ("F.kl_div((student_logits / T).softmax(1), (teacher_logits / T).softmax(1), reduction='batchmean')", False),
        ("F.kl_div((student_logits / T).log_softmax(1), teacher_logits.softmax(1), reduction='batchmean')", False),
    ],
)
def test_distillation(define: Define, body: str, holds: bool) -> None:
    assert define(KD.format(body), "kd_loss" + LOGITS)["distillation-least-at-the-teacher"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [("F.mse_loss(a.softmax(1), b.softmax(1))", True), ("-F.mse_loss(a.softmax(1), b.softmax(1))", False)],
)
def test_consistency(define: Define, body: str, holds: bool) -> None:
    found = define(f"def consistency_loss(a, b):\n    return {body}\n", "consistency_loss" + MAPS)
    assert found["consistency-lower-where-equal"].holds is holds


@pytest.mark.parametrize(
    ("body", "call", "holds"),
    [
        ("-(p * (p + 1e-9).log()).sum(1)", "(torch.randn(8, 5).softmax(1))", True),
        ("-(p.softmax(1) * p.log_softmax(1)).sum(1).mean()", "(torch.randn(2, 5, 4, 4))", True),
        ("(p * (p + 1e-9).log()).sum(1)", "(torch.randn(8, 5).softmax(1))", False),
        ("-(p.softmax(1) * p.softmax(1).log_softmax(1)).sum(1)", "(torch.randn(8, 5))", False),
    ],
)
def test_entropies(define: Define, body: str, call: str, holds: bool) -> None:
    assert (
        define(f"def entropy(p):\n    return {body}\n", "entropy" + call)["entropy-of-known-distributions"].holds
        is holds
    )


VAE = """
class VAE(nn.Module):
    def reparameterize(self, mu, logvar):
        {}
        return mu + std * torch.randn_like(std)
"""


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("std = (0.5 * logvar).exp()", True),
        ("std = (0.5 * logvar).exp() if self.training else 0 * logvar", True),
        ("std = logvar.exp()", False),
        ("std = (0.5 * logvar).exp(); std = std if self.training else 0 * std; std = std ** 2", False),
    ],
)
def test_samples(define: Define, body: str, holds: bool) -> None:
    found = define(VAE.format(body), "VAE().reparameterize(torch.randn(4, 8), torch.randn(4, 8))")
    assert found["reparameterised-spread"].holds is holds


@pytest.mark.parametrize("names", ["mu, logvar", "mean, std", "z_mean, z_log_var"])
def test_a_divergence_from_the_standard_normal_has_no_classes(define: Define, names: str) -> None:
    one, other = names.split(", ")
    source = f"def kl_loss({names}):\n    return ({one} ** 2 + {other} ** 2).mean()\n"
    assert "kl-of-classes" not in define(source, "kl_loss" + LOGITS)


def test_a_divergence_of_weights_and_a_scheduled_one_are_something_else(define: Define) -> None:
    assert not define("def kl_weight(p, q):\n    return (p + q).mean()\n", "kl_weight" + LOGITS)
    assert not define("def kl_loss(p, q):\n    return (p - q).mean()\n", "kl_loss(torch.rand(8, 5), torch.rand(8, 5))")
