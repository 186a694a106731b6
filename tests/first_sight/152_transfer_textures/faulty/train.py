# %% [markdown]
# Few-shot recognition of fabrics: a network trained on plenty of synthetic weaves, its head exchanged for twelve new fabrics.

# %%
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(7)
SIDE = 24


def fabrics(part, kinds, per_kind, seed):
    """Pictures of `kinds` fabrics, each a sum of two gratings with own angles, pitches and colour; phases and light vary."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    recipe = [(rng.uniform(0, math.pi, 2), rng.uniform(3, 8, 2), rng.uniform(-0.5, 0.5, 3)) for _ in range(kinds)]
    draws = np.random.default_rng(seed + part)
    images, labels = [], []
    for kind, (angles, pitches, tint) in enumerate(recipe):
        for _ in range(per_kind):
            image = np.zeros((SIDE, SIDE))
            for angle, pitch in zip(angles, pitches):
                angle, phase = angle + draws.normal(0, 0.08), draws.uniform(0, 2 * math.pi)
                image += np.sin(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / pitch + phase)
            colour = draws.uniform(0.6, 1.2) * (1 + tint)[:, None, None] * image[None] + draws.normal(0, 0.3)
            images.append(colour + draws.normal(0, 0.9, colour.shape))
            labels.append(kind)
    return torch.tensor(np.stack(images), dtype=torch.float32), torch.tensor(labels)


# %%
class Trunk(nn.Module):
    def __init__(self, kinds, width=24):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 5, 2, 2), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width)
        self.conv3, self.bn3 = nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.BatchNorm2d(2 * width)
        self.fc = nn.Linear(2 * width, kinds)

    def forward(self, x):
        for conv, bn in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = F.relu(bn(conv(x)))
        return self.fc(x.mean((2, 3)))


def fit(model, x, y, optimizer, epochs, batch, valid=None):
    for epoch in range(epochs):
        model.train()
        losses = []
        for pick in torch.randperm(len(x)).split(batch):
            if len(pick) < 2:
                continue
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[pick]), y[pick])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if valid is not None and (epoch + 1) % 5 == 0:
            print(f"epoch {epoch + 1:3d} loss {np.mean(losses):.4f} accuracy {accuracy(model, *valid):.4f}")
    return np.mean(losses)


@torch.no_grad()
def accuracy(model, x, y):
    model.eval()
    return (model(x).argmax(1) == y).float().mean().item()


# %% the large source set
x, y = fabrics(1, kinds=32, per_kind=60, seed=10)
model = Trunk(32)
loss = fit(model, x, y, torch.optim.Adam(model.parameters(), lr=2e-3), epochs=4, batch=64)
print(f"source: loss {loss:.4f}, accuracy on new pictures {accuracy(model, *fabrics(2, 32, 12, seed=10)):.4f}")

# %% the small target set: norm layers adapt, convolutions stay, the head is new
x, y = fabrics(1, kinds=12, per_kind=12, seed=20)
valid = fabrics(2, kinds=12, per_kind=40, seed=20)
model.fc = nn.Linear(model.fc.in_features, 12)
for name, weight in model.named_parameters():
    if "bn" not in name:
        weight.requires_grad = False
for weight in model.fc.parameters():
    weight.requires_grad = False
optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=5e-3)
fit(model, x, y, optimizer, epochs=20, batch=24, valid=valid)
print(f"target: accuracy {accuracy(model, *valid):.4f}")
