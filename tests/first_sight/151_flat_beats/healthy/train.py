"""Heart beats from one ECG lead in four classes; the weights are kept in one flat vector, ready to be sharded."""
import argparse
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

CLASSES = ["normal", "bundle branch", "ventricular", "atrial"]


def wave(t, centre, width, height):
    return height * np.exp(-0.5 * ((t - centre) / width) ** 2)


def simulate(count, seed, length=128):
    """Beats of four kinds, with jitter of shape and rhythm, baseline wander and noise."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, length)
    beats, labels = np.zeros((count, 1, length), np.float32), rng.integers(0, 4, count)
    for i, kind in enumerate(labels):
        shift, gain = rng.normal(0, 0.02), rng.uniform(0.8, 1.2)
        qrs, p_height, p_time = rng.uniform(0.012, 0.018), rng.uniform(0.1, 0.18), 0.28
        if kind == 1:
            qrs *= 1.6
        if kind == 2:
            qrs, p_height = 2.4 * qrs, 0.0
        if kind == 3:
            p_time, p_height = rng.uniform(0.18, 0.23), rng.uniform(-0.12, 0.05)
        beat = wave(t, p_time + shift, 0.025, p_height) + wave(t, 0.45 + shift, qrs, 1.0)
        beat += wave(t, 0.45 - 2.2 * qrs + shift, qrs, -0.15) + wave(t, 0.45 + 2.2 * qrs + shift, qrs, -0.25)
        beat += wave(t, 0.72 + shift, 0.05, rng.uniform(0.2, 0.35) * (-1 if kind == 2 else 1))
        if kind == 1:
            beat += wave(t, 0.5 + shift, qrs, 0.45)
        drift = 0.15 * np.sin(2 * math.pi * (rng.uniform(0.2, 0.6) * t + rng.uniform()))
        beats[i, 0] = gain * beat + drift + rng.normal(0, 0.07, length)
    return TensorDataset(torch.from_numpy(beats), torch.from_numpy(labels))


class BeatNet(nn.Module):
    def __init__(self, width=16, classes=4):
        super().__init__()
        layers, channels = [], 1
        for out in (width, 2 * width, 2 * width):
            layers += [nn.Conv1d(channels, out, 7, 2, 3), nn.BatchNorm1d(out), nn.ReLU()]
            channels = out
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(channels * 16, 32), nn.ReLU(), nn.Linear(32, classes))

    def forward(self, x):
        return self.head(self.features(x))


class FlatWeights(nn.Module):
    """Takes the weights out of a module and serves them as views of a single vector."""

    def __init__(self, module):
        super().__init__()
        self.slots, pieces = [], []
        for owner in module.modules():
            for key, weight in list(owner.named_parameters(recurse=False)):
                self.slots.append((owner, key, weight.shape))
                pieces.append(weight.detach().reshape(-1))
                delattr(owner, key)
        self.vector = nn.Parameter(torch.cat(pieces))
        self.sizes = [len(piece) for piece in pieces]
        self.module = module

    def forward(self, x):
        for (owner, key, shape), piece in zip(self.slots, self.vector.split(self.sizes)):
            setattr(owner, key, piece.view(shape))
        return self.module(x)


def run_epoch(net, loader, optimizer, scheduler):
    net.train()
    total, seen = 0.0, 0
    for beat, label in loader:
        loss = F.cross_entropy(net(beat), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        total, seen = total + loss.item() * len(label), seen + len(label)
    return total / seen


@torch.no_grad()
def recalls(net, loader):
    net.eval()
    hit, size = torch.zeros(len(CLASSES)), torch.zeros(len(CLASSES))
    for beat, label in loader:
        right = (net(beat).argmax(1) == label).float()
        hit.index_add_(0, label, right)
        size.index_add_(0, label, torch.ones_like(right))
    return hit / size


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    args = parse()
    torch.manual_seed(args.seed)
    train = DataLoader(simulate(1600, 1), args.batch, shuffle=True)
    valid = DataLoader(simulate(600, 2), 100)
    net = BeatNet()
    net = FlatWeights(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(train))
    for epoch in range(1, args.epochs + 1):
        loss = run_epoch(net, train, optimizer, scheduler)
        recall = recalls(net, valid)
        print(f"epoch {epoch} loss {loss:.4f} balanced accuracy {recall.mean():.4f}")
    print("recall: " + ", ".join(f"{name} {value:.3f}" for name, value in zip(CLASSES, recall)))


if __name__ == "__main__":
    main()
