"""L321 in scripts of their own: a Dice loss over all classes together, the same class by class, and near misses."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined
from rules.watched.test_watched_rules import Triple, place, source
from traindx.finding import Standing

REGIONS = """
axis = torch.linspace(-1, 1, 16)
yy, xx = torch.meshgrid(axis, axis, indexing="ij")
centre = torch.rand(64, 2, 1, 1, generator=generator) - 0.5
away = ((yy - centre[:, :1]) ** 2 + (xx - centre[:, 1:]) ** 2).sqrt().squeeze(1)
labels = (away < 0.6).long() + (away < 0.22)
images = labels[:, None] * 0.4 + 0.2 * torch.randn(64, 1, 16, 16, generator=generator)
model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)

def overlap(logits, wanted):
    p, t = logits.softmax(1), F.one_hot(wanted, 3).movedim(-1, 1).float()
    {flat}
    both = (p * t).sum(-1)  # HERE
    return 1 - (2 * both / (p.sum(-1) + t.sum(-1)).clamp(min=1e-5)).mean()

for epoch in range(4):
    for start in range(0, 64, 8):
        logits, wanted = model(images[start:start + 8]), labels[start:start + 8]
        loss = {loss}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
"""


TRIPLES = (
    Triple(
        "L321",
        REGIONS.format(flat="p, t = p.flatten(1), t.flatten(1)", loss="overlap(logits, wanted)"),
        REGIONS.format(flat="p, t = p.flatten(2), t.flatten(2)", loss="overlap(logits, wanted)"),
        # beside a voxel-wise term the overlap is not all there is
        REGIONS.format(flat="p, t = p.flatten(1), t.flatten(1)",
                       loss="overlap(logits, wanted) + F.cross_entropy(logits, wanted)"),
    ),
)  # fmt: skip


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda triple: triple.code)
def test_found_at_its_line(triple: Triple, examined: Examined) -> None:
    found = [finding for finding in examined(source(triple.faulty)) if finding.code == triple.code]
    assert found, "not found"
    assert found[0].standing is triple.standing
    assert found[0].location is not None
    assert found[0].location.line == place(triple.faulty)


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda triple: triple.code)
def test_nothing_above_suspected_in_its_twin(triple: Triple, examined: Examined) -> None:
    above = [f for f in examined(source(triple.healthy)) if f.standing.rank > Standing.SUSPECTED.rank]
    assert [f.message for f in above] == []


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda triple: triple.code)
def test_near_miss_is_left_alone(triple: Triple, examined: Examined) -> None:
    assert [f.message for f in examined(source(triple.near_miss)) if f.code == triple.code] == []
