"""Lesion segmentation on 2D slices. Small U-Net, BCE + Dice.

usage: python train.py --epochs 3 --lr 1e-3
"""
import argparse
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


def get_args():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--batch-size", type=int, default=8)
    p.add_argument("--seed", type=int, default=42)
    return p.parse_args()


class LesionSlices(Dataset):
    """Stand-in for the PNG export: uint8 image and uint8 mask with 0 / 255."""

    def __init__(self, n, seed):
        rng = np.random.RandomState(seed)
        self.images, self.masks = [], []
        yy, xx = np.mgrid[:32, :32]
        for _ in range(n):
            cy, cx, r = rng.randint(8, 24), rng.randint(8, 24), rng.randint(3, 7)
            mask = ((yy - cy) ** 2 + (xx - cx) ** 2 < r**2)
            img = 90 + 25 * rng.randn(32, 32) + 60 * mask
            self.images.append(np.clip(img, 0, 255).astype(np.uint8))
            self.masks.append((mask * 255).astype(np.uint8))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        img = torch.from_numpy(self.images[i]).float().unsqueeze(0) / 127.5 - 1
        mask = torch.from_numpy(self.masks[i]).float().unsqueeze(0) / 255.0
        return img, mask


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1 = block(1, 12)
        self.d2 = block(12, 24)
        self.up = nn.ConvTranspose2d(24, 12, 2, stride=2)
        self.u1 = block(24, 12)
        self.head = nn.Conv2d(12, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        u = self.up(b)
        return self.head(self.u1(torch.cat([a, u], dim=1)))


def dice_loss(logits, target, eps=1.0):
    p = torch.sigmoid(logits)
    inter = (p * target).sum(dim=(1, 2, 3))
    den = p.sum(dim=(1, 2, 3)) + target.sum(dim=(1, 2, 3))
    return 1 - ((2 * inter + eps) / (den + eps)).mean()


def evaluate(net, loader):
    net.eval()
    scores = []
    with torch.no_grad():
        for img, mask in loader:
            pred = (torch.sigmoid(net(img)) > 0.5).float()
            gt = (mask > 0).float()
            inter = (pred * gt).sum()
            scores.append(((2 * inter + 1) / (pred.sum() + gt.sum() + 1)).item())
    return sum(scores) / len(scores)


def main():
    args = get_args()
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)

    train_loader = DataLoader(LesionSlices(128, 0), batch_size=args.batch_size, shuffle=True)
    val_loader = DataLoader(LesionSlices(32, 1), batch_size=args.batch_size)
    net = UNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=args.lr)
    bce = nn.BCEWithLogitsLoss()

    best = 0.0
    for epoch in range(args.epochs):
        net.train()
        running = 0.0
        for img, mask in train_loader:
            optimizer.zero_grad()
            logits = net(img)
            loss = bce(logits, mask) + dice_loss(logits, mask)
            loss.backward()
            optimizer.step()
            running += loss.item()
        dice = evaluate(net, val_loader)
        best = max(best, dice)
        print(f"epoch {epoch}: loss {running / len(train_loader):.4f} val_dice {dice:.4f} (best {best:.4f})")


if __name__ == "__main__":
    main()
