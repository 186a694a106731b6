"""C1103 on functional dropout that `eval()` does not reach."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.evidence.probed import RandomnessProbed
from traindx.finding import Standing
from watch.inside import found, watched


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 2)
        self.layer = nn.Dropout(0.5)

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


@pytest.mark.parametrize("kind", ["passed on", "on purpose", "latent", "layer"])
def test_what_is_off_or_meant_is_left_alone(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind), tmp_path)
    assert evidence.of(RandomnessProbed)
    assert not found("C1103", evidence)
