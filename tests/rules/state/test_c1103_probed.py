"""C1103 on functional dropout that `eval()` does not reach."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.evidence.probed import RandomnessProbed
from traindx.finding import Standing
from watch.inside import found, watched


class WordDropout(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        keep = x.new_empty(x.shape).bernoulli_(1 - self.p)
        return x * keep


class WordDropoutInTraining(WordDropout):
    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > self.p) if self.training else x


class WordDropoutAskingTheMethod(WordDropout):
    def forward(self, x: Tensor) -> Tensor:
        if not self.train:
            return x
        return x * (torch.rand_like(x) > self.p)


class MCDropout(WordDropout):
    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > self.p)


class GaussianNoise(nn.Module):
    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sigma * torch.randn_like(x)


class NoiseInjection(nn.Module):
    """As a generator has it: learnt, and meant in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.strength * torch.randn_like(x)


def drop_path(x: Tensor, rate: float) -> Tensor:
    if random.random() < rate:
        return torch.zeros_like(x)
    return x * 2 / 2


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "own": lambda: WordDropout(0.5),
    "own in training": lambda: WordDropoutInTraining(0.5),
    "own method": lambda: WordDropoutAskingTheMethod(0.5),
    "own mc": lambda: MCDropout(0.5),
    "own noise": lambda: GaussianNoise(0.5),
    "own learnt noise": NoiseInjection,
}


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 2)
        self.layer = LAYERS.get(kind, lambda: nn.Dropout(0.5))()
        self.kept = [nn.Dropout(0.5)]

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.a(x))
        if self.kind == "forgotten":
            h = F.dropout(h, 0.5)
        elif self.kind == "attention":
            rate, q = 0.5, h[:, None, None]
            scaled_dot_product_attention_rate = rate
            h = F.scaled_dot_product_attention(q, q, q, dropout_p=scaled_dot_product_attention_rate)[:, 0, 0]
        elif self.kind == "passed on":
            h = F.dropout(h, 0.5, self.training)
        elif self.kind == "on purpose":
            h = F.dropout(h, 0.5, training=True)
        elif self.kind == "made in forward":
            h = nn.Dropout(0.5)(h)
        elif self.kind == "kept in a list":
            h = self.kept[0](h)
        elif self.kind == "by chance":
            h = drop_path(h, 0.5)
        elif self.kind == "latent":
            h = h + torch.randn_like(h)
        else:
            h = self.layer(h)
        return self.b(h)


def loop(kind: str) -> None:
    torch.manual_seed(0)
    net = Net(kind)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(3):
        net.train()
        loss = F.cross_entropy(net(torch.randn(6, 8)), torch.randint(0, 2, (6,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        net.eval()
        with torch.no_grad():
            net(torch.randn(6, 8))


@pytest.mark.parametrize(
    ("kind", "function"), [("forgotten", "dropout"), ("attention", "scaled_dot_product_attention")]
)
def test_dropout_that_stays_on_is_named(kind: str, function: str, tmp_path: Path) -> None:
    (finding,) = found("C1103", watched(lambda: loop(kind), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.message.startswith(function)
    assert finding.location is not None
    line = Path(__file__).read_text().splitlines()[finding.location.line - 1]
    assert line.strip().startswith(f"h = F.{function}" if kind == "forgotten" else f"{function}_rate = rate")


@pytest.mark.parametrize(
    ("kind", "line", "standing"),
    [
        ("own", "keep = x.new_empty", Standing.DEMONSTRATED),
        ("own method", "return x * (torch.rand_like(x) > self.p)", Standing.DEMONSTRATED),
        ("own noise", "return x + self.sigma", Standing.SUSPECTED),
        ("made in forward", "h = nn.Dropout(0.5)(h)", Standing.DEMONSTRATED),
        ("kept in a list", "h = self.kept[0](h)", Standing.DEMONSTRATED),
        ("by chance", "if random.random() < rate:", Standing.DEMONSTRATED),
    ],
)
def test_an_own_layer_that_stays_on_is_named_where_it_draws(
    kind: str, line: str, standing: Standing, tmp_path: Path
) -> None:
    (finding,) = found("C1103", watched(lambda: loop(kind), tmp_path))
    assert finding.standing is standing
    assert finding.location is not None
    assert Path(__file__).read_text().splitlines()[finding.location.line - 1].strip().startswith(line)


@pytest.mark.parametrize(
    "kind",
    ["passed on", "on purpose", "latent", "layer", "own in training", "own mc", "own learnt noise"],
)
def test_what_is_off_or_meant_is_left_alone(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind), tmp_path)
    assert evidence.of(RandomnessProbed)
    assert not found("C1103", evidence)
