"""Terms of adversarial training by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
SCORES = "(torch.randn(8, 1), torch.randn(8, 1))"


@pytest.mark.parametrize(
    ("name", "body", "holds"),
    [
        ("hinge_d_loss", "F.relu(1 - real).mean() + F.relu(1 + fake).mean()", True),
        ("hinge_d_loss", "F.relu(1 - real).mean() + F.relu(1 - fake).mean()", False),
        ("hinge_d_loss", "F.relu(1 + real).mean() + F.relu(1 - fake).mean()", False),
        ("critic_loss", "fake.mean() - real.mean()", True),
        ("critic_loss", "real.mean() - fake.mean()", True),
        ("critic_loss", "-(fake.mean() + real.mean())", False),
        ("d_loss", "F.softplus(-real).mean() + F.softplus(fake).mean()", True),
        ("d_loss", "((real - 1) ** 2).mean() + (fake ** 2).mean()", True),
    ],
)
def test_discriminators(define: Define, name: str, body: str, holds: bool) -> None:
    found = define(f"def {name}(real, fake):\n    return {body}\n", name + SCORES)
    assert found["discriminator-loss-parts-real-and-fake"].holds is holds


PENALTY = """
def gradient_penalty(critic, real, fake):
    alpha = torch.rand(len(real), 1, 1, 1)
    x = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    out = critic(x)
    grad = torch.autograd.grad(out, x, torch.ones_like(out), create_graph={})[0]
    return {}
"""


@pytest.mark.parametrize(
    ("graph", "body", "holds"),
    [
        ("True", "((grad.flatten(1).norm(2, dim=1) - 1) ** 2).mean()", True),
        ("True", "10 * (((grad ** 2).sum((1, 2, 3)) + 1e-12).sqrt() - 1).square().mean()", True),
        ("True", "(grad.flatten(1).norm(2, dim=1) ** 2).mean()", True),
        ("True", "((grad.norm(2, dim=1) - 1) ** 2).mean()", False),
        ("False", "((grad.flatten(1).norm(2, dim=1) - 1) ** 2).mean()", False),
    ],
)
def test_penalties(define: Define, graph: str, body: str, holds: bool) -> None:
    network = "nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 1))"
    call = f"gradient_penalty({network}, torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8))"
    assert define(PENALTY.format(graph, body), call)["gradient-penalty-of-known-slope"].holds is holds


@pytest.mark.parametrize(("grad", "holds"), [("grad.flatten(1)", True), ("grad", False)])
def test_a_critic_that_is_held(define: Define, grad: str, holds: bool) -> None:
    body = PENALTY.format("True", f"(({grad}.norm(2, dim=1) - 1) ** 2).mean()").replace("(critic, ", "(self, ")
    inner = body.strip().replace("critic(x)", "self.critic(x)").replace("\n", "\n    ")
    start = "class GAN(nn.Module):\n    def __init__(self, critic):\n        super().__init__()\n"
    source = f"{start}        self.critic = critic\n    {inner}\n"
    network = "nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 1))"
    call = f"GAN({network}).gradient_penalty(torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8))"
    assert define(source, call)["gradient-penalty-of-known-slope"].holds is holds


R1 = """
def r1_penalty(scores, images):
    grad = torch.autograd.grad(scores.sum(), images, create_graph=True)[0]
    return {}

def start():
    x = torch.rand(4, 3, 8, 8, requires_grad=True)
    return r1_penalty((x ** 2).sum((1, 2, 3)), x)
"""


@pytest.mark.parametrize(
    ("body", "holds"),
    [("grad.pow(2).flatten(1).sum(1).mean()", True), ("grad.flatten(1).norm(dim=1).mean()", False)],
)
def test_r1(define: Define, body: str, holds: bool) -> None:
    assert define(R1.format(body), "start()")["r1-penalty-grows-with-the-square"].holds is holds
