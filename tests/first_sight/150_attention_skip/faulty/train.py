"""Delineation of the electrocardiogram (P wave, QRS complex, T wave, none) with a small transformer over short segments."""
import math
import os
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

EPOCHS = int(os.environ.get("EPOCHS", 8))
PIECE, PIECES, NAMES = 5, 60, ["none", "P", "QRS", "T"]


def recording(rng):
    """300 samples with about three beats, and the wave to which every sample belongs."""
    n = PIECE * PIECES
    t = np.arange(n)
    signal, label = np.zeros(n), np.zeros(n, int)
    beat, interval = rng.uniform(-60, 30), rng.uniform(75, 120)
    while beat < n + 60:
        stretch = interval / 100
        missing = rng.random() < 0.2
        for kind, centre, width, height in (
            (1, beat - 17 * stretch + rng.normal(0, 1), 3.5, 0.0 if missing else rng.uniform(0.1, 0.25)),
            (2, beat, rng.uniform(1.5, 2.5), rng.uniform(0.8, 1.4)),
            (3, beat + 30 * stretch + rng.normal(0, 1.5), 6 * stretch, rng.uniform(0.15, 0.4) * rng.choice([1, 1, 1, -1])),
        ):
            signal += height * np.exp(-((t - centre) ** 2) / (2 * width**2))
            if kind == 2:
                signal -= 0.25 * height * np.exp(-((t - centre - 5) ** 2) / 5)
            if height:
                label[np.abs(t - centre) < 2.2 * width + 2 * (kind == 2)] = kind
        beat += interval * rng.uniform(0.92, 1.08)
    signal += 0.2 * np.sin(2 * np.pi * t / rng.uniform(150, 400) + rng.uniform(0, 6)) + rng.normal(0, 0.04, n)
    return (signal - signal.mean()) / signal.std(), label


def dataset(count, seed):
    rng = np.random.default_rng(seed)
    signals, labels = zip(*(recording(rng) for _ in range(count)))
    return torch.tensor(np.stack(signals), dtype=torch.float32), torch.tensor(np.stack(labels))


class FeedForward(nn.Module):
    def __init__(self, dim, factor=2):
        super().__init__()
        self.net = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, factor * dim), nn.GELU(), nn.Linear(factor * dim, dim))

    def forward(self, x):
        return self.net(x)


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm, self.heads = nn.LayerNorm(dim), heads
        self.mix, self.out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.mix(self.norm(x)).chunk(3, -1))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    def __init__(self, dim, heads, depth):
        super().__init__()
        self.attention_layers = nn.ModuleList(Attention(dim, heads) for _ in range(depth))
        self.feed_layers = nn.ModuleList(FeedForward(dim) for _ in range(depth))

    def forward(self, x):
        for attention, feed in zip(self.attention_layers, self.feed_layers):
            x = attention(x)
            x = x + x
            x = feed(x) + x
        return x


def sinusoids(length, dim):
    place = torch.arange(length)[:, None] * torch.exp(torch.arange(0, dim, 2) * (-math.log(1000.0) / dim))
    return torch.stack([place.sin(), place.cos()], 2).flatten(1)


class Delineator(nn.Module):
    def __init__(self, dim=48, heads=4, depth=2):
        super().__init__()
        self.embed = nn.Conv1d(1, dim, 3 * PIECE, PIECE, PIECE)
        self.register_buffer("position", sinusoids(PIECES, dim))
        self.body = Transformer(dim, heads, depth)
        self.out = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, PIECE * len(NAMES)))

    def forward(self, signal):
        x = self.embed(signal.unsqueeze(1)).transpose(1, 2) + self.position
        return self.out(self.body(x)).unflatten(2, (PIECE, len(NAMES))).flatten(1, 2)


@torch.no_grad()
def wave_scores(model, signals, labels):
    model.eval()
    guess = torch.cat([model(part).argmax(2) for part in signals.split(64)])
    f1 = []
    for kind in range(1, len(NAMES)):
        a, b = guess == kind, labels == kind
        f1.append((2 * (a & b).sum() / (a.sum() + b.sum()).clamp(min=1)).item())
    return f1


torch.manual_seed(0)
train_x, train_y = dataset(480, 50)
val_x, val_y = dataset(96, 51)
model = Delineator()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
steps = EPOCHS * (len(train_x) // 12)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 40) * (0.5 + 0.5 * math.cos(math.pi * s / steps)))
score = partial(wave_scores, signals=val_x, labels=val_y)

for epoch in range(EPOCHS):
    model.train()
    total = 0.0
    for chosen in torch.randperm(len(train_x)).split(12):
        loss = F.cross_entropy(model(train_x[chosen]).flatten(0, 1), train_y[chosen].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        total += loss.item() * len(chosen)
    f1 = score(model)
    print(f"epoch {epoch + 1} loss {total / len(train_x):.4f} " + " ".join(f"{n} {v:.3f}" for n, v in zip(NAMES[1:], f1)) + f" mean F1 {np.mean(f1):.4f}")
