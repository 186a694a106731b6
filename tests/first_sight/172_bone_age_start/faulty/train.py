"""Bone age (months) from hand radiographs with a small convolutional network."""
import argparse

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def parse():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--epochs", type=int, default=10)
    p.add_argument("--batch-size", type=int, default=32)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--n-train", type=int, default=640)
    p.add_argument("--n-val", type=int, default=160)
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


def radiographs(count, rng, size=40):
    """Five fingers each; with age the bones grow and the gaps (growth plates) close."""
    v, u = np.mgrid[0:size, 0:size].astype(np.float32)
    ages = rng.uniform(24, 216, count)
    films = np.zeros((count, 1, size, size), np.float32)
    for k, age in enumerate(ages):
        share = (age - 24) / 192
        film = 0.15 + 0.05 * np.cos(u / 9 + rng.uniform(0, 6))
        shift = rng.uniform(-1.5, 1.5)
        for finger in range(5):
            cx = 5 + 7.5 * finger + shift + rng.normal(0, 0.3)
            length = 20 + 10 * share + rng.normal(0, 0.8) - 1.5 * abs(finger - 2)
            shaft = (np.abs(u - cx) < 1.2 + 0.8 * share) & (v > size - 4 - length) & (v < size - 3)
            film = np.where(shaft, 0.75 + 0.1 * share, film)
            gap = 3.2 * (1 - share) + rng.normal(0, 0.15)
            for joint in (0.35, 0.7):
                film = np.where(shaft & (np.abs(v - (size - 4 - joint * length)) < gap / 2), 0.35, film)
        films[k, 0] = film + rng.normal(0, 0.06, film.shape)
    return torch.from_numpy((films - 0.3) / 0.25), torch.tensor(ages, dtype=torch.float32)


class BoneAgeNet(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        stages, channels = [], 1
        for out in (width, 2 * width, 4 * width):
            stages += [nn.Conv2d(channels, out, 3, 2, 1, bias=False), nn.GroupNorm(4, out), nn.ReLU()]
            channels = out
        self.features = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * channels, 1)

    def forward(self, x):
        return self.head(self.features(x)).squeeze(1)


def build(train_ages):
    net = BoneAgeNet()
    nn.init.zeros_(net.head.bias)
    return net


def train_epoch(net, loader, criterion, optimizer, scheduler):
    net.train()
    running = 0.0
    for films, ages in loader:
        optimizer.zero_grad()
        loss = criterion(net(films), ages)
        loss.backward()
        optimizer.step()
        scheduler.step()
        running += loss.item() * len(films)
    return running / len(loader.dataset)


@torch.no_grad()
def evaluate(net, loader):
    net.eval()
    errors = torch.cat([net(films) - ages for films, ages in loader])
    return errors.abs().mean().item(), errors.mean().item()


def main():
    args = parse()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    train_films, train_ages = radiographs(args.n_train, rng)
    train = DataLoader(TensorDataset(train_films, train_ages), args.batch_size, shuffle=True, drop_last=True)
    val = DataLoader(TensorDataset(*radiographs(args.n_val, rng)), 80)
    net = build(train_ages)
    optimizer = torch.optim.Adam(net.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(train))
    for epoch in range(1, args.epochs + 1):
        loss = train_epoch(net, train, nn.L1Loss(), optimizer, scheduler)
        mae, bias = evaluate(net, val)
        print(f"epoch {epoch:2d} | train L1 {loss:7.2f} | val MAE {mae:6.2f} months | mean error {bias:+7.2f}")


if __name__ == "__main__":
    main()
