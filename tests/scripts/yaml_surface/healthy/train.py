#!/usr/bin/env python
"""Surface segmentation. All settings in config.yaml next to this file."""
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml


class CombinedLoss(nn.Module):
    def __init__(self, bce_weight=1.0, dice_weight=1.0, boundary_weight=0.0):
        super().__init__()
        self.bce_weight, self.dice_weight, self.boundary_weight = bce_weight, dice_weight, boundary_weight

    @staticmethod
    def edges(p):
        return F.max_pool2d(p, 3, 1, 1) + F.max_pool2d(-p, 3, 1, 1)

    def forward(self, logits, y):
        p = logits.sigmoid()
        loss = self.bce_weight * F.binary_cross_entropy_with_logits(logits, y)
        dice = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
        loss = loss + self.dice_weight * dice
        if self.boundary_weight > 0:
            loss = loss + self.boundary_weight * F.l1_loss(self.edges(p), self.edges(y))
        return loss


def make_model(cfg):
    c = cfg["width"]
    layers = [nn.Conv2d(1, c, 3, padding=1), nn.ReLU()]
    for _ in range(cfg["depth"]):
        layers += [nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU()]
    if cfg["dropout"] > 0:
        layers.append(nn.Dropout2d(cfg["dropout"]))
    return nn.Sequential(*layers, nn.Conv2d(c, 1, 1))


def sheets(n, seed):
    rng = np.random.default_rng(seed)
    y = np.zeros((n, 1, 24, 24), np.float32)
    for i in range(n):
        mid = 12 + 4 * np.sin(np.arange(24) / 24 * 6.28 * rng.uniform(0.5, 1.5) + rng.uniform(0, 6))
        for col, m in enumerate(mid.astype(int)):
            y[i, 0, m - 1:m + 2, col] = 1
    x = y + 0.6 * rng.normal(size=y.shape).astype(np.float32)
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def main():
    cfg = yaml.safe_load(open(Path(__file__).parent / "config.yaml"))
    seed = cfg["seed"]
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
    print("experiment:", cfg["experiment"]["name"])

    model = make_model(cfg["model"])
    lcfg = cfg["loss"]
    criterion = CombinedLoss(bce_weight=lcfg["bce_weight"], dice_weight=lcfg["dice_weight"], boundary_weight=lcfg["boundary_weight"])
    ocfg = cfg["optim"]
    opt = torch.optim.AdamW(model.parameters(), lr=ocfg["lr"], weight_decay=ocfg["weight_decay"])

    x, y = sheets(96, 0)
    xv, yv = sheets(16, 1)
    bs = cfg["train"]["batch_size"]
    for epoch in range(cfg["train"]["epochs"]):
        model.train()
        for i in range(0, len(x), bs):
            loss = criterion(model(x[i:i + bs]), y[i:i + bs])
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            p = model(xv).sigmoid() > 0.5
            dice = 2 * (p & (yv > 0)).sum() / (p.sum() + yv.sum())
        print(f"epoch {epoch:02d} loss {loss.item():.4f} val_dice {dice.item():.4f} fg {p.float().mean().item():.4f}")


if __name__ == "__main__":
    main()
