#!/usr/bin/env python3
"""Image classification script: white blood cells, residual network, mixup with soft targets, warm-up and cosine rate."""
import argparse
import math
from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser(description="White blood cell training")
parser.add_argument("--num-classes", type=int, default=5)
parser.add_argument("-b", "--batch-size", type=int, default=32)
parser.add_argument("--lr", type=float, default=3e-3)
parser.add_argument("--weight-decay", type=float, default=0.02)
parser.add_argument("--epochs", type=int, default=11)
parser.add_argument("--warmup-epochs", type=int, default=1)
parser.add_argument("--mixup", type=float, default=0.4, help="alpha of the beta distribution, off at zero")
parser.add_argument("--mixup-off-epoch", type=int, default=0, help="switch mixup off from this epoch on, never at zero")
parser.add_argument("--smoothing", type=float, default=0.0)
parser.add_argument("--seed", type=int, default=42)


def draw_cell(rng, label, size=32):
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float32)
    cy, cx = size / 2 + rng.normal(0, 1.5, 2)
    cell = rng.uniform(9.5, 12)
    inside = 1 / (1 + np.exp(np.clip(1.5 * (np.hypot(yy - cy, xx - cx) - cell), -30, 30)))
    img = 0.85 - rng.uniform(0.12, 0.2) * inside
    lobes, reach, radius = {0: (3, 4.6, 3.0), 1: (1, 0.6, 7.2), 2: (2, 2.8, 5.0), 3: (2, 4.2, 3.6), 4: (1, 1.0, 5.4)}[label]
    turn, nucleus = rng.uniform(0, 2 * np.pi), np.zeros_like(img)
    for k in range(lobes):
        a = turn + 2 * np.pi * k / lobes + rng.normal(0, 0.2)
        d = np.hypot(yy - cy - reach * np.sin(a), xx - cx - reach * np.cos(a)) - radius * rng.uniform(0.88, 1.12)
        nucleus = np.maximum(nucleus, 1 / (1 + np.exp(np.clip(2 * d, -30, 30))))
    img -= rng.uniform(0.3, 0.4) * nucleus
    for _ in range({3: 26, 4: 26}.get(label, 4)):
        r, a = cell * 0.9 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        dot = np.exp(-((yy - cy - r * np.sin(a)) ** 2 + (xx - cx - r * np.cos(a)) ** 2) / 0.9)
        img += (0.16 if label == 3 else -0.22) * dot
    return img + rng.normal(0, 0.05, img.shape)


def create_dataset(count, num_classes, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, count)
    images = np.stack([draw_cell(rng, k) for k in labels]).astype(np.float32)[:, None]
    return TensorDataset(torch.from_numpy((images - 0.72) / 0.18), torch.from_numpy(labels))


class Mixup:
    """Mixes a batch with itself in reverse order, a share for every image, and gives soft targets."""

    def __init__(self, alpha, num_classes, smoothing, seed):
        self.alpha, self.num_classes, self.smoothing = alpha, num_classes, smoothing
        self.rng, self.enabled = np.random.default_rng(seed), alpha > 0

    def one_hot(self, target):
        off = self.smoothing / self.num_classes
        return torch.full((len(target), self.num_classes), off).scatter_(1, target[:, None], 1.0 - self.smoothing + off)

    def __call__(self, x, target):
        lam = torch.tensor(self.rng.beta(self.alpha, self.alpha, len(x)) if self.enabled else np.ones(len(x)), dtype=x.dtype)
        x = x.mul_(lam[:, None, None, None]).add_(x.flip(0) * (1.0 - lam[:, None, None, None]))
        return x, lam[:, None] * self.one_hot(target) + (1.0 - lam[:, None]) * self.one_hot(target.flip(0))


class SoftTargetCrossEntropy(nn.Module):
    def forward(self, x, target):
        return torch.sum(-target * F.log_softmax(x, dim=-1), dim=-1).mean()


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.down = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.down(x))


def create_model(num_classes):
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
        BasicBlock(12, 24, 2), BasicBlock(24, 32, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes),
    )


def train_one_epoch(model, loader, optimizer, scheduler, loss_fn, mixup_fn):
    model.train()
    total = 0.0
    for x, target in loader:
        x, target = mixup_fn(x, target)
        loss = loss_fn(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        total += loss.item() / len(loader)
    return OrderedDict(loss=total)


@torch.no_grad()
def validate(model, loader):
    model.eval()
    out, target = zip(*[(model(x), y) for x, y in loader])
    out, target = torch.cat(out), torch.cat(target)
    recalls = [(out.argmax(1) == k)[target == k].float().mean().item() for k in range(out.shape[1])]
    return OrderedDict(loss=F.cross_entropy(out, target).item(), top1=(out.argmax(1) == target).float().mean().item(), worst=min(recalls))


def main():
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    loader_train = DataLoader(create_dataset(800, args.num_classes, 1), args.batch_size, shuffle=True, drop_last=True)
    loader_eval = DataLoader(create_dataset(500, args.num_classes, 2), 250)
    model = create_model(args.num_classes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    warm, steps = args.warmup_epochs * len(loader_train), args.epochs * len(loader_train)
    rate = lambda s: (s + 1) / warm if s < warm else 0.5 * (1 + math.cos(math.pi * (s - warm) / (steps - warm)))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    mixup_fn = Mixup(args.mixup, args.num_classes, args.smoothing, args.seed)
    for epoch in range(args.epochs):
        if args.mixup_off_epoch and epoch >= args.mixup_off_epoch:
            mixup_fn.enabled = False
        train_metrics = train_one_epoch(model, loader_train, optimizer, scheduler, SoftTargetCrossEntropy(), mixup_fn)
        eval_metrics = validate(model, loader_eval)
        print(f"Epoch {epoch:2d} train loss {train_metrics['loss']:.4f} eval loss {eval_metrics['loss']:.4f} Acc@1 {eval_metrics['top1']:.3f} worst class {eval_metrics['worst']:.3f}")


if __name__ == "__main__":
    main()
