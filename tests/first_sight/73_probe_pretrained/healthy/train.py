"""Few labelled nodules, many unlabelled organ patches: pre-train an encoder on body regions, then fine-tune it.

python train.py pretrain && python train.py finetune        (train.py alone does both)
"""
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SIZE, REGIONS = 32, 6
WEIGHTS = Path("encoder.pt")


def rings(rng, yy, xx, spacing):
    y, x = rng.uniform(-5, 5, 2)
    return np.cos(2 * np.pi * np.hypot(yy - y, xx - x) / spacing + rng.uniform(0, 6))


def stripes(rng, yy, xx, spacing):
    a = rng.uniform(0, np.pi)
    return np.cos(2 * np.pi * (yy * np.sin(a) + xx * np.cos(a)) / spacing + rng.uniform(0, 6))


def blobs(rng, yy, xx, size):
    out = np.zeros_like(yy)
    for _ in range(int(160 / size**2) + 3):
        y, x = rng.uniform(-16, 16, 2)
        out += np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / size**2)
    return 2 * out - 1


TEXTURES = [(rings, 5.0), (rings, 9.0), (stripes, 4.0), (stripes, 8.0), (blobs, 1.5), (blobs, 3.0)]


def patches(n, seed, task):
    """Texture patches with noise. Task 'region': which of six. Task 'nodule': benign or malignant by a mixture of two."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    images, labels = [], []
    for i in range(n):
        label = i % (REGIONS if task == "region" else 2)
        chosen = [label] if task == "region" else ([1, 5] if label else [0, 4])
        image = sum(TEXTURES[k][0](rng, yy, xx, TEXTURES[k][1] * rng.uniform(0.85, 1.15)) for k in chosen) / len(chosen)
        images.append(rng.uniform(0.5, 1.0) * image + rng.normal(0, 0.9, image.shape))
        labels.append(label)
    return torch.tensor(np.stack(images), dtype=torch.float32)[:, None], torch.tensor(labels)


class Encoder(nn.Module):
    def __init__(self, ch=16):
        super().__init__()

        def block(cin, cout):
            return [nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2)]

        self.layers = nn.Sequential(*block(1, ch), *block(ch, 2 * ch), *block(2 * ch, 3 * ch), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.width = 3 * ch

    def forward(self, x):
        return self.layers(x)


class RegionNet(nn.Module):
    """Pre-training: which region does the patch come from."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Linear(self.encoder.width, REGIONS)

    def forward(self, x):
        return self.head(self.encoder(x))


class NoduleNet(nn.Module):
    def __init__(self, weights=None):
        super().__init__()
        self.model = Encoder()
        self.classifier = nn.Linear(self.model.width, 2)
        if weights is not None:
            self.model.load_state_dict(torch.load(weights))

    def forward(self, x):
        return self.classifier(self.model(x))


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        return (torch.cat([net(part) for part in x.split(100)]).argmax(1) == y).float().mean().item()


def fit(net, x, y, epochs, lr, batch, check, every):
    optimizer = torch.optim.AdamW(net.parameters(), lr, weight_decay=1e-2)
    for epoch in range(1, epochs + 1):
        net.train()
        total = 0.0
        for index in torch.randperm(len(x)).split(batch):
            loss = F.cross_entropy(net(x[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(index) / len(x)
        if epoch % every == 0:
            print(f"  epoch {epoch:2d} loss {total:.4f} test accuracy {accuracy(net, *check):.3f}")


def pretrain():
    print("pre-training on body regions")
    torch.manual_seed(0)
    net = RegionNet()
    fit(net, *patches(1500, 1, "region"), epochs=7, lr=3e-3, batch=50, check=patches(300, 2, "region"), every=7)
    torch.save(net.encoder.state_dict(), WEIGHTS)


def finetune():
    print("fine-tuning on nodules")
    torch.manual_seed(1)
    net = NoduleNet(WEIGHTS)
    fit(net, *patches(40, 3, "nodule"), epochs=40, lr=5e-4, batch=10, check=patches(400, 4, "nodule"), every=10)
    torch.save(net.state_dict(), "nodule.pt")


if __name__ == "__main__":
    for step in sys.argv[1:] or ["pretrain", "finetune"]:
        {"pretrain": pretrain, "finetune": finetune}[step]()
