"""Organs in abdominal slices: training like a notebook, Dice for each organ and over all, best checkpoint kept."""
import copy

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

ORGANS = ["liver", "spleen", "kidney", "stomach"]
torch.manual_seed(7)


# %% Data: every slice shows only some of the organs
def make_slices(count, seed, size=40):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    level = {"liver": 0.5, "spleen": 0.38, "kidney": 0.7, "stomach": 0.05}
    place = {"liver": (12, 16, 8, 6), "spleen": (31, 20, 4, 5), "kidney": (26, 30, 3.5, 3.5), "stomach": (27, 11, 5, 4)}
    chance = {"liver": 0.8, "spleen": 0.5, "kidney": 0.4, "stomach": 0.4}
    images, labels = [], []
    for _ in range(count):
        image = 0.22 * ((((x - 20) / 18) ** 2 + ((y - 20) / 17) ** 2) < 1) + 0.04 * np.sin(x / rng.uniform(2, 4) + rng.uniform(0, 6))
        label = np.zeros((size, size), np.int64)
        for number, organ in enumerate(ORGANS, 1):
            if rng.random() > chance[organ]:
                continue
            cx, cy, a, b = place[organ]
            cx, cy, scale = cx + rng.uniform(-2, 2), cy + rng.uniform(-2, 2), rng.uniform(0.75, 1.15)
            inside = ((x - cx) / (a * scale)) ** 2 + ((y - cy) / (b * scale)) ** 2 < 1
            image[inside], label[inside] = level[organ] + rng.uniform(-0.03, 0.03), number
        images.append(image + rng.normal(0, 0.05, image.shape))
        labels.append(label)
    images = torch.tensor(np.stack(images), dtype=torch.float32)[:, None]
    return TensorDataset((images - 0.3) / 0.2, torch.tensor(np.stack(labels)))


train_loader = DataLoader(make_slices(160, 1), 8, shuffle=True)
val_loader = DataLoader(make_slices(60, 2), 20)


# %% Metric
class DiceOfOrgans:
    """Collects the Dice of each slice and organ; an organ that a slice does not show is not a number there and left out."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.parts, self.joined = [], None

    def __call__(self, prediction, label):
        rows = []
        for k in range(1, len(ORGANS) + 1):
            p, g = (prediction == k).flatten(1), (label == k).flatten(1)
            dice = 2 * (p & g).sum(1) / (p.sum(1) + g.sum(1)).clamp(min=1)
            rows.append(torch.where(g.any(1), dice, torch.nan))
        self.parts.append(torch.stack(rows, 1))
        self.joined = None

    def collected(self):
        if self.joined is None:
            self.joined = torch.cat(self.parts)
        return self.joined

    def aggregate(self, dim=None):
        """Mean over the slices for each organ (dim=0) or over everything."""
        scores = self.collected().clone()
        known = ~torch.isnan(scores)
        scores[~known] = 0
        return scores.sum(dim) / known.sum(dim).clamp(min=1)


# %% Network
def conv(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


class SegNet(nn.Module):
    def __init__(self, classes, width=12):
        super().__init__()
        self.a, self.b = conv(1, width), conv(width, 2 * width, 2)
        self.c = nn.Sequential(conv(2 * width, 3 * width, 2), conv(3 * width, 3 * width))
        self.up_b, self.up_a = nn.ConvTranspose2d(3 * width, 2 * width, 2, 2), nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.join_b, self.join_a = conv(4 * width, 2 * width), conv(2 * width, width)
        self.out = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(a)
        h = self.join_b(torch.cat([self.up_b(self.c(b)), b], 1))
        return self.out(self.join_a(torch.cat([self.up_a(h), a], 1)))


model = SegNet(len(ORGANS) + 1)
criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.4, 1.0, 1.0, 1.0, 1.0]))
epochs = 7
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(train_loader))
metric = DiceOfOrgans()

# %% Training
best, best_weights = -1.0, None
for epoch in range(1, epochs + 1):
    model.train()
    total = 0.0
    for image, label in train_loader:
        loss = criterion(model(image), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        for image, label in val_loader:
            metric(model(image).argmax(1), label)
    organs = metric.aggregate(dim=0)
    mean = metric.aggregate().item()
    metric.reset()
    if mean > best:
        best, best_weights = mean, copy.deepcopy(model.state_dict())
    print(f"epoch {epoch} loss {total / len(train_loader):.3f} mean Dice {mean:.3f} | "
          + " ".join(f"{name} {value:.3f}" for name, value in zip(ORGANS, organs)))

# %% The best checkpoint once more
model.load_state_dict(best_weights)
model.eval()
with torch.no_grad():
    for image, label in val_loader:
        metric(model(image).argmax(1), label)
print("best: " + " ".join(f"{name} {value:.3f}" for name, value in zip(ORGANS, metric.aggregate(dim=0)))
      + f" mean {metric.aggregate().item():.3f}")
metric.reset()
