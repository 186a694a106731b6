"""Losses on embeddings by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
TRIPLET = "def triplet_loss(anchor, positive, negative, margin=1.0):\n    return {}\n"
CLOSE = "F.relu((anchor - positive).norm(dim=1) - (anchor - negative).norm(dim=1) + margin).mean()"


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        (CLOSE, True),
        ("F.triplet_margin_loss(anchor, positive, negative)", True),
        ("F.relu(F.cosine_similarity(anchor, negative) - F.cosine_similarity(anchor, positive) + 0.2).mean()", True),
        (CLOSE.replace("positive", "x").replace("negative", "positive").replace("x)", "negative)"), False),
        ("F.relu(F.cosine_similarity(anchor, positive) - F.cosine_similarity(anchor, negative) + 0.2).mean()", False),
    ],
)
def test_triplets(define: Define, body: str, holds: bool) -> None:
    call = "triplet_loss(torch.randn(8, 16), torch.randn(8, 16), torch.randn(8, 16))"
    assert define(TRIPLET.format(body), call)["triplet-loss-prefers-the-positive"].holds is holds


SUPCON = """
class SupConLoss(nn.Module):
    def forward(self, features, labels, temperature=0.1):
        z = F.normalize(features, dim=1)
        sim = z @ z.t() / temperature
        same = (labels[:, None] {} labels[None]).float() * (1 - torch.eye(len(z)))
        sim = sim - 1e9 * torch.eye(len(z))
        log = sim - sim.logsumexp(1, keepdim=True)
        return {}((same * log).sum(1) / same.sum(1).clamp(min=1)).mean()
"""


@pytest.mark.parametrize(("compare", "sign", "holds"), [("==", "-", True), ("==", "", False), ("!=", "-", False)])
def test_labels(define: Define, compare: str, sign: str, holds: bool) -> None:
    found = define(SUPCON.format(compare, sign), "SupConLoss()(torch.randn(12, 16), torch.arange(12) % 3)")
    assert found["labelled-embeddings-lower-in-clusters"].holds is holds
    assert found["contrastive-loss-without-order"].holds


NCE = """
def info_nce_loss(z1, z2, temperature=0.2):
    z1, z2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    logits = {}
    return F.cross_entropy(logits, {})
"""


@pytest.mark.parametrize(
    ("logits", "labels", "broken"),
    [
        ("z1 @ z2.t() / temperature", "torch.arange(len(z1))", None),
        ("z1 @ z2.t() * temperature", "torch.arange(len(z1))", "temperature-divides"),
        ("z1 @ z2.t() / temperature", "torch.zeros(len(z1)).long()", "contrastive-loss-without-order"),
    ],
)
def test_views(define: Define, logits: str, labels: str, broken: str | None) -> None:
    found = define(NCE.format(logits, labels), "info_nce_loss(torch.randn(8, 16), torch.randn(8, 16))")
    assert {"temperature-divides", "contrastive-loss-without-order"} <= {*found}
    wrong = {key for key, one in found.items() if not one.holds}
    assert broken in wrong if broken else not wrong


@pytest.mark.parametrize(("how", "holds"), [("/", True), ("*", False)])
def test_a_temperature_that_is_held(define: Define, how: str, holds: bool) -> None:
    source = "class InfoNCELoss(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    source += "        self.temperature = 0.2\n"
    source += "    def forward(self, a, b):\n        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)\n"
    source += f"        return F.cross_entropy(a @ b.t() {how} self.temperature, torch.arange(len(a)))\n"
    found = define(source, "InfoNCELoss()(torch.randn(8, 16), torch.randn(8, 16))")
    assert found["temperature-divides"].holds is holds


PAIRS = "def contrastive_loss(a, b, y, margin=1.0):\n    d = (a - b).norm(dim=1)\n    return ({}).mean()\n"


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("y * d ** 2 + (1 - y) * F.relu(margin - d) ** 2", True),
        ("(1 - y) * d ** 2 + y * F.relu(margin - d) ** 2", True),
        ("y * d ** 2 + (1 - y) * F.relu(d - margin) ** 2", False),
    ],
)
def test_pairs(define: Define, body: str, holds: bool) -> None:
    call = "contrastive_loss(torch.randn(8, 16), torch.randn(8, 16), torch.randint(0, 2, (8,)).float())"
    assert define(PAIRS.format(body), call)["pair-loss-depends-on-the-label"].holds is holds


def test_a_queue_has_an_order(define: Define) -> None:
    source = NCE.replace("info_nce_loss", "info_nce_queue_loss").format("z1 @ z2.t()", "torch.zeros(len(z1)).long()")
    found = define(source, "info_nce_queue_loss(torch.randn(8, 16), torch.randn(8, 16))")
    assert "contrastive-loss-without-order" not in found


DRAWN = """
class Pretrainer:
    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def partners(self, labels):
        noise = torch.rand((len(labels), len(labels)), generator=self.generator{more})
        return noise.masked_fill(labels[:, None] != labels[None], -1).argmax(1)

    def contrastive_loss(self, embedded, labels):
        return (embedded - embedded[self.partners(labels)]).square().sum(1).mean()
"""


def test_a_loss_that_draws_its_pairs_from_a_generator_of_its_own_may_depend_on_their_order(define: Define) -> None:
    found = define(DRAWN.format(more=""), "Pretrainer().contrastive_loss(torch.randn(12, 16), torch.arange(12) % 3)")
    assert "contrastive-loss-without-order" not in found or found["contrastive-loss-without-order"].holds
    fixed = DRAWN.replace("generator=self.generator{more}", "generator=torch.Generator().manual_seed(3)")
    found = define(fixed, "Pretrainer().contrastive_loss(torch.randn(12, 16), torch.arange(12) % 3)")
    assert not found["contrastive-loss-without-order"].holds  # always the same numbers: by place, not by chance
