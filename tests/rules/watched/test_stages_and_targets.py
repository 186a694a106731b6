"""Relations between stages, targets and schedules of a script: the fault, its twin, a near miss (D108, D138, L323)."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined
from rules.watched.test_watched_rules import LOOP, NET, Triple, place, source
from traindx.finding import Standing

PLATEAU = (
    NET
    + """
optimizer = torch.optim.SGD(model.parameters(), 0.05)
schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="{mode}", factor=0.5, patience=0)  # HERE
for epoch in range(8):
    for start in range(0, 256, 16):
        optimizer.zero_grad()
        loss = criterion(model(x[start:start + 16]), y[start:start + 16])
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        whole_loss = criterion(model(x), y).item()
        accuracy = (model(x).argmax(1) == y).float().mean().item()
    schedule.step({given})
    print(epoch, whole_loss)
"""
)

PAIRS = """
model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)

def criterion(logits, labels):
    p, wanted = torch.sigmoid(logits[:, 0]), labels.float()
    yes, no = wanted == 1, wanted == 0
    loss = F.binary_cross_entropy(p[yes], wanted[yes])
    return loss + F.binary_cross_entropy(p[no], wanted[no]{shift})  # HERE
"""

GAN = """
model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)

def criterion(logits, labels):
    real, fake = logits[:8], logits[8:]
    loss = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    return loss + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
"""

SPLIT = """
from torch.utils.data import DataLoader, TensorDataset
x = torch.randn(200, 1, 8, 8, generator=generator)
y = (x.mean((1, 2, 3)) > 0).long()
{before}
order = torch.randperm(len(x), generator=generator)
a, b = x[order[:{cut}]], x[order[{cut}:]]
c, d = y[order[:{cut}]], y[order[{cut}:]]  # HERE
{after}
train, valid = DataLoader(TensorDataset(a, c), 16, shuffle=True), DataLoader(TensorDataset(b, d), 16)
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
for epoch in range(3):
    for images, labels in train:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        print(epoch, sum(F.cross_entropy(model(images), labels).item() for images, labels in {watch}))
"""
TWICE = "x, y = torch.cat([x, x[:40]]), torch.cat([y, y[:40]])"
TRAIN_TWICE = "a, c = torch.cat([a, a[:40]]), torch.cat([c, c[:40]])"

STAGES = """
images = 40 + 12 * torch.rand(96, 1, 1, 1, generator=generator) * torch.randn(96, 1, 20, 20, generator=generator)
labels = (images.amax((1, 2, 3)) > 60).long()
model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)

def by_set(image):
    return (image - images.mean()) / images.std()

def by_itself(image):
    return (image - image.mean((1, 2, 3), keepdim=True)) / image.std((1, 2, 3), keepdim=True)

for epoch in range(3):
    for start in range(0, 64, 8):
        inputs = {train}(images[start:start + 8]){crop}
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels[start:start + 8])
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        inputs = {valid}(images[64:])  # HERE
        print(epoch, (model(inputs).argmax(1) == labels[64:]).float().mean())
"""

BYTES = """
import numpy as np
from torch.utils.data import DataLoader, Dataset

class Bytes(Dataset):
    def __init__(self):
        self.images = np.random.default_rng(0).integers(20, 200, (64, 1, 8, 8)).astype(np.uint8)
        self.mean = np.uint8(110)

    def __len__(self):
        return 64

    def __getitem__(self, index):
        image = self.images[index]
        {line}
        return torch.from_numpy(np.asarray(image, np.float32)) / 64, int(self.images[index].mean() > 110)

model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
for epoch in range(3):
    for images, labels in DataLoader(Bytes(), 8, shuffle=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
"""

SPECTRAL = """
from torch.nn.utils import spectral_norm
model = nn.Sequential(spectral_norm(nn.Linear(12, 32)), nn.ReLU(), nn.Linear(32, 2))
criterion = nn.CrossEntropyLoss()

@torch.no_grad()
def outputs(values):
    model.eval()
    return model(values)

def spread(values):
    return float(outputs(values).std())

{first}
scale = spread(x)  # HERE
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
model.train()
"""

SCORED = """
from torch.utils.data import DataLoader, TensorDataset
data = TensorDataset(x, y)
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
valid = DataLoader(data, 32, shuffle={shuffle})  # HERE
for epoch in range(3):
    for xb, yb in DataLoader(data, 16, shuffle=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        {score}
"""
APART = "guess = torch.cat([model(xb).argmax(1) for xb, _ in valid])\n        print((guess == y).float().mean())"
SAME = "print(sum((model(xb).argmax(1) == yb).sum() for xb, yb in valid) / 256)"

TRIPLES = (
    Triple(
        "E812",
        SCORED.format(shuffle=True, score=APART),
        SCORED.format(shuffle=False, score=APART),
        SCORED.format(shuffle=True, score=SAME),
        Standing.SUSPECTED,
    ),
    Triple(
        "C1112",
        SPECTRAL.format(first="") + LOOP,
        SPECTRAL.format(first="model(x)") + LOOP,
        # the other spectral norm iterates when it is applied
        SPECTRAL.format(first="").replace("nn.utils import", "nn.utils.parametrizations import") + LOOP,
    ),
    Triple(
        "O415",
        PLATEAU.format(mode="max", given="whole_loss"),
        PLATEAU.format(mode="min", given="whole_loss"),
        PLATEAU.format(mode="max", given="accuracy"),
    ),
    Triple("L323", PAIRS.format(shift=" + 1") + LOOP, PAIRS.format(shift="") + LOOP, GAN + LOOP),
    Triple(
        "D108",
        SPLIT.format(before=TWICE, after="", cut=180, watch="valid"),
        SPLIT.format(before="", after=TRAIN_TWICE, cut=150, watch="valid"),
        # the training data once more, looked at on purpose
        SPLIT.format(before="", after="again = DataLoader(TensorDataset(a, c), 16)", cut=150, watch="again"),
    ),
    Triple(
        "M214",
        STAGES.format(train="by_set", valid="by_itself", crop=""),
        STAGES.format(train="by_set", valid="by_set", crop=""),
        # patches of images that were standardised as a whole
        STAGES.format(train="by_itself", valid="by_itself", crop="[..., 4:14, 2:12]"),
    ),
    Triple(
        "D138",
        BYTES.format(line="image = image - self.mean  # HERE"),
        BYTES.format(line="image = image.astype(np.float32) - self.mean"),
        BYTES.format(line="image = image - np.uint8(20)"),  # nothing is darker than that
    ),
)  # fmt: skip


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda triple: triple.code)
def test_found_at_its_line(triple: Triple, examined: Examined) -> None:
    found = [finding for finding in examined(source(triple.faulty)) if finding.code == triple.code]
    assert found, "not found"
    assert found[0].standing is triple.standing
    assert found[0].location is not None
    assert found[0].location.line == place(triple.faulty), found[0]


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda triple: triple.code)
def test_nothing_above_suspected_in_its_twin(triple: Triple, examined: Examined) -> None:
    above = [f for f in examined(source(triple.healthy)) if f.standing.rank > Standing.SUSPECTED.rank]
    assert [f.message for f in above] == []


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda triple: triple.code)
def test_near_miss_is_left_alone(triple: Triple, examined: Examined) -> None:
    assert [f.message for f in examined(source(triple.near_miss)) if f.code == triple.code] == []


def test_a_gain_and_an_offset_after_the_standardisation_are_no_other_preprocessing(examined: Examined) -> None:
    """What is drawn for training alone scatters about 0 and 1, as images do that go by the statistics of the set."""
    drawn = "(lambda x: x * torch.empty(len(x), 1, 1, 1).uniform_(0.75, 1.3) + 0.2 * torch.randn(len(x), 1, 1, 1))"
    text = STAGES.format(train=drawn + "(by_itself", valid="by_itself", crop=")")
    assert [finding.code for finding in examined(source(text)) if finding.code == "M214"] == []
